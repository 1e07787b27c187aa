"""Smaller vectors made of features of length 1: some heads, principal axes, int8, bits.

Each is returned as float32 rows whose Euclidean distances rank as those of the small vectors do,
with how many bytes a stored vector has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mgn.metrics.distances import ROWS, nearest, squares

PCA = "PCA"  # how the names of axes begin
COUNTS = (512, 256, 128, 64, 32)  # axes that are tried
Map = Callable[[np.ndarray], np.ndarray]  # float32 [N, D] to float32 [N, d]


class Small(NamedTuple):
    """One way to make vectors smaller."""

    name: str
    bytes: int  # of a stored vector
    make: Map


class Axes(NamedTuple):
    """Where features lie and how they differ, the directions of most difference first."""

    centre: np.ndarray  # [D]
    axes: np.ndarray  # [K, D], rows of length 1 at right angles
    spread: np.ndarray  # [K], deviations along them


class Reranked(NamedTuple):
    """The first of a ranking by small vectors, ranked again by whole ones."""

    distances: np.ndarray  # float32 [Q, G]; beyond the first those of the small vectors, plus more
    nearest: np.ndarray  # int64 [Q, 10], gallery indices


def ways(gallery: np.ndarray, heads: Mapping[str, Sequence[int]], fitted: Axes) -> Iterator[Small]:
    """Every way, from large to small.

    Args:
        gallery: float32 [G, D], rows of length 1; scales are fitted to it, without a label.
        heads: {name: numbers of the heads that are kept}; each has 256 of the D columns.
        fitted: `principal_axes` of the gallery.
    """
    size = gallery.shape[1]
    yield Small("float32", 4 * size, np.asarray)
    yield Small("float16", 2 * size, lambda x: x.astype(np.float16).astype(np.float32))
    yield Small("int8", size, int8(gallery))
    for name, kept in heads.items():
        some = columns_of(kept)
        yield Small(f"{name}, float32", 4 * 256 * len(kept), some)
        yield Small(f"{name}, int8", 256 * len(kept), after(some, int8(some(gallery))))
    for count in COUNTS:
        if count <= len(fitted.axes):
            whole = project(first_axes(fitted, count))
            yield Small(f"{PCA} {count}, float32", 4 * count, whole)
            yield Small(f"{PCA} {count}, int8", count, after(whole, int8(whole(gallery))))
    yield Small("bits", (size + 7) // 8, bits(fitted.centre))


def after(first: Map, second: Map) -> Map:
    """Both, one after the other."""
    return lambda features: second(first(features))


def unit(features: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, in their own type; one of zeros stays."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)


def columns_of(kept: Sequence[int]) -> Map:
    """The features of some heads, 256 columns each, scaled to length 1."""
    columns = np.concatenate([np.arange(256 * head, 256 * (head + 1)) for head in kept])
    return lambda features: unit(features[:, columns])


def principal_axes(features: np.ndarray) -> Axes:
    """Mean, min(N - 1, D) axes or fewer, and deviations of features [N, D], in float64.

    Axes along which nothing differs (deviations of 1e-6 of the largest and less) are left out.
    """
    centre = features.mean(axis=0, dtype=np.float64)
    count, size = features.shape
    if count <= size:  # the quicker way, which copies them
        _, values, axes = np.linalg.svd(features - centre, full_matrices=False)
        spread = values / np.sqrt(count)
        kept = (spread > 1e-6 * spread[0]) & (np.arange(count) < count - 1)
        return Axes(centre, axes[kept], spread[kept])
    covariance = np.zeros((size, size))
    for start in range(0, len(features), ROWS):  # no second copy of a gallery
        block = features[start : start + ROWS] - centre
        covariance += block.T @ block
    values, vectors = np.linalg.eigh(covariance / count)
    spread = np.sqrt(np.maximum(values[::-1], 0))
    kept = spread > 1e-6 * spread[0]
    return Axes(centre, vectors.T[::-1][kept], spread[kept])


def first_axes(fitted: Axes, count: int) -> Axes:
    """The `count` along which features differ most."""
    return Axes(fitted.centre, fitted.axes[:count], fitted.spread[:count])


def towards(fitted: Axes, dtype: type = np.float32) -> np.ndarray:
    """What centred features are multiplied by, [D, K]: axes, each over its deviation."""
    return (fitted.axes.astype(np.float64) / fitted.spread[:, None]).T.astype(dtype)


def project(fitted: Axes, dtype: type = np.float32) -> Map:
    """Coordinates along the axes, each by its deviation (whitening), scaled to length 1.

    As in Jégou and Chum, "Negative evidences and co-occurences in image retrieval", ECCV 2012.
    """
    centre, matrix = fitted.centre.astype(dtype), towards(fitted, dtype)
    return lambda features: unit((features - centre) @ matrix)


def int8(features: np.ndarray) -> Map:
    """Whole numbers from -127 to 127 on one scale: 127 is the largest of these features."""
    scale = 127 / max(float(np.abs(features).max()), 1e-30)
    return lambda x: np.clip(np.round(x * np.float32(scale)), -127, 127).astype(np.float32)


def bits(centre: np.ndarray) -> Map:
    """A bit a number, whether it is above the mean: as 0 and 1, whose distance is Hamming's."""
    return lambda features: (features > centre.astype(np.float32)).astype(np.float32)


def rerank_first(
    query: np.ndarray, gallery: np.ndarray, small: tuple[np.ndarray, np.ndarray], first: int
) -> Reranked:
    """Rank by small vectors, then the `first` of each query by whole ones.

    Args:
        query: float32 [Q, D], of length 1.
        gallery: float32 [G, D], likewise.
        small: both, as small vectors.
        first: how many.
    """
    indices, _ = nearest(*small, first)
    rough = squares(small[0])[:, None] + squares(small[1]) - 2 * small[0] @ small[1].T
    distances = np.sqrt(np.maximum(rough, 0, out=rough), out=rough)
    distances += 4  # whole vectors are 2 apart at most
    best = np.empty((len(query), min(10, indices.shape[1])), np.int64)
    for row, near in enumerate(indices):
        exact = np.linalg.norm(query[row] - gallery[near], axis=1)
        distances[row, near] = exact
        best[row] = near[np.argsort(exact, kind="stable")[: best.shape[1]]]
    return Reranked(distances, best)
