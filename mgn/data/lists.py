"""CSV lists of images."""

import csv
from collections.abc import Iterator
from pathlib import Path

from mgn.system.errors import InputError
from mgn.system.numbers import whole_number

_LEAST, _MOST = -1, 10**9  # an identity or camera: at least, and less than
_COLUMNS = ("path", "person", "camera")
HEADER = ",".join(_COLUMNS)


def check_labels(where: object, person: int, camera: int = 0) -> None:
    """Raise `InputError` for an identity or camera beyond what any list or name may have."""
    if not (_LEAST <= person < _MOST and _LEAST <= camera < _MOST):
        told = f"person {person}, camera {camera}"
        raise InputError(f"{where}: {told}: must be from {_LEAST} to {_MOST - 1:,}")


def read_list(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield (file, (person, camera)) of each line; files are relative to the list.

    Raises:
        InputError: a line is wrong, or names no file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:  # -sig: as Excel saves it
            rows = csv.DictReader(stream)
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                problem = f"no column {' and no '.join(missing)}"
                raise InputError(f"{path}: {problem}; the first line must be {HEADER}")
            for row in rows:
                yield _read_row(row, path.parent, f"{path}, line {rows.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}); save it as UTF-8") from None


def _read_row(row: dict, folder: Path, where: str) -> tuple[str, tuple[int, int]]:
    try:
        person = whole_number((row["person"] or "").strip())
        camera = whole_number((row["camera"] or "").strip())
    except ValueError:
        given = f"person {row['person']!r}, camera {row['camera']!r}"
        raise InputError(f"{where}: {given}: must be whole numbers") from None
    check_labels(where, person, camera)
    name = (row["path"] or "").strip().replace("\\", "/")  # lists made on Windows too
    file = folder / name
    if not name or not file.is_file():
        raise InputError(f"{where}: {file}: no such image; correct the path")
    return str(file), (person, camera)
