"""A gallery store: embeddings with path, identity, camera and time, found by their distance."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mgn.config.storing import APPROXIMATE, EXACT, Where
from mgn.data.records import Record
from mgn.evaluation import milvus
from mgn.evaluation.collection import PAGE, Collection
from mgn.evaluation.erasing import erase
from mgn.evaluation.forgotten import Log, Rule, log_place
from mgn.evaluation.rows import (
    COLUMNS,
    EVERYTHING,
    OF_RECORD,
    Stamp,
    bucket_of,
    expression,
    expression_of,
    key_of,
    ranked,
    row_of,
    vectors_of,
)
from mgn.metrics.distances import matrix
from mgn.system.errors import CheckError, InputError

ANYWHERE = Where()
MOST = 16_000  # images that a search may ask for
_SPARE = 10  # images more than asked, whose distances are computed too
_BYTES = 2**25  # of vectors that one answer holds
_NEVER_LONGER = 1e-3  # by which the length of a vector may differ from 1
_SAME = 1e-5  # distance of two embeddings of one image, at most
_SAMPLE = 50  # stored images by which an approximate index is judged


@contextlib.contextmanager
def open_store(
    place: str, model: str | None, create: bool = False, log: Path | str | None = None
) -> Iterator["Store"]:
    """The store of the model with this hash, or of any (None); `create` makes it if need be.

    Raises:
        InputError: see `milvus.opened`; or it is another model's.
    """
    with milvus.opened(place, create) as collection:
        if collection.name and model and not collection.is_of(model):
            problem = "made by another model, or with other options of it"
            raise InputError(f"--store {place}: {problem}; name another store")
        if not collection.name and not create:
            raise InputError(f"--store {place}: no gallery in it yet; add one with --gallery")
        yield Store(collection, model, Log(log or log_place(place)))


class Store:
    """A gallery; see `open_store`."""

    def __init__(self, collection: Collection, model: str | None, log: Log):
        self.place = collection.place
        self.log = log
        self._collection = collection
        self._model = model

    @property
    def count(self) -> int:
        """How many images it has."""
        return self._collection.count if self._collection.name else 0

    @property
    def index(self) -> str:
        """`EXACT` or `APPROXIMATE`."""
        return self._collection.index

    def stamps(self, paths: Sequence[str]) -> dict[str, Stamp]:
        """The stamps of those of these images that it has."""
        if not self._collection.name:
            return {}
        keys = {key_of(path): path for path in paths}
        rows = self._collection.by_key(list(keys), ("key", "bytes", "changed"))
        return {keys[row["key"]]: Stamp(row["bytes"], row["changed"]) for row in rows}

    def add(self, records: Sequence[Record], stamps: Sequence[Stamp], features: np.ndarray) -> None:
        """Add images, or replace those of the same path; on return they outlast the process.

        `features` are float32 [N, D] of length 1.

        Raises:
            InputError: NaN, another length than 1, or another D than the store's.
        """
        where = f"--store {self.place}"
        features = matrix(where, features)
        lengths = np.linalg.norm(features, axis=1)
        if np.abs(lengths - 1).max() > _NEVER_LONGER:
            problem = f"vectors of length {lengths.min():.3g} to {lengths.max():.3g}; must be 1"
            raise InputError(f"{where}: {problem}; embed with another export of the model")
        if not self._collection.name:
            self._collection.create(self._model, features.shape[1], list(COLUMNS.items()))
        if (size := self._collection.size) != features.shape[1]:
            problem = f"has vectors of {size} numbers, not {features.shape[1]}"
            raise InputError(f"{where}: {problem}; name another store")
        rows = [row_of(*image) for image in zip(records, stamps, features, strict=True)]
        self._collection.write(rows, bucket_of)

    def nearest(
        self, features: np.ndarray, count: int, where: Where = ANYWHERE
    ) -> list[list[tuple[Record, float]]]:
        """For each query, the `count` nearest images with their Euclidean distances.

        `features` are float32 [Q, D]. Milvus chooses somewhat more than `count`; their distances
        are computed from their vectors, as `metrics.distances.nearest` does it. Ties are in the
        order of paths.

        Raises:
            InputError: NaN, another D than the store's, or `count` above `MOST`.
        """
        features = matrix(f"--store {self.place}: query", features)
        size = self._collection.size
        if size != features.shape[1]:
            problem = f"has vectors of {size} numbers, not {features.shape[1]}"
            raise InputError(f"--store {self.place}: {problem}; name another store")
        if count > MOST:
            raise InputError(f"--count {count}: at most {MOST} with --store")
        asked = count + _SPARE
        at_once = max(1, _BYTES // (4 * size * asked))
        rows = []
        for start in range(0, len(features), at_once):
            part = np.asarray(features[start : start + at_once], np.float32)
            chosen = self._collection.nearest(part, asked, expression(where), OF_RECORD)
            rows += [ranked(query, some, count) for query, some in zip(part, chosen, strict=True)]
        return rows

    def has_any(self, where: Where) -> bool:
        """Whether a search there finds something."""
        asked = expression(where) or EVERYTHING
        return bool(self._collection.name) and bool(
            list(self._collection.rows(asked, ("key",), limit=1))
        )

    def check_known(self, rule: Rule) -> None:
        """Raise `InputError` if the store has nothing of what a rule names, and never had it."""
        known = self.log.when(rule) or rule in self.log.unfinished()
        if not known and not list(self._collection.rows(expression_of(rule), ("key",), limit=1)):
            raise InputError(
                f"--store {self.place}: has no {rule}; nothing was forgotten; correct it"
            )

    def forget(self, rule: Rule) -> int:
        """Erase what a rule names, and note in the log that it began; returns how many images."""
        self.log.begin(rule)
        found = list(self._collection.rows(expression_of(rule), ("key",)))
        if found:
            erase(self._collection, expression_of(rule), list(COLUMNS))
        return len(found)

    def vectors_to_forget(self, rule: Rule) -> np.ndarray:
        """Up to `PAGE` of the vectors that a rule names, float32 [N, D], for `check_forgotten`."""
        rows = self._collection.rows(expression_of(rule), ("key", "vector"), limit=PAGE)
        return vectors_of(list(rows), self._collection.size)

    def check_forgotten(self, rule: Rule, vectors: np.ndarray) -> list[str]:
        """Look for what a rule names, by its name and by its vectors.

        Returns the paths of other images with one of these vectors: copies by another name.

        Raises:
            CheckError: something of it is still found.
        """
        left = {row["path"] for row in self._collection.rows(expression_of(rule), ("key", "path"))}
        copies = set()
        for row in self.nearest(vectors, _SPARE) if len(vectors) else []:
            copies |= {record.path for record, distance in row if distance < _SAME}
            left |= {record.path for record, _ in row if rule.covers(record, math.inf)}
        if left:
            problem = f"{len(left)} images of what was to be forgotten ({rule}) are still found"
            raise CheckError(f"--store {self.place}: {problem}; repeat the command")
        return sorted(copies)

    def use_index(self, kind: str) -> float | None:
        """Search so from now on; returns recall@10 of an approximate index, a share.

        It is measured with stored images as queries, against what the exact search finds.
        """
        if kind == self.index:
            return None
        if kind == EXACT:
            self._collection.set_index(kind)
            return None
        rows = self._collection.rows(EVERYTHING, ("key", "vector"), limit=_SAMPLE)
        queries = vectors_of(list(rows), self._collection.size)
        exact = self.nearest(queries, 11) if len(queries) else []
        self._collection.set_index(APPROXIMATE)
        return recall(self.nearest(queries, 11), exact) if exact else None


def recall(found: list, exact: list) -> float:
    """The share of what the exact search finds that another finds too, the first image left out."""
    shares = []
    for some, right in zip(found, exact, strict=True):
        wanted = {record.path for record, _ in right[1:]}
        shares.append(len(wanted & {record.path for record, _ in some}) / max(len(wanted), 1))
    return float(np.mean(shares))
