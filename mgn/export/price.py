"""What an eight-bit export costs, on images that did not choose its ranges."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mgn.export.comparison import cosines_of, distances_of
from mgn.inference.embedder import Embedder
from mgn.system.errors import CheckError

_NEAREST = 10


class Price(NamedTuple):
    """How embeddings, of length 1, differ from the checkpoint's."""

    cosine: float  # least, of any image's two embeddings
    mean_cosine: float
    distance_change: float  # largest, of any two images' distance: 2 at most
    nearest: float | None  # share of each image's ten nearest that are still so; None: of too few
    held_back: int  # images

    def __str__(self) -> str:
        nearest = "" if self.nearest is None else f", {self.nearest:.1%} of the ten nearest kept"
        return (
            f"{self.held_back} images held back: least cosine {self.cosine:.5f},"
            f" mean {self.mean_cosine:.5f},"
            f" largest change of a distance {self.distance_change:.1e}{nearest}"
        )


def price(
    source: Embedder,
    made: Embedder,
    images: Sequence[np.ndarray],
    size: tuple[int, int] | None = None,
) -> Price:
    """Compare an export with its source.

    Args:
        source: the checkpoint.
        made: the export.
        images: uint8 RGB [H, W, 3].
        size: height and width of the images that `made` takes; None: any.
    """
    if size:
        images = resized(images, size)
    return between(source(images), made(images))


def resized(images: Sequence[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    """Images of any sizes, as those of one height and width that a model may ask for."""
    return [cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in images]


def between(expected: np.ndarray, got: np.ndarray) -> Price:
    """Compare the embeddings of the same images, float32 [N, D], of length 1."""
    cosines = cosines_of(expected, got)
    before, after = distances_of(expected), distances_of(got)
    return Price(
        float(cosines.min()),
        float(cosines.mean()),
        float(np.abs(after - before).max()),
        _nearest_kept(before, after),
        len(expected),
    )


def check(found: Price, least: float, what: str) -> None:
    """Raise `CheckError` where an image's cosine is below `least`, or no number."""
    if not found.cosine >= least:
        differs = f"an image's embeddings have cosine {found.cosine:.4f}, less than {least:g}"
        todo = "more --calibration images, --keep_float, or a smaller --int8_bound"
        raise CheckError(f"{what}: {differs}; nothing was written; try {todo}")


def _nearest_kept(before: np.ndarray, after: np.ndarray) -> float | None:
    """Of distances [N, N]; None where all others are nearest, whatever was changed."""
    if len(before) - 1 <= _NEAREST:
        return None
    kept = [
        len(set(_nearest(a)) & set(_nearest(b))) / _NEAREST
        for a, b in zip(_to_others(before), _to_others(after), strict=True)
    ]
    return float(np.mean(kept))


def _to_others(distances: np.ndarray) -> np.ndarray:
    """Each image's distances to the others, [N, N - 1]."""
    count = len(distances)
    return distances[~np.eye(count, dtype=bool)].reshape(count, count - 1)


def _nearest(distances: np.ndarray) -> list[int]:
    return np.argsort(distances, kind="stable")[:_NEAREST].tolist()
