"""Every image of a data set opened once: what is wrong with it, its contents, how it looks."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from mgn.data.appearance import Appearance, look_at
from mgn.data.decoding import read_file
from mgn.system.errors import InputError
from mgn.system.progress import Progress

_AT_ONCE = 1024  # images handed to the threads


class Opened(NamedTuple):
    """What is kept of an image; `fault` is what training would say, None of one that it reads."""

    fault: str | None
    digest: bytes | None = None  # SHA-256 of the file
    appearance: Appearance | None = None


def open_all(paths: Sequence[str]) -> dict[str, Opened]:
    """Open each file, in threads: reading, decoding and hashing all let go of Python's lock."""
    opened = {}
    with Progress(len(paths), "opening", "images") as progress, ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _AT_ONCE):
            chunk = paths[start : start + _AT_ONCE]
            opened |= zip(chunk, pool.map(open_image, chunk), strict=True)
            progress.advance(len(chunk))
    return opened


def open_image(path: str) -> Opened:
    """Read, decode, hash and look at one file."""
    try:
        contents, image = read_file(path)
    except InputError as error:
        return Opened(str(error))
    return Opened(None, hashlib.sha256(contents).digest(), look_at(image))
