"""Matrices of features: checked, moved and compared, without a copy of a whole gallery."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike as Array

from mgn.system.errors import InputError

ROWS = 1024  # images whose features are checked, moved or measured at a time
_BLOCK = 2048  # gallery images that `nearest` compares at a time


def matrix(name: str, values: Array) -> np.ndarray:
    """Values as a finite float32 or float64 matrix that is not empty; errors call them `name`.

    Raises:
        InputError: another shape, NaN or infinity.
    """
    values = np.asarray(values)
    values = np.asarray(values, np.result_type(values, np.float32))
    if values.ndim != 2 or not values.size:
        raise InputError(f"{name}: shape {values.shape}; must be [rows, columns], not empty")
    starts = range(0, len(values), ROWS)
    finite = [np.isfinite(values[i : i + ROWS]).all(axis=1) for i in starts]
    bad = np.flatnonzero(~np.concatenate(finite))
    if len(bad):
        raise InputError(f"{name}: NaN or infinity in {len(bad)} rows, first {bad[:5].tolist()}")
    return values


def check_columns(query: np.ndarray, gallery: np.ndarray) -> None:
    """Raise `InputError` unless query [Q, D] and gallery [G, D] have one D."""
    size, other = query.shape[1], gallery.shape[1]
    if size != other:
        raise InputError(f"query features have {size} columns, gallery features {other}")


def labels(queries: int, entries: int, *given: Array) -> list[np.ndarray]:
    """Query ids, gallery ids, query cameras and gallery cameras as arrays.

    Raises:
        InputError: one is not of the length of its features.
    """
    names = ("query ids", "gallery ids", "query cameras", "gallery cameras")
    lengths = (queries, entries, queries, entries)
    arrays = [np.asarray(values) for values in given]
    for name, array, length in zip(names, arrays, lengths, strict=True):
        if array.shape != (length,):
            rows = f"{length} {name.split()[0]} rows"
            raise InputError(f"{name}: shape {array.shape}, but there are {rows}")
    return arrays


def normalise_parts(features: np.ndarray, parts: int) -> np.ndarray:
    """Scale each of `parts` equal stretches of a row to length 1 / sqrt(parts), as LightMBN.

    Takes and returns float32 [N, D]; a row has length 1 then. A stretch of zeros stays.
    """
    stretches = features.reshape(len(features), parts, -1)
    lengths = np.linalg.norm(stretches, axis=2, keepdims=True) * np.sqrt(np.float32(parts))
    return (stretches / np.maximum(lengths, 1e-12)).reshape(features.shape)


def squares(features: np.ndarray) -> np.ndarray:
    """Squared length of each row."""
    return np.einsum("ij,ij->i", features, features)


def mover(query: np.ndarray, gallery: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that moves and scales rows of both sets alike, into a new float32 array.

    Squared distances between what it returns have all their digits, whatever the scale and offset.

    Raises:
        InputError: query [Q, D] and gallery [G, D] differ in D.
    """
    check_columns(query, gallery)
    centre = gallery.mean(axis=0, dtype=np.float64)
    # The coordinate of either set that is farthest from the centre comes to lie between 1/2 and 1.
    highest = np.maximum(query.max(axis=0), gallery.max(axis=0))
    lowest = np.minimum(query.min(axis=0), gallery.min(axis=0))
    farthest = max((highest - centre).max(), (centre - lowest).max())
    exponent = np.clip(np.frexp(farthest)[1], -126, 126).item()
    factor = 2.0**-exponent  # a power of two rounds nothing

    def move(features: np.ndarray) -> np.ndarray:
        moved = features - centre.astype(features.dtype)
        moved *= factor
        return moved.astype(np.float32, copy=False)

    return move


def nearest(
    query_features: np.ndarray, gallery_features: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the gallery images nearest to each query by Euclidean distance, ties by index.

    Features are float [Q, D] and [G, D], finite; those of the gallery may be memory-mapped, for
    they are read block by block. A `count`, from 1, of more than G is G. Returns int64 [Q, count]
    gallery indices, nearest first, and float32 [Q, count] distances.
    """
    queries = np.asarray(query_features, np.float64)
    count = min(count, len(gallery_features))
    squared = np.full((len(queries), count), np.inf)
    indices = np.zeros((len(queries), count), np.int64)
    for start in range(0, len(gallery_features), _BLOCK):
        block = np.asarray(gallery_features[start : start + _BLOCK], np.float64)
        for row, near in enumerate(_preselect(queries, block, squared[:, -1], count)):
            # By differences, unlike by a product, copies are at distance 0 and equal images tie.
            measured = np.append(squared[row], squares(block[near] - queries[row]))
            candidates = np.append(indices[row], start + near)
            # Indices ascend from block to block, so that a stable sort ranks ties by index.
            order = np.argsort(measured, kind="stable")[:count]
            squared[row] = measured[order]
            indices[row] = candidates[order]
    return indices, np.sqrt(squared).astype(np.float32)


def _preselect(
    queries: np.ndarray, block: np.ndarray, limits: np.ndarray, count: int
) -> list[np.ndarray]:
    """Indices into `block` of all that may be a query's nearest, within squared `limits` [Q]."""
    # Less rounding, so fewer to measure, where all are nearly alike: those of a failed network.
    queries = queries - block[0]
    block = block - block[0]
    # Rough squared distances of all pairs, by one product of matrices.
    own = squares(queries)
    lengths = squares(block)
    rough = own[:, None] + lengths - 2.0 * queries @ block.T
    # Nothing beyond the `count`-th of the block is needed either.
    if count < len(block):
        limits = np.minimum(limits, np.partition(rough, count - 1, axis=1)[:, count - 1])
    # Rounding puts a distance off by this at most.
    error = 8 * (block.shape[1] + 4) * np.finfo(np.float64).eps
    limits = limits + error * (own + lengths.max())
    return [np.flatnonzero(row <= limit) for row, limit in zip(rough, limits, strict=True)]
