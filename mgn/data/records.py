"""Market-1501 file names and CSV lists to records."""

import csv
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn.system.errors import InputError

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
JUNK, DISTRACTOR = -1, 0  # identity numbers with a meaning of their own in Market-1501
UNNAMED = -2  # identity and camera of an image whose name does not say them
_COLUMNS = ("path", "person", "camera")  # of a CSV list
_MOST = 10**9
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")
_NAME = re.compile(r"(-1|\d{1,9})_c(\d{1,9})(?:s\d+)?_.*?((\.(jpe?g|png|bmp))+)", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One image: where it is, the identity on it, the camera that took it."""

    path: str
    person: int
    camera: int


@dataclass(frozen=True)
class Split:
    """The usable images of one folder or list, and how many were left out and why."""

    records: tuple[Record, ...]
    junk: int
    ignored: int  # files that are not named like a Market-1501 image

    @property
    def persons(self) -> np.ndarray:
        """int64 [N]."""
        return np.array([record.person for record in self.records], np.int64)

    @property
    def cameras(self) -> np.ndarray:
        """int64 [N]."""
        return np.array([record.camera for record in self.records], np.int64)

    @property
    def paths(self) -> list[str]:
        """File names, of a folder sorted, of a CSV list in its order."""
        return [record.path for record in self.records]

    def only(self, kept: Sequence[bool]) -> "Split":
        """The split without the images where `kept` is False."""
        records = tuple(record for record, keep in zip(self.records, kept, strict=True) if keep)
        return dataclasses.replace(self, records=records)

    def fingerprint(self) -> str:
        """Hash of names, sizes, identities and cameras: the same wherever the folder lies."""
        digest = hashlib.sha256()
        for record in self.records:
            path = Path(record.path)
            line = f"{path.name} {path.stat().st_size} {record.person} {record.camera}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()


def parse_name(name: str) -> tuple[int, int] | None:
    """Return (person, camera) of `PPPP_cCsS_FFFFFF_NN.jpg` (.png, .bmp, .jpg.jpg), or None."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def read_split(dataset: Path, split: str) -> Split:
    """List one split of a data set: `read_images` of its `split_path`."""
    return read_images(split_path(dataset, split), split)


def split_path(dataset: Path, split: str) -> Path:
    """Where a split of a data set is or would be.

    Args:
        dataset: folder that holds `bounding_box_train`, `query` and `bounding_box_test`, as
            Market-1501's does, or lists `train.csv`, `query.csv` and `gallery.csv`.
        split: "train", "query" or "gallery".
    """
    folder = Path(dataset) / FOLDERS[split]
    csv_list = Path(dataset) / f"{split}.csv"
    return csv_list if csv_list.is_file() and not folder.is_dir() else folder


def read_images(path: Path, split: str) -> Split:
    """List the images of a split; without junk (-1) and, but for a gallery, distractors (0000).

    Args:
        path: a folder of images named as in Market-1501, or a CSV file with the columns path
            (relative to the file), person and camera (whole numbers).
        split: as in `split_path`.

    Raises:
        InputError: no such folder or file, nothing usable in it, or a line that is wrong.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.iterdir())
        listed = [(str(file), parse_name(file.name) if file.is_file() else None) for file in files]
    elif path.suffix.lower() == ".csv" and path.is_file():
        listed = list(_read_csv(path))
    elif path.exists():
        raise InputError(f"{path}: neither a folder of images nor a .csv list")
    else:
        needed = f"{', '.join(FOLDERS.values())}, or train.csv, query.csv, gallery.csv"
        raise InputError(f"{path}: no such folder; --dataset must name a folder that has {needed}")

    records = [Record(name, *numbers) for name, numbers in listed if numbers]
    unused = {JUNK} if split == "gallery" else {JUNK, DISTRACTOR}
    used = tuple(record for record in records if record.person not in unused)
    junk = len(records) - len(used)
    ignored = len(listed) - len(records)
    if not used:
        wanted = "image named like 0002_c1s1_000451_03.jpg" if path.is_dir() else "usable line"
        raise InputError(f"{path}: no {wanted} ({ignored} other files, {junk} junk or distractors)")
    return Split(used, junk, ignored)


def _read_csv(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield (file, (person, camera)) of each line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:  # -sig: as Excel saves it
            rows = csv.DictReader(stream)
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                problem = f"no column {' and no '.join(missing)}"
                raise InputError(f"{path}: {problem}; the first line reads path,person,camera")
            for row in rows:
                yield _read_row(row, path.parent, f"{path}, line {rows.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}); save it as UTF-8") from None


def _read_row(row: dict, folder: Path, where: str) -> tuple[str, tuple[int, int]]:
    try:
        person = int(row["person"])
        camera = int(row["camera"])
    except (TypeError, ValueError):
        given = f"person {row['person']!r}, camera {row['camera']!r}"
        raise InputError(f"{where}: {given}: must be whole numbers") from None
    if not (JUNK <= person < _MOST and JUNK <= camera < _MOST):
        raise InputError(f"{where}: person {person}, camera {camera}: not from {JUNK} to {_MOST}")
    name = (row["path"] or "").strip().replace("\\", "/")  # lists made on Windows too
    file = folder / name
    if not name or not file.is_file():
        raise InputError(f"{where}: {file}: no such image")
    return str(file), (person, camera)


def image_files(path: Path) -> Split:
    """Every image under a folder, or one file; person and camera are -2 where names do not say."""
    path = Path(path)
    if path.is_file():
        files = images = [path]
    else:
        files = sorted(file for file in path.rglob("*") if file.is_file())
        images = [file for file in files if file.suffix.lower() in _IMAGES]
    if not images:
        raise InputError(f"{path}: no image in it ({', '.join(_IMAGES)})")
    records = [Record(str(file), *(parse_name(file.name) or (UNNAMED, UNNAMED))) for file in images]
    return Split(tuple(records), 0, len(files) - len(images))


def describe(split: Split) -> str:
    """One line: what is in a split."""
    identities = len(set(split.persons.tolist()) - {DISTRACTOR})
    cameras = len(set(split.cameras.tolist()))
    left_out = f"left out: {split.junk} junk or distractors, {split.ignored} other files"
    images = len(split.records)
    return f"{images} images of {identities} identities by {cameras} cameras ({left_out})"


def cameras_of(records: Iterable[Record]) -> dict[int, set[int]]:
    """The cameras that saw each identity."""
    cameras = {}
    for record in records:
        cameras.setdefault(record.person, set()).add(record.camera)
    return cameras


def check_matches(query: Split, gallery: Split) -> None:
    """Raise `InputError` if no query person is in the gallery under another camera."""
    cameras = cameras_of(gallery.records)
    if any(cameras.get(record.person, set()) - {record.camera} for record in query.records):
        return
    if any(record.person in cameras for record in query.records):
        problem = "every query person is seen by one camera only"
    else:
        problem = "no query person is in the gallery"
    raise InputError(
        f"{problem}: nothing could be evaluated, as only an image by another camera is a match;"
        " check the identities and cameras in the file names or the CSV list"
    )
