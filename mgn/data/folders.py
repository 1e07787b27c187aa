"""What lies in a folder of images, and what is left out of it."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mgn.data.decoding import EXTENSIONS

_OF_SYSTEMS = (  # of NAS, macOS and Windows
    *("@eadir", "#recycle", "@recycle", "__macosx"),
    *("thumbs.db", "desktop.ini", "$recycle.bin"),
)
_KINDS_NAMED = 6


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no work of people: hidden, or left by a system."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def is_file(path: Path) -> bool:
    """Whether a path is to be opened: a link to nowhere is a file that cannot be read."""
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 see below


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, as far as can be seen."""
    return os.path.isdir(path)  # noqa: PTH112 pathlib's raises where the way there is forbidden


def may_be_read(folder: Path) -> bool:
    """Whether its permissions let this process list a folder and open what lies there."""
    return os.access(folder, os.R_OK | os.X_OK)


def kind_of(path: Path) -> str:
    """What to call a file or folder that is left out: ".txt", "folders", "hidden"."""
    if is_hidden(path.name):
        return "hidden"
    if is_folder(path):
        return "folders" if may_be_read(path) else "folders without permission"
    return path.suffix.lower() or "without extension"


def kinds_text(kinds: Counter) -> str:
    """Kinds and their numbers, the most frequent first: "3 .txt, 1 .avif"."""
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    named = [f"{number:,} {kind}" for kind, number in ordered[:_KINDS_NAMED]]
    if rest := sum(number for _, number in ordered[_KINDS_NAMED:]):
        named.append(f"{rest:,} of other kinds")
    return ", ".join(named)


def images_under(folder: Path, forbidden: bool = False) -> tuple[list[Path], list[Path]]:
    """Every image under a folder, and what else lies there; see `walk`."""
    images, others = [], []
    for file in walk(folder, forbidden):
        named = file.suffix.lower() in EXTENSIONS and not is_hidden(file.name)
        (images if named and is_file(file) else others).append(file)
    return images, others


def walk(folder: Path, forbidden: bool = False) -> Iterator[Path]:
    """Yield every file under a folder, in the order of names; a hidden folder as if it were one.

    Links are followed. Each folder is entered once, so that linked circles end. With `forbidden` a
    folder under it that may not be read is yielded too, else it is a `PermissionError`.
    """
    entered, pending = set(), [Path(folder)]
    while pending:
        path = pending.pop()
        if not is_folder(path) or (path != folder and is_hidden(path.name)):
            yield path
            continue
        status = path.stat()
        if (status.st_dev, status.st_ino) not in entered:
            entered.add((status.st_dev, status.st_ino))
            try:
                pending += sorted(path.iterdir(), reverse=True)
            except PermissionError:
                if not forbidden or path == folder:
                    raise
                yield path
