"""Data sets to records: splits, what each holds, and what was left out of it."""

import dataclasses
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mgn.config.dataset import DataSet
from mgn.data import contents, folders
from mgn.data.decoding import EXTENSIONS
from mgn.data.formats import table
from mgn.data.formats.layout import MARKET_JUNK, Listing
from mgn.data.formats.market import list_place
from mgn.data.names import CALLED, DISTRACTOR, EXAMPLE, WAYS, parse_name
from mgn.system.errors import InputError

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
    others: tuple[str, ...] = ()  # of the ignored: all that people may have put there

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
        junk = f"{self.junk - len(self.zeros)} junk, {len(self.zeros)} distractors"
        return f"{junk}, {self.ignored} other files{kinds}"

    def fingerprint(self) -> str:
        """See `contents.fingerprint`."""
        return contents.fingerprint(self.records)

    def has_fingerprint(self, known: str) -> bool:
        """See `contents.is_fingerprint_of`."""
        return contents.is_fingerprint_of(self.records, known)


def read_split(dataset: DataSet | Path, split: str) -> Split:
    """List one split of a data set, without the identities that its format leaves out.

    Args:
        dataset: a folder, and how it is read; of a path alone the format is recognised.
        split: "train", "query" or "gallery".

    Raises:
        InputError: no format fits, the split is not there, nothing usable in it, or a line that
            is wrong.
    """
    dataset, layout = table.recognise(dataset)
    listing = table.list_images(dataset, layout, split)
    return _split(listing, layout.junk[split], table.ways(layout))


def has_split(dataset: DataSet | Path, split: str) -> bool:
    """Whether a data set has a split; `InputError` if it is a link to nowhere."""
    dataset, layout = table.recognise(dataset)
    return layout.has(dataset, split)


def read_images(path: Path, split: str) -> Split:
    """List the images of a split, without those of Market-1501's junk and distractors.

    Args:
        path: a folder of images named as in Market-1501, or a CSV file with the columns path
            (relative to the file), person and camera (whole numbers).
        split: "train", "query" or "gallery".

    Raises:
        InputError: no such folder or file, nothing usable in it, or a line that is wrong.
    """
    return _split(list_place(Path(path)), MARKET_JUNK[split], WAYS)


def _split(listing: Listing, junk: set[int], needed: str) -> Split:
    records = [Record(name, *numbers) for name, numbers in listing.images]
    used = tuple(record for record in records if record.person not in junk)
    left = [record for record in records if record.person in junk]
    zeros = tuple(record.path for record in left if record.person == DISTRACTOR)
    kinds = Counter(map(folders.kind_of, listing.others))
    others = tuple(str(file) for file in listing.others if not folders.is_hidden(file.name))
    found = Split(used, len(left), kinds.total(), kinds, zeros, others)
    if not used:
        if listing.place.is_file():
            raise InputError(f"{listing.place}: no usable line ({found.left_out}); add some")
        wanted = f"image named like {EXAMPLE}" if needed == WAYS else "usable image"
        raise InputError(f"{listing.place}: no {wanted} ({found.left_out}); {needed}")
    return found


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
    images, others = folders.images_under(path, forbidden=True)
    if path.is_file():
        images, others = [path], []
    kinds = Counter(map(folders.kind_of, others))
    if not images:
        left_out = f"; left out: {folders.kinds_text(kinds)}" if kinds else ""
        raise InputError(
            f"{path}: no image in it ({', '.join(EXTENSIONS)}){left_out}; name another"
        )
    records = [Record(str(file), *(parse_name(file.name) or (UNNAMED, UNNAMED))) for file in images]
    return Split(tuple(records), 0, kinds.total(), kinds)


def joined(splits: Sequence[Split]) -> Split:
    """Several as one; an image that is in two is taken once."""
    records = dict.fromkeys(itertools.chain.from_iterable(split.records for split in splits))
    kinds = sum((split.kinds for split in splits), Counter())
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
        f"{problem}, and only an image by another camera is a match; check the"
        " identities and cameras in the file names or the CSV list"
    )
