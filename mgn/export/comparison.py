"""Two models compared on the same images: the proof of every export."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mgn.data.demo import draw_image
from mgn.system.errors import CheckError

_LARGEST = 1e-5  # difference over the largest value, of float32
_COSINE = 0.999  # of every image, of smaller types
_IDENTITIES = 6  # drawn pedestrians, each seen twice


class Comparison(NamedTuple):
    """How the embeddings of one model differ from another's."""

    difference: float  # largest, over the largest value
    cosine: float  # least, of any image's two embeddings
    distance_change: (
        float  # largest, of any two images' distance (of embeddings of length 1, so 2 at most)
    )

    def __str__(self) -> str:
        return (
            f"largest difference {self.difference:.1e} of the largest value, least cosine {self.cosine:.6f},"
            f" largest change of a distance {self.distance_change:.1e}"
        )


def compare(source: Callable, made: Callable, what: str, exact: bool = True) -> Comparison:
    """Compare two models, each an `inference.Embedder`.

    Args:
        source: the model that is right.
        made: the model to be judged.
        what: names both in messages.
        exact: of float32, so within 1e-5 of the largest value; else every image's cosine is 0.999
            or more.

    Raises:
        CheckError: they differ by more.
    """
    expected, got, whole, whole_got = [], [], [], []
    for batch in _noise() if exact else [*_noise(), _pedestrians()]:
        expected.append(source.original(batch))
        got.append(made.original(batch))
        whole.append(source(batch))
        whole_got.append(made(batch))
    pairs = [*zip(expected, got, strict=True), *zip(whole, whole_got, strict=True)]
    difference = max(float(np.abs(b - a).max() / np.abs(a).max()) for a, b in pairs)
    cosine = min(float(_cosines(a, b).min()) for a, b in pairs)
    change = max(
        float(np.abs(_distances(b) - _distances(a)).max())
        for a, b in zip(whole, whole_got, strict=True)
    )
    found = Comparison(
        *(
            float(np.nan_to_num(v, nan=bad))
            for v, bad in ((difference, np.inf), (cosine, -1), (change, np.inf))
        )
    )
    if exact and not found.difference <= _LARGEST:
        raise CheckError(
            f"{what}: differs by {difference:.1e} of the largest value, more than {_LARGEST:.0e}; not kept"
        )
    if not exact and not found.cosine >= _COSINE:
        raise CheckError(
            f"{what}: an image's embeddings have cosine {cosine:.4f}, less than {_COSINE}; not kept"
        )
    return found


def _noise() -> list[list[np.ndarray]]:
    """One image, and several sizes in one batch."""
    rng = np.random.default_rng(0)
    noise = [
        rng.integers(0, 256, (*size, 3), np.uint8) for size in ((128, 64), (128, 64), (300, 110))
    ]
    return [noise[:1], noise]


def _pedestrians() -> list[np.ndarray]:
    return [
        draw_image(0, person, camera, 0)
        for person in range(1, _IDENTITIES + 1)
        for camera in (1, 2)
    ]


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def _distances(features: np.ndarray) -> np.ndarray:
    return np.linalg.norm(features[:, None] - features[None], axis=2)
