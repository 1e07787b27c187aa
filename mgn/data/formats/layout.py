"""What a layout of a data set is, and the steps that several layouts share."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mgn.config.dataset import DataSet
from mgn.data import folders
from mgn.data.decoding import EXTENSIONS
from mgn.data.lists import check_labels
from mgn.data.names import DISTRACTOR, JUNK
from mgn.system.errors import InputError
from mgn.system.numbers import whole_number

Labelled = tuple[str, tuple[int, int]]  # file, (identity, camera)
NO_JUNK = {"train": {JUNK}, "query": {JUNK}, "gallery": {JUNK}}
# Market-1501's: a distractor in the gallery is a wrong answer, elsewhere it is nobody.
MARKET_JUNK = NO_JUNK | {"train": {JUNK, DISTRACTOR}, "query": {JUNK, DISTRACTOR}}


class Listing(NamedTuple):
    """What one split of a data set holds."""

    place: Path  # the folder or list that was read
    images: list[Labelled]
    others: list[Path]  # what lies there too


@dataclass(frozen=True)
class Layout:
    """How a named data set is told from others, and how it is read."""

    title: str  # "MSMT17"
    needed: str  # what its folder holds, in words
    fits: Callable[[Path], bool]  # whether a folder looks like it
    has: Callable[[DataSet, str], bool]  # whether "train", "query" or "gallery" is there
    list_images: Callable[[DataSet, str], Listing]
    junk: Mapping[str, set[int]] = field(default_factory=lambda: NO_JUNK)  # identities left out
    takes: tuple[str, ...] = ()  # of "cameras", "split"
    pooled: bool = False  # the gallery is one image of each identity, drawn anew and anew
    protocol: str = ""  # how its evaluation differs from Market-1501's


def images_in(folder: Path, name: re.Pattern, what: str) -> tuple[list[tuple], list[Path]]:
    """The images of a folder whose whole name fits: (file, match) each; and what else is there.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {what}")
    found, others = [], []
    for file in sorted(folder.iterdir()):
        match = name.fullmatch(file.name)
        if match and folders.is_file(file):
            found.append((str(file), match))
        else:
            others.append(file)
    return found, others


def looks_like(folder: Path, name: re.Pattern) -> bool:
    """Whether a folder holds images, and most of the first twenty have names that fit."""
    names = [file.name for file in entries(folder) if file.suffix.lower() in EXTENSIONS]
    first = [found for found in names if not folders.is_hidden(found)][:20]
    return 2 * sum(bool(name.fullmatch(found)) for found in first) > len(first)


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing where it is none or may not be read.

    For recognition alone: who lists images has to say that something may not be read.
    """
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except PermissionError:
        return []


def holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder itself."""
    return any(file.suffix.lower() in EXTENSIONS for file in entries(folder))


def people_in(folder: Path) -> list[Path]:
    """The folders in a folder that may be a person each."""
    return [p for p in entries(folder) if folders.is_folder(p) and not folders.is_hidden(p.name)]


def holds_people(folder: Path) -> bool:
    """Whether a folder has no image itself, but folders in it do."""
    return not holds_images(folder) and any(map(holds_images, people_in(folder)))


def lines_of(path: Path, needed: str) -> Iterator[tuple[str, str]]:
    """Yield (where, text) of each line that is not empty.

    Raises:
        InputError: no such file, or it is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; unpack the data set again") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {needed}") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{path}, line {number}", line.strip()


def numbered_lines(path: Path, needed: str) -> Iterator[tuple[str, str, int]]:
    """Yield (where, name, identity) of a list whose lines read "name identity".

    Raises:
        InputError: as `lines_of`, or a line that reads otherwise.
    """
    for where, line in lines_of(path, needed):
        name, _, number = line.rpartition(" ")
        try:
            identity = whole_number(number)
        except ValueError:
            identity = -1
        if not name.strip() or identity < 0:
            raise InputError(f"{where}: {line!r}: must be an image's name and its identity")
        check_labels(where, identity)
        yield where, name.strip(), identity


def checked_file(path: Path, where: str) -> str:
    """A file that a list names; `InputError` if it is not there."""
    if not path.is_file():
        raise InputError(f"{where}: {path}: no such image; unpack the data set again")
    return str(path)
