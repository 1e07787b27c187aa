"""Market-1501 file names to records, labels, and P×K batches as a pure function of (seed, epoch)."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn.errors import InputError

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
JUNK, DISTRACTOR = -1, 0  # people's numbers with a meaning of their own in Market-1501
_NAME = re.compile(r"(-1|\d{1,9})_c(\d{1,9})(?:s\d+)?_.*?((\.(jpe?g|png|bmp))+)", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """One picture: where it is, who is on it, which camera took it."""

    path: str
    person: int
    camera: int


@dataclass(frozen=True)
class Split:
    """The usable pictures of one folder, and how many files were left out and why."""

    records: tuple[Record, ...]
    junk: int
    ignored: int  # files that are not named like a Market-1501 picture

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
        """File names, sorted."""
        return [record.path for record in self.records]

    def fingerprint(self) -> str:
        """Hash of the pictures' names, wherever the folder lies: equal for the same people and pictures."""
        names = "\n".join(Path(path).name for path in self.paths)
        return hashlib.sha256(names.encode()).hexdigest()


def parse_name(name: str) -> tuple[int, int] | None:
    """Return (person, camera) of `PPPP_cCsS_FFFFFF_NN.jpg` (or .png, .bmp, .jpg.jpg, upper case), or None."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def read_split(dataset: Path, split: str) -> Split:
    """List one split of a Market-1501 folder; without junk (-1) and, but for a gallery, distractors (0000).

    Args:
        dataset: folder that holds `bounding_box_train`, `query` and `bounding_box_test`.
        split: "train", "query" or "gallery".

    Raises:
        InputError: no such folder, or nothing usable in it.
    """
    folder = Path(dataset) / FOLDERS[split]
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; --dataset must name a folder with {', '.join(FOLDERS.values())} in it"
        )
    records, junk, ignored = [], 0, 0
    for path in sorted(folder.iterdir()):
        parsed = parse_name(path.name)
        if parsed is None or not path.is_file():
            ignored += 1
        elif parsed[0] == JUNK or (parsed[0] == DISTRACTOR and split != "gallery"):
            junk += 1
        else:
            records.append(Record(str(path), *parsed))
    if not records:
        raise InputError(
            f"{folder}: no picture named like 0002_c1s1_000451_03.jpg ({ignored} other files, {junk} junk)"
        )
    return Split(tuple(records), junk, ignored)


def check_matches(query: Split, gallery: Split) -> None:
    """Raise `InputError` if no query person is in the gallery under another camera."""
    seen = {(record.person, record.camera) for record in gallery.records}
    cameras = {camera for _, camera in seen}
    for record in query.records:
        if any((record.person, camera) in seen for camera in cameras - {record.camera}):
            return
    raise InputError("no query person is in the gallery under another camera: nothing could be evaluated")


def labels_of(persons: Sequence[int]) -> np.ndarray:
    """Contiguous int64 labels 0, 1, ... in the order of sorted person numbers (MGN-pytorch's order)."""
    return np.unique(np.asarray(persons), return_inverse=True)[1].astype(np.int64)


def steps_per_epoch(num_classes: int, batch_ids: int) -> int:
    """Batches in one epoch: every person once, P at a time; a last person alone joins the batch before."""
    full, rest = divmod(num_classes, batch_ids)
    return max(full + (rest > 1), 1)


def pk_batches(
    labels: np.ndarray, batch_ids: int, batch_images: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """One epoch of P×K batches: every person once, K pictures of each.

    Args:
        labels: int64 [N], 0 to C-1.
        batch_ids: P. The last batch holds the people left over, at least two (a triplet needs a negative).
        batch_images: K. Pictures repeat only where a person has fewer than K.
        seed: with `epoch`, all the randomness there is.
        epoch: counted from 0.

    Returns:
        int64 arrays of indices into `labels`, one a batch, the K pictures of a person side by side.
    """
    rng = np.random.default_rng((seed, epoch))
    pictures = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    drawn = [_draw(rng, pictures[person], batch_images) for person in rng.permutation(len(pictures))]
    cuts = [batch_ids * (i + 1) for i in range(steps_per_epoch(len(pictures), batch_ids) - 1)]
    return [np.concatenate(drawn[a:b]) for a, b in zip([0, *cuts], [*cuts, len(drawn)], strict=True)]


def _draw(rng: np.random.Generator, pictures: np.ndarray, count: int) -> np.ndarray:
    """`count` pictures, each as often as any other (give or take one)."""
    rounds = -(-count // len(pictures))
    return np.concatenate([rng.permutation(pictures) for _ in range(rounds)])[:count]
