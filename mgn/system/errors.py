"""What scripts turn into one line and an exit status; any other error is a bug, with a trace."""

import errno
import itertools
import os
import re

# What the system refuses, and what to do: about a name that was given, or about the machine.
BAD_NAME = {
    errno.EACCES: "permission denied; name another file or folder, or change its permissions",
    errno.EPERM: "not permitted; name another file or folder",
    errno.EROFS: "this file system is read-only; name a folder elsewhere",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOENT: "no such file or folder; was it moved or removed meanwhile?",
    errno.ENOTDIR: "a part of this path is a file, not a folder; name another",
    errno.EISDIR: "is a folder, not a file; name another file",
    errno.EEXIST: "already exists; name another file or folder",
    errno.ENOTEMPTY: "is a folder that is not empty; name another",
    errno.ELOOP: "a link that leads to itself; name another file or folder",
}
MACHINE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your quota on this disk is used up; free some space",
    errno.EFBIG: "files may not be so large here; see ulimit -f, or name a folder elsewhere",
    errno.EMFILE: "too many open files; raise the limit with ulimit -n",
    errno.ENFILE: "too many open files on this machine; end other programs",
    errno.ENOMEM: "out of memory; use a smaller batch or a smaller image",
    errno.EIO: "the disk, or the way to it, fails; see the system's log, then start again",
    errno.ESTALE: "the folder's server no longer knows it; mount it again, then start again",
}
# Libraries of the desktop, which opencv-python needs and slim machines lack.
_OF_OPENCV = re.compile(r"lib(GL|gthread|glib|SM|ICE|X\w+|xcb)\b")
_HEADLESS = (
    "OpenCV needs it: install the system's packages libgl1 and libglib2.0-0, or replace"
    " opencv-python: pip uninstall opencv-python && pip install opencv-python-headless"
)


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


def causes(error: BaseException) -> list[BaseException]:
    """An error, and what it was made of: libraries wrap the system's into ones that say less."""
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        if inner in chain:  # `raise error from error`
            break
        chain.append(inner)
    return chain


def advice(error: BaseException) -> str | None:
    """What the system's refusal in an error means, and what to do; None: it is another fault."""
    known = BAD_NAME | MACHINE
    for link in causes(error):
        if isinstance(link, OSError) and link.errno in known:
            return known[link.errno]
        for number, told in known.items():  # TensorFlow keeps the system's words only
            if os.strerror(number) in str(link):
                return told
    return None


def import_advice(error: ImportError) -> str | None:
    """What to install where an import fails; None: a name of ours is wrong."""
    text = str(error)
    if ".so" in text and "cannot open shared object file" in text:
        other = "install the system's package that has it"
        library = text.split(":")[0]
        return f"{library} is missing; {_HEADLESS if _OF_OPENCV.match(library) else other}"
    if isinstance(error, ModuleNotFoundError) and not (error.name or "mgn").startswith("mgn"):
        return f"{text}: install what is needed with pip install -r requirements.txt"
    return None
