"""Images of a data set that are worth a look: odd ones, and some of each camera."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mgn.data.appearance import Appearance, near_copies
from mgn.data.records import Record, Split

SMALLEST, BLURRED, DARKEST = "smallest images", "most blurred images", "darkest images"
SHOWN = 12  # images or pairs of a kind
_PAIRS = 1000  # of near copies that are kept
_MEASURES: dict[str, tuple[Callable[[Appearance], float], str]] = {  # the least of each is odd
    SMALLEST: (lambda seen: seen.height * seen.width, "{0.height}x{0.width}"),
    BLURRED: (lambda seen: seen.sharpness, "sharpness {0.sharpness:.3f}"),
    DARKEST: (lambda seen: seen.light, "grey level {0.light:.0f}"),
}


class Suspect(NamedTuple):
    """An image, and a few words on why it is shown."""

    path: str
    note: str


def odd_images(looks: Mapping[str, Appearance]) -> dict[str, list[Suspect]]:
    """The smallest, the most blurred and the darkest images; `looks` are by path."""
    shown = {}
    for name, (measure, note) in _MEASURES.items():
        paths = sorted(looks, key=lambda path: measure(looks[path]))[:SHOWN]
        shown[name] = [Suspect(path, note.format(looks[path])) for path in paths]
    return shown


def find_near_copies(
    splits: Mapping[str, Split], looks: Mapping[str, Appearance], digests: Mapping[str, bytes]
) -> tuple[list[tuple[Suspect, Suspect]], int]:
    """Pairs of images, the most alike first, and how many there are in all.

    Of files with the same bytes, which `duplicates` finds, the first stands for all.
    """
    by_digest: dict[bytes, Record] = {}
    for record in _readable(splits, looks):
        by_digest.setdefault(digests[record.path], record)
    seen = list(by_digest.values())
    hashes = np.array([looks[record.path].hash for record in seen], np.uint64)
    pairs, total = near_copies(hashes, [record.person for record in seen], _PAIRS)
    shown = []
    for bits, i, j in pairs:
        first = Suspect(seen[i].path, f"person {seen[i].person}")
        second = Suspect(seen[j].path, f"person {seen[j].person}, {bits} of 128 bits differ")
        shown.append((first, second))
    return shown, total


def samples(
    splits: Mapping[str, Split], looks: Mapping[str, Appearance]
) -> dict[str, list[Suspect]]:
    """A row of images of each camera, evenly from the first to the last."""
    by_camera: dict[int, list[Record]] = {}
    for record in _readable(splits, looks):
        by_camera.setdefault(record.camera, []).append(record)
    shown = {}
    for camera in sorted(by_camera):
        records = by_camera[camera]
        chosen = np.linspace(0, len(records) - 1, min(SHOWN, len(records))).astype(int)
        row = [Suspect(records[i].path, f"person {records[i].person}") for i in chosen]
        shown[f"camera {camera}"] = row
    return shown


def _readable(splits: Mapping[str, Split], looks: Mapping[str, Appearance]) -> list[Record]:
    found = []
    for split in splits.values():
        found += [record for record in split.records if record.path in looks]
    return found
