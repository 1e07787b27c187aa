"""What scripts turn into one line and an exit status; anything else is a bug and shows its trace."""

import itertools


class MgnError(Exception):
    """`details`, {name: JSON value}: the same for scripts, where there is more to tell than one line."""

    def __init__(self, message: object, **details: object):
        super().__init__(message)
        self.details = details


class InputError(MgnError):
    """A bad flag or file: exit status 2."""


class ImageError(InputError):
    """An image of a list cannot be embedded; `position` says which, from 0, to whoever knows its file."""

    def __init__(self, position: int, problem: str):
        super().__init__(f"image {position}: {problem}")
        self.position, self.problem = position, problem


class CheckError(MgnError):
    """The work ran and a check failed (coverage, shapes, parity): exit status 1."""


class Stopped(Exception):  # noqa: N818 not an error: asked for, and everything is saved
    """Ctrl-C or SIGTERM ended a run after it saved; `signal_number` tells which: exit status 130 or 143."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


def first_line(error: BaseException) -> str:
    """What an error says, in a line; TensorFlow puts where in a graph it happened before what happened."""
    lines = str(error).strip().split("\n")
    at_node = (after for line, after in itertools.pairwise(lines) if line.startswith("Node: "))
    return next(at_node, lines[0])[:200]
