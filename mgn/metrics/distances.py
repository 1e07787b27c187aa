"""Features checked, moved and compared, without a copy of a whole gallery."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike as Array

from mgn.system.errors import InputError

ROWS = 1024  # images whose features are looked at, or copied, at a time
_BLOCK = 2048  # gallery images compared at a time


def matrix(name: str, values: Array) -> np.ndarray:
    """Values as a finite float32 or float64 matrix that is not empty; `name` is what the error calls them.

    Raises:
        InputError: another shape, NaN or infinity.
    """
    values = np.asarray(values, np.result_type(np.asarray(values), np.float32))
    if values.ndim != 2 or not values.size:
        raise InputError(f"{name}: shape {values.shape}; a matrix with rows and columns is needed")
    parts = (values[i : i + ROWS] for i in range(0, len(values), ROWS))
    bad = np.flatnonzero(np.concatenate([~np.isfinite(part).all(axis=1) for part in parts]))
    if len(bad):
        raise InputError(f"{name}: NaN or infinity in {len(bad)} rows, first {bad[:5].tolist()}")
    return values


def mover(query: np.ndarray, gallery: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that moves and scales rows of both sets alike, to float32.

    Squared distances between what it returns have all their digits, whatever the scale and offset.

    Raises:
        InputError: query [Q, D] and gallery [G, D] differ in D.
    """
    check_columns(query, gallery)
    centre = gallery.mean(axis=0, dtype=np.float64)
    largest = max(
        max((x.max(axis=0) - centre).max(), (centre - x.min(axis=0)).max())
        for x in (query, gallery)
    )
    factor = (
        2.0 ** -np.clip(np.frexp(largest)[1], -126, 126).item()
    )  # a power of two rounds nothing

    def move(features: np.ndarray) -> np.ndarray:
        moved = features - centre.astype(features.dtype)
        moved *= factor
        return moved.astype(np.float32, copy=False)

    return move


def squares(features: np.ndarray) -> np.ndarray:
    """Squared length of each row."""
    return np.einsum("ij,ij->i", features, features)


def labels(queries: int, entries: int, *given: Array) -> list[np.ndarray]:
    """Query ids, gallery ids, query cameras and gallery cameras as arrays.

    Raises:
        InputError: one is not of the length of its features.
    """
    names = ("query ids", "gallery ids", "query cameras", "gallery cameras")
    arrays = [np.asarray(values) for values in given]
    for name, array, length in zip(names, arrays, (queries, entries) * 2, strict=True):
        if array.shape != (length,):
            raise InputError(
                f"{name}: shape {array.shape}, but there are {length} {name.split()[0]} rows"
            )
    return arrays


def check_columns(query: np.ndarray, gallery: np.ndarray) -> None:
    """Raise `InputError` unless query [Q, D] and gallery [G, D] have one D."""
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"query features have {query.shape[1]} columns, gallery features {gallery.shape[1]}"
        )


def nearest(
    query_features: np.ndarray, gallery_features: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the gallery images nearest to each query by Euclidean distance, ties by index.

    Args:
        query_features: float [Q, D], finite.
        gallery_features: float [G, D], finite; may be memory-mapped, for it is read block by block.
        count: at least 1; taken as G if it is more.

    Returns:
        int64 [Q, count] gallery indices, nearest first, and float32 [Q, count] distances.
    """
    queries, count = np.asarray(query_features, np.float64), min(count, len(gallery_features))
    squares, indices = (
        np.full((len(queries), count), np.inf),
        np.zeros((len(queries), count), np.int64),
    )
    for start in range(0, len(gallery_features), _BLOCK):
        block = np.asarray(gallery_features[start : start + _BLOCK], np.float64)
        for row, near in enumerate(_preselect(queries, block, squares[:, -1], count)):
            # Measured by differences, as a product is not: copies are at distance 0, equal images
            # tie.
            differences = block[near] - queries[row]
            merged = np.append(squares[row], np.einsum("ij,ij->i", differences, differences))
            order = np.argsort(merged, kind="stable")[
                :count
            ]  # what is there already has lower indices
            squares[row], indices[row] = merged[order], np.append(indices[row], start + near)[order]
    return indices, np.sqrt(squares).astype(np.float32)


def _preselect(
    queries: np.ndarray, block: np.ndarray, limits: np.ndarray, count: int
) -> list[np.ndarray]:
    """Indices into `block` of all that may be among the `count` nearest and within `limits` (squared) [Q]."""
    # Less rounding, so fewer to measure, where all images are nearly alike: those of a failed
    # network.
    queries, block = queries - block[0], block - block[0]
    own, lengths = np.einsum("ij,ij->i", queries, queries), np.einsum("ij,ij->i", block, block)
    rough = own[:, None] + lengths - 2.0 * queries @ block.T
    if count < len(block):
        limits = np.minimum(limits, np.partition(rough, count - 1, axis=1)[:, count - 1])
    rounding = (
        8 * (block.shape[1] + 4) * np.finfo(np.float64).eps * (own + lengths.max())
    )  # at most
    return [
        np.flatnonzero(row <= limit) for row, limit in zip(rough, limits + rounding, strict=True)
    ]
