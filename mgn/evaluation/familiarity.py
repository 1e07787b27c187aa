"""Whether images are like those that a network was trained on: a verdict a camera, no labels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mgn.data.appearance import look_at
from mgn.data.decoding import READERS, read_image
from mgn.data.records import UNNAMED, Record
from mgn.evaluation.batchnorms import BatchNorms
from mgn.evaluation.verdicts import LIKE, LIMIT, UNLIKE, Camera, Familiarity, Looks, what_differs
from mgn.metrics.shift import BLOCKS, FEWEST, squared_shift
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.system.progress import Progress
from mgn.weights.checkpoints import Checkpoint

SAMPLE = 200  # images of a camera that are looked at
_AT_ONCE = 32  # images read ahead of the network
_NEEDED = f"it takes {FEWEST} images of {BLOCKS} people"
_THIRDS = [i for i, head in enumerate(HEADS) if (head.branch, head.stripe is None) == ("p3", False)]


def by_camera(records: Sequence[Record], root: Path) -> dict[str, list[Record]]:
    """Images by the name of a camera; where names tell none, by folder below `root`.

    Images of one identity follow each other, as far as names tell it.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        path = Path(record.path)
        key = 0, record.camera, f"camera {record.camera}"
        if record.camera == UNNAMED:
            folder = path.parent.relative_to(root) if path.is_relative_to(root) else path.parent
            key = 1, 0, f"folder {folder}" if folder.name else "all images"
        groups.setdefault(key, []).append(record)
    named = {}
    for key in sorted(groups):
        named[key[-1]] = sorted(groups[key], key=lambda r: (r.person, Path(r.path).name, r.path))
    return named


def examine(checkpoint: Checkpoint, records: Sequence[Record], root: Path) -> Familiarity:
    """Compare up to `SAMPLE` images of each camera with what the batch norms hold.

    Args:
        checkpoint: of a network that was trained.
        records: images, in any order; an unreadable one is left out and counted.
        root: their folder, see `by_camera`.

    Raises:
        InputError: see `BatchNorms`; or no camera has enough images for a verdict.
    """
    groups = by_camera(records, root)
    chosen = {name: _spread(images) for name, images in groups.items()}
    cameras = []
    norms = BatchNorms(checkpoint)
    try:
        total = sum(map(len, chosen.values()))
        with Progress(total, "comparing with training", "images") as progress:
            for name, images in chosen.items():
                cameras.append(_examine_camera(norms, name, images, len(groups[name]), progress))
    finally:
        norms.close()
    if all(camera.shift is None for camera in cameras):
        told = "; ".join(f"{camera.name}: {camera.looked_at}" for camera in cameras[:5])
        unreadable = sum(camera.unreadable for camera in cameras)
        told += f"; unreadable: {unreadable}" if unreadable else ""
        problem = f"too few images or people for a verdict on any camera ({told})"
        raise InputError(f"{root}: {problem}; {_NEEDED} of one camera")
    colour = tuple(norms.colour.tolist())
    return Familiarity(str(checkpoint.prefix), norms.height, colour, tuple(cameras))


def _spread(images: Sequence[Record]) -> list[Record]:
    """Up to `SAMPLE` of them, evenly from the first to the last."""
    places = np.linspace(0, len(images) - 1, min(SAMPLE, len(images)))
    return [images[i] for i in places.round().astype(int)]


def _examine_camera(
    norms: BatchNorms, name: str, images: Sequence[Record], count: int, progress: Progress
) -> Camera:
    seen, looks, values, colours = [], [], [], []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            opened = zip(part, pool.map(_read, part), strict=True)
            read = [(record, pixels) for record, pixels in opened if pixels is not None]
            seen += [record.person for record, _ in read]
            pixels = [pixels for _, pixels in read]
            looks += map(look_at, pixels)
            colours += [image.mean(axis=(0, 1)) for image in pixels]
            values.append(norms.values(pixels))
            progress.advance(len(part))
    counts = count, len(seen), len(images) - len(seen)
    # Strangers and images without a label are somebody else each.
    people = len({person for person in seen if person > 0}) + sum(person <= 0 for person in seen)
    if len(seen) < FEWEST or people < BLOCKS:
        what = f"too few images, of {people} people, for a verdict: {_NEEDED}"
        return Camera(name, *counts, what)
    squared = squared_shift(np.concatenate(values), norms.mean, norms.variance)
    shift = float(np.sqrt(max(squared.mean(), 0)))
    sizes = [(look.height, look.width, look.sharpness) for look in looks]
    medians = np.median(sizes, axis=0).tolist()
    looked = Looks(*medians, tuple(np.mean(colours, axis=0).tolist()))
    if shift < LIMIT:
        return Camera(name, *counts, LIKE, shift, looked)
    differs = what_differs(looked, norms.height, tuple(norms.colour), squared[_THIRDS])
    return Camera(name, *counts, UNLIKE, shift, looked, tuple(differs))


def _read(record: Record) -> np.ndarray | None:
    try:
        return read_image(record.path)
    except InputError:
        return None
