"""Two models compared on the same images: the proof of every export."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from mgn.data.demo import draw_image
from mgn.system.errors import CheckError

_LARGEST = 1e-5  # difference over the largest value, of float32
_COSINE = 0.999  # of every image, of smaller types
_IDENTITIES = 6  # drawn pedestrians, each seen twice
_SIZES = ((128, 64), (128, 64), (300, 110))  # height and width of images of noise


class Comparison(NamedTuple):
    """How the embeddings of one model differ from another's."""

    difference: float  # largest, over the largest value
    cosine: float  # least, of any image's two embeddings
    distance_change: float  # largest, of any two images' distance: 2 at most

    def __str__(self) -> str:
        return (
            f"largest difference {self.difference:.1e} of the largest value,"
            f" least cosine {self.cosine:.6f},"
            f" largest change of a distance {self.distance_change:.1e}"
        )


def compare(
    source: Callable,
    made: Callable,
    what: str,
    exact: bool = True,
    size: tuple[int, int] | None = None,
) -> Comparison:
    """Compare `made` with `source`, which is right, both `inference.Embedder`; `what` names them.

    If `exact` (float32), they may differ by 1e-5 of the largest value. Else every image's cosine
    must be at least 0.999. `size` is the height and width of all images, where `made` takes one.

    Raises:
        CheckError: they differ by more.
    """
    differences, cosines, changes = [], [], []
    for batch in _batches(exact, size):
        original = source.original(batch)
        original_made = made.original(batch)
        whole = source(batch)
        whole_made = made(batch)
        for expected, got in ((original, original_made), (whole, whole_made)):
            differences.append(np.abs(got - expected).max() / np.abs(expected).max())
            cosines.append(cosines_of(expected, got).min())
        changes.append(np.abs(distances_of(whole_made) - distances_of(whole)).max())
    # NumPy's extremes, as Python's would pass over a NaN.
    found = Comparison(float(np.max(differences)), float(np.min(cosines)), float(np.max(changes)))
    if exact and not found.difference <= _LARGEST:
        todo = "nothing was written; report this"
        differs = f"differs by {found.difference:.1e} of the largest value"
        raise CheckError(f"{what}: {differs}, more than {_LARGEST:.0e}; {todo}")
    if not exact and not found.cosine >= _COSINE:
        differs = f"an image's embeddings have cosine {found.cosine:.4f}"
        todo = "nothing was written; use --precision float32"
        raise CheckError(f"{what}: {differs}, less than {_COSINE}; {todo}")
    return found


def _batches(exact: bool, size: tuple[int, int] | None) -> list[list[np.ndarray]]:
    """One image of noise, several sizes in one batch and, where cosines count, pedestrians."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (*(size or usual), 3), np.uint8) for usual in _SIZES]
    if exact:
        return [noise[:1], noise]
    identities = range(1, _IDENTITIES + 1)
    drawn = [draw_image(0, person, camera, 0) for person in identities for camera in (1, 2)]
    if size:
        drawn = [cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in drawn]
    return [noise[:1], noise, drawn]


def cosines_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row, [N], of two arrays [N, D]."""
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def distances_of(features: np.ndarray) -> np.ndarray:
    """Euclidean, of each row of [N, D] to each: [N, N]; of differences, one row at a time."""
    return np.stack([np.linalg.norm(row - features, axis=1) for row in features])
