"""Market-1501 file names and CSV lists to records."""

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mgn.data import contents, folders
from mgn.data.decoding import EXTENSIONS
from mgn.data.lists import read_list
from mgn.data.names import EXAMPLE, WAYS, fits, parse_name
from mgn.system.errors import InputError

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
CALLED = {"train": "training", "query": "query", "gallery": "gallery"}  # before "images"
JUNK, DISTRACTOR = -1, 0  # identity numbers with a meaning of their own in Market-1501
UNNAMED = -2  # identity and camera of an image whose name does not say them
ZEROS = "images of identity 0, which Market-1501 uses for distractors"
ZEROS_ADVICE = "left out; if 0 is a person, number identities from 1"


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
    kinds: Counter = field(default_factory=Counter, hash=False)  # of these: {".txt": 3}
    zeros: tuple[str, ...] = ()  # of the junk: images of identity 0, which may be a person's

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

    @property
    def left_out(self) -> str:
        """What of the folder or list is not used, in words."""
        kinds = f": {folders.kinds_text(self.kinds)}" if self.kinds else ""
        return f"{self.junk} junk or distractors, {self.ignored} other files{kinds}"

    def fingerprint(self) -> str:
        """See `contents.fingerprint`."""
        return contents.fingerprint(self.records)

    def has_fingerprint(self, known: str) -> bool:
        """See `contents.is_fingerprint_of`."""
        return contents.is_fingerprint_of(self.records, known)


def read_split(dataset: Path, split: str) -> Split:
    """List one split of a data set: `read_images` of its `split_path`."""
    return read_images(split_path(dataset, split), split)


def split_path(dataset: Path, split: str) -> Path:
    """Where a split of a data set is or would be.

    Args:
        dataset: folder that holds `bounding_box_train`, `query` and `bounding_box_test`, as
            Market-1501's does, or lists `train.csv`, `query.csv` and `gallery.csv`.
        split: "train", "query" or "gallery".

    Raises:
        InputError: folder and list are both there, or one is a link to nowhere.
    """
    places = Path(dataset) / FOLDERS[split], Path(dataset) / f"{split}.csv"
    there = [path for path in places if os.path.lexists(path)]
    if len(there) > 1:
        both = f"{places[0].name} and {places[1].name}"
        raise InputError(f"{dataset} has {both}: which is meant? Move the other out of it")
    for path in there:
        if not path.exists():
            problem = f"a link to {path.readlink()}, which is not there"
            raise InputError(f"{path}: {problem}; mount what it leads to, or remove the link")
    return there[0] if there else places[0]


def read_images(path: Path, split: str) -> Split:
    """List the images of a split, without those of `unused_identities`.

    Args:
        path: a folder of images named as in Market-1501, or a CSV file with the columns path
            (relative to the file), person and camera (whole numbers).
        split: as in `split_path`.

    Raises:
        InputError: no such folder or file, nothing usable in it, or a line that is wrong.
    """
    path = Path(path)
    listed, kinds = [], Counter()
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if fits(file):
                listed.append((str(file), parse_name(file.name)))
            else:
                kinds[folders.kind_of(file)] += 1
    elif path.suffix.lower() == ".csv" and path.is_file():
        listed = list(read_list(path))
    elif path.exists():
        raise InputError(f"{path}: neither a folder of images nor a .csv list")
    else:
        needed = f"{', '.join(FOLDERS.values())}, or train.csv, query.csv, gallery.csv"
        raise InputError(f"{path}: no such folder; --dataset must name a folder that has {needed}")

    unused = unused_identities(split)
    records = [Record(name, *numbers) for name, numbers in listed]
    used = tuple(record for record in records if record.person not in unused)
    left = [record for record in records if record.person in unused]
    zeros = tuple(record.path for record in left if record.person == DISTRACTOR)
    found = Split(used, len(left), kinds.total(), kinds, zeros)
    if not used:
        if path.is_file():
            raise InputError(f"{path}: no usable line ({found.left_out})")
        raise InputError(f"{path}: no image named like {EXAMPLE} ({found.left_out}); {WAYS}")
    return found


def unused_identities(split: str) -> set[int]:
    """Market-1501's rule: whose images are left out of "train", "query" or "gallery"."""
    return {JUNK} if split == "gallery" else {JUNK, DISTRACTOR}


def warn_of_zeros(dataset: object, splits: Mapping[str, Split]) -> None:
    """Print a line if any of these splits, by name, lost the images of identity 0."""
    lost = [f"{len(s.zeros):,} {CALLED[name]}" for name, s in splits.items() if s.zeros]
    if lost:
        what = f"{' and '.join(lost)} {ZEROS}"
        sys.stderr.write(f"warning: {dataset}: {what}; {ZEROS_ADVICE}\n")


def image_files(path: Path) -> Split:
    """Every image under a folder, or one file; person and camera are -2 where names do not say.

    See `folders.walk` for what is searched.
    """
    path = Path(path)
    images, kinds = [], Counter()
    for file in folders.walk(path):
        hidden = folders.is_hidden(file.name)
        image = file.suffix.lower() in EXTENSIONS and not hidden and folders.is_file(file)
        if image or (file == path and path.is_file()):
            images.append(file)
        else:
            kinds[folders.kind_of(file)] += 1
    if not images:
        left_out = f"; left out: {folders.kinds_text(kinds)}" if kinds else ""
        raise InputError(f"{path}: no image in it ({', '.join(EXTENSIONS)}){left_out}")
    records = [Record(str(file), *(parse_name(file.name) or (UNNAMED, UNNAMED))) for file in images]
    return Split(tuple(records), 0, kinds.total(), kinds)


def describe(split: Split) -> str:
    """One line: what is in a split."""
    identities = len(set(split.persons.tolist()) - {DISTRACTOR})
    cameras = len(set(split.cameras.tolist()))
    counted = f"{len(split.records)} images of {identities} identities by {cameras} cameras"
    return f"{counted} (left out: {split.left_out})"


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
