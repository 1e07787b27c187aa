"""What scripts turn into one line and an exit status; any other error is a bug, with a trace."""

import itertools


class MgnError(Exception):
    """`details`, {name: JSON value}, has for programs what does not fit into one line."""

    def __init__(self, message: object, **details: object):
        super().__init__(message)
        self.details = details


class InputError(MgnError):
    """A bad flag or file: exit status 2."""


class ImageError(InputError):
    """An image of a list cannot be embedded; `position`, from 0, lets the caller name its file."""

    def __init__(self, position: int, problem: str):
        super().__init__(f"image {position}: {problem}")
        self.position = position
        self.problem = problem


class CheckError(MgnError):
    """The work ran and a check failed (coverage, shapes, parity): exit status 1."""


class Stopped(Exception):  # noqa: N818 not an error: asked for, and everything is saved
    """A signal (SIGINT or SIGTERM) ended a run after it saved: exit status 130 or 143."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


def first_line(error: BaseException) -> str:
    """The line of an error that says what happened: TensorFlow first writes where in the graph."""
    lines = str(error).strip().split("\n")
    after_node = (after for line, after in itertools.pairwise(lines) if line.startswith("Node: "))
    return next(after_node, lines[0])[:200]
