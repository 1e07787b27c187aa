"""The image files that a command's arguments name: files, folders, lists."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mgn.data.folders import kinds_text
from mgn.data.lists import read_list
from mgn.data.records import image_files
from mgn.system.errors import InputError

STANDARD_INPUT = "-"


def files_named(paths: Sequence[Path], lists: Sequence[str] = ()) -> list[Path]:
    """List the files of `paths` and then of `lists`, in their order.

    Args:
        paths: image files, and folders: every image under them, in the order of names. What else
            lies there is printed.
        lists: text files with a path a line, relative to the list; CSV files as data sets have
            them; "-" for the standard input, whose paths are relative to the working folder.

    Raises:
        InputError: a folder without images, a list that cannot be read, no file at all.
    """
    found = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        listed = image_files(path)
        if listed.kinds:
            sys.stderr.write(f"{path}: left out: {kinds_text(listed.kinds)}\n")
        found += map(Path, listed.paths)
    for name in lists:
        found += _listed(name)
    if not found:
        raise InputError(f"list {', '.join(lists)}: names no file; write a path a line")
    return found


def _listed(name: str) -> list[Path]:
    path = Path(name)
    if path.suffix.lower() == ".csv":
        return [Path(file) for file, _ in read_list(path)]
    try:
        if name == STANDARD_INPUT:
            folder, text = Path(), sys.stdin.read()
        else:
            folder, text = path.parent, path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"list {name}: not text in UTF-8 ({error.reason}); save it so") from None
    except OSError as error:
        raise InputError(
            f"list {name}: cannot be read ({error.strerror}); check the name"
        ) from None
    lines = [line.strip("\r") for line in text.split("\n")]
    return [folder / line for line in lines if line.strip()]
