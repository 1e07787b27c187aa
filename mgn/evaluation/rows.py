"""A row of a gallery store: its columns, and what is asked of them."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.config.storing import Where
from mgn.data.records import Record
from mgn.evaluation.collection import LONGEST_PATH
from mgn.evaluation.forgotten import BEFORE, IDENTITY, Rule
from mgn.metrics.distances import nearest
from mgn.system.errors import InputError

# Names are hashed, so that no expression of Milvus holds what must be quoted.
COLUMNS = {"key": "hash", "name": "hash", "path": "text", "identity": "number"}
COLUMNS |= {"camera": "number", "bytes": "number", "changed": "number"}
EVERYTHING = 'key != ""'  # where an expression must not be empty
OF_RECORD = ("path", "identity", "camera")


class Stamp(NamedTuple):
    """What tells that an image is still the same file."""

    bytes: int
    changed: int  # nanoseconds since 1970


def stamp_of(path: str) -> Stamp | None:
    """The stamp of a file; None: it is a link to nowhere, gone, or its name is no valid text."""
    try:
        path.encode()
        status = os.stat(path)  # noqa: PTH116 half the time of pathlib's
    except (OSError, UnicodeEncodeError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def key_of(path: str) -> str:
    """What finds an image: a hash of its path."""
    return hashlib.sha256(path.encode()).hexdigest()


def row_of(record: Record, stamp: Stamp, feature: np.ndarray) -> dict:
    """An image as a row; its feature is float32 [D]."""
    if len(record.path.encode()) > LONGEST_PATH:
        raise InputError(f"{record.path}: the name is too long for a store; shorten it")
    row = {"key": key_of(record.path), "name": key_of(Path(record.path).name)}
    row |= {"path": record.path, "identity": record.person, "camera": record.camera}
    return row | {**stamp._asdict(), "vector": feature}


def bucket_of(row: dict) -> int:
    """A number by which rows are kept apart: most images of an identity have the same."""
    return row["identity"] if row["identity"] >= 0 else int(row["key"][:8], 16)


def vectors_of(rows: list[dict], size: int) -> np.ndarray:
    """The vectors of rows, float32 [N, size]."""
    return np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), size)


def expression(where: Where) -> str:
    """A part of the store as Milvus takes it; all of it is an empty text."""
    parts = []
    if where.cameras is not None:
        parts.append(f"camera in {list(where.cameras)}")
    if where.but_camera is not None:
        parts.append(f"camera != {where.but_camera}")
    if where.since is not None:
        parts.append(f"changed >= {where.since}")
    if where.until is not None:
        parts.append(f"changed < {where.until}")
    return " and ".join(parts)


def expression_of(rule: Rule) -> str:
    """What is to be forgotten as Milvus takes it."""
    if rule.kind == IDENTITY:
        return f"identity == {rule.value}"
    if rule.kind == BEFORE:
        return f"changed < {rule.value}"
    return f'key == "{key_of(rule.value)}" or name == "{key_of(rule.value)}"'


def ranked(query: np.ndarray, rows: list[dict], count: int) -> list[tuple[Record, float]]:
    """The `count` nearest of some rows, with the distances of our own search.

    The query is float32 [D]. Ties are in the order of paths.
    """
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: row["path"])
    indices, distances = nearest(query[None], vectors_of(rows, len(query)), count)
    chosen = [rows[i] for i in indices[0]]
    images = [Record(row["path"], row["identity"], row["camera"]) for row in chosen]
    return list(zip(images, distances[0].tolist(), strict=True))
