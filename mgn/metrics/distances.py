"""Checks on features and labels; centring of features without a copy of a whole gallery."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike as Array

from mgn.errors import InputError

JUNK = -1  # number of people who are nobody in particular: neither right nor wrong
ROWS = 1024  # pictures whose features are looked at, or copied, at a time


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
        max((x.max(axis=0) - centre).max(), (centre - x.min(axis=0)).max()) for x in (query, gallery)
    )
    factor = 2.0 ** -np.clip(np.frexp(largest)[1], -126, 126).item()  # a power of two rounds nothing

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
            raise InputError(f"{name}: shape {array.shape}, but there are {length} {name.split()[0]} rows")
    return arrays


def check_columns(query: np.ndarray, gallery: np.ndarray) -> None:
    """Raise `InputError` unless query [Q, D] and gallery [G, D] have one D."""
    if query.shape[1] != gallery.shape[1]:
        raise InputError(f"query features have {query.shape[1]} columns, gallery features {gallery.shape[1]}")
