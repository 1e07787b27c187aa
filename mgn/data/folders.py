"""What lies in a folder of images, and what is left out of it."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

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


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 pathlib's raises where the way there is forbidden


def kind_of(path: Path) -> str:
    """What to call a file or folder that is left out: ".txt", "folders", "hidden"."""
    if is_hidden(path.name):
        return "hidden"
    if _is_folder(path):
        return "folders"
    return path.suffix.lower() or "without extension"


def kinds_text(kinds: Counter) -> str:
    """Kinds and their numbers, the most frequent first: "3 .txt, 1 .avif"."""
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    named = [f"{number:,} {kind}" for kind, number in ordered[:_KINDS_NAMED]]
    if rest := sum(number for _, number in ordered[_KINDS_NAMED:]):
        named.append(f"{rest:,} of other kinds")
    return ", ".join(named)


def walk(folder: Path) -> Iterator[Path]:
    """Yield every file under a folder, in the order of names; a hidden folder as if it were one.

    Links are followed. Each folder is entered once, so that linked circles end.
    """
    entered, pending = set(), [Path(folder)]
    while pending:
        path = pending.pop()
        if not _is_folder(path) or (path != folder and is_hidden(path.name)):
            yield path
            continue
        status = path.stat()
        if (status.st_dev, status.st_ino) not in entered:
            entered.add((status.st_dev, status.st_ino))
            pending += sorted(path.iterdir(), reverse=True)
