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
from mgn.metrics.shift import FEWEST, squared_shift
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.system.progress import Progress
from mgn.weights.checkpoints import Checkpoint

SAMPLE = 200  # images of a camera that are looked at
_AT_ONCE = 32  # images read ahead of the network
_THIRDS = [i for i, head in enumerate(HEADS) if (head.branch, head.stripe is None) == ("p3", False)]


def by_camera(records: Sequence[Record], root: Path) -> dict[str, list[str]]:
    """Paths by the name of a camera; where names tell none, by folder below `root`.

    Images of one identity follow each other, as far as names tell it.
    """
    groups: dict[tuple, list[tuple]] = {}
    for record in records:
        path = Path(record.path)
        key = 0, record.camera, f"camera {record.camera}"
        if record.camera == UNNAMED:
            folder = path.parent.relative_to(root) if path.is_relative_to(root) else path.parent
            key = 1, 0, f"folder {folder}" if folder.name else "all images"
        groups.setdefault(key, []).append((record.person, path.name, record.path))
    named = {}
    for key in sorted(groups):
        named[key[-1]] = [path for *_, path in sorted(groups[key])]
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
    chosen = {name: _spread(paths) for name, paths in groups.items()}
    cameras = []
    norms = BatchNorms(checkpoint)
    try:
        total = sum(map(len, chosen.values()))
        with Progress(total, "comparing with training", "images") as progress:
            for name, paths in chosen.items():
                cameras.append(_examine_camera(norms, name, paths, len(groups[name]), progress))
    finally:
        norms.close()
    if all(camera.shift is None for camera in cameras):
        told = "; ".join(f"{camera.name}: {camera.looked_at}" for camera in cameras[:5])
        unreadable = sum(camera.unreadable for camera in cameras)
        told += f"; unreadable: {unreadable}" if unreadable else ""
        problem = f"too few images for a verdict on any camera ({told})"
        raise InputError(f"{root}: {problem}; give {FEWEST} or more of one camera")
    colour = tuple(norms.colour.tolist())
    return Familiarity(str(checkpoint.prefix), norms.height, colour, tuple(cameras))


def _spread(paths: Sequence[str]) -> list[str]:
    """Up to `SAMPLE` of them, evenly from the first to the last."""
    places = np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths)))
    return [paths[i] for i in places.round().astype(int)]


def _examine_camera(
    norms: BatchNorms, name: str, paths: Sequence[str], images: int, progress: Progress
) -> Camera:
    looks, values, colours = [], [], []
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            part = paths[start : start + _AT_ONCE]
            read = [image for image in pool.map(_read, part) if image is not None]
            looks += map(look_at, read)
            colours += [image.mean(axis=(0, 1)) for image in read]
            values.append(norms.values(read))
            progress.advance(len(part))
    counts = images, len(looks), len(paths) - len(looks)
    if len(looks) < FEWEST:
        return Camera(name, *counts, f"too few images for a verdict: {FEWEST} are needed")
    squared = squared_shift(np.concatenate(values), norms.mean, norms.variance)
    shift = float(np.sqrt(max(squared.mean(), 0)))
    sizes = [(look.height, look.width, look.sharpness) for look in looks]
    medians = np.median(sizes, axis=0).tolist()
    looked = Looks(*medians, tuple(np.mean(colours, axis=0).tolist()))
    if shift < LIMIT:
        return Camera(name, *counts, LIKE, shift, looked)
    differs = what_differs(looked, norms.height, tuple(norms.colour), squared[_THIRDS])
    return Camera(name, *counts, UNLIKE, shift, looked, tuple(differs))


def _read(path: str) -> np.ndarray | None:
    try:
        return read_image(path)
    except InputError:
        return None
