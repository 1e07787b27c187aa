"""Retrieval scores (CMC, mAP, mINP) by the Market-1501 protocol."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike as Array

from mgn.data.names import JUNK
from mgn.metrics.distances import ROWS, labels, matrix, mover, squares
from mgn.system.errors import InputError

_MANY = 1000  # neighbours of one query that are too near to tell; more are measured all at once
_HELD = 2**28  # distances held at a time: all of Market-1501's, of 516,000 images 520 rows


@dataclass(frozen=True, eq=False)
class Result:
    """Scores from 0 to 1; the means are over the queries that have a match."""

    mAP: float  # of the step AP, as scikit-learn, torchreid, fast-reid and MGN-pytorch have it
    mAP_official: float  # of the trapezoid AP, as in the data set's own MATLAB code: reads lower
    mINP: float  # arXiv:2001.04193
    cmc: np.ndarray  # float64 [max_rank]; cmc[k-1]: share of queries with a match among the first k
    average_precision: np.ndarray  # float64 [Q], NaN for a query without a match
    average_precision_official: np.ndarray  # float64 [Q], likewise
    inverse_negative_penalty: np.ndarray  # float64 [Q], likewise
    first_match: np.ndarray  # int64 [Q], rank of the best match, from 0; -1 for a query without one
    valid_queries: int  # queries with a match

    def summary(self) -> dict[str, float]:
        """Return the headline figures by the names they have in `metrics.json`."""
        found = self.first_match[self.first_match >= 0]
        ranks = {f"rank@{k}": float(np.mean(found < k)) for k in (1, 3, 5, 10)}
        return {"mAP": self.mAP, "mAP_official": self.mAP_official, "mINP": self.mINP} | ranks


def evaluate(
    query_features: Array,
    gallery_features: Array,
    query_ids: Array,
    gallery_ids: Array,
    query_cameras: Array,
    gallery_cameras: Array,
    max_rank: int = 50,
) -> Result:
    """Rank the gallery by Euclidean distance to each query, and score the rankings.

    Features are float [Q, D] and [G, D], of any scale; ids (identity numbers) and cameras are
    integer [Q] and [G]; `max_rank` is the length of the CMC curve. Ignored are gallery images of
    the query's identity by the query's camera, and junk (identity -1). Distractors (identity 0) are
    wrong answers. Equal distances rank by gallery index; what is too near to tell in float32 is
    computed again in float64, so that the blocks and threads of a product change no rank.

    Raises:
        InputError: shapes that do not fit, NaN or infinity, or no query with a match.
    """
    query = matrix("query features", query_features)
    gallery = matrix("gallery features", gallery_features)
    given = query_ids, gallery_ids, query_cameras, gallery_cameras
    return _score(_rows(query, gallery), labels(len(query), len(gallery), *given), max_rank)


def evaluate_distances(
    distances: Array,
    query_ids: Array,
    gallery_ids: Array,
    query_cameras: Array,
    gallery_cameras: Array,
    max_rank: int = 50,
) -> Result:
    """Score rankings by distances, float [Q, G], smaller is nearer; all else as in `evaluate`."""
    distances = matrix("distances", distances)
    given = query_ids, gallery_ids, query_cameras, gallery_cameras
    rows = (_Row(row.copy(), 0.0, row.__getitem__) for row in distances)
    return _score(rows, labels(*distances.shape, *given), max_rank)


class _Row(NamedTuple):
    """One query's distances to the gallery."""

    distances: np.ndarray  # float [G]
    tolerance: float  # what each of them may be off by
    exact: Callable[[np.ndarray], np.ndarray]  # computes those of given indices without that error


def _rows(query: np.ndarray, gallery: np.ndarray) -> Iterator[_Row]:
    """Yield a row a query; a moved gallery is never held as a whole.

    Distances are squared and without the query's own length: the order within a row is the same.
    A product rounds equal images differently, depending on their place; so a row can compute
    distances again, in float64 and each by itself.
    """
    starts = range(0, len(gallery), ROWS)
    move = mover(query, gallery)
    moved_query = move(query)
    lengths = np.concatenate([squares(move(gallery[i : i + ROWS])) for i in starts])
    # Rounding errors of a sum of D products grow with the root of D; this is three times the seen.
    error = max(4.0, 0.125 * np.sqrt(query.shape[1])) * np.finfo(np.float32).eps
    longest = np.sqrt(lengths.max().item())
    reaches = (longest + 2.0 * np.sqrt(squares(moved_query))).astype(np.float64)
    tolerances = error * longest * reaches
    # |y|^2 - 2xy of a block of queries, in memory that the next block uses again.
    count = min(max(_HELD // len(gallery), 1), len(query))
    held = np.empty((count, len(gallery)), np.float32)
    for start in range(0, len(query), count):
        block = moved_query[start : start + count]
        distances = held[: len(block)]
        for i in starts:
            part = slice(i, i + ROWS)
            entries = move(gallery[part])
            entries *= 2.0
            np.subtract(lengths[part], block @ entries.T, out=distances[:, part])
        for k, row in enumerate(distances, start):
            yield _Row(row, tolerances[k].item(), functools.partial(_exact, query[k], gallery))


def _exact(query: np.ndarray, gallery: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Squared distances float64, each computed by itself."""
    starts = range(0, len(indices), ROWS)
    parts = (gallery[indices[i : i + ROWS]].astype(np.float64) - query for i in starts)
    return np.concatenate([squares(part) for part in parts])


def _score(rows: Iterable[_Row], checked: list[np.ndarray], max_rank: int) -> Result:
    """Score each query by its row of distances (overwritten), and average."""
    query_ids, gallery_ids, query_cameras, gallery_cameras = checked
    junk = np.flatnonzero(gallery_ids == JUNK)
    # In order of ids, the gallery images of one identity are one span.
    order = np.argsort(gallery_ids, kind="stable")
    starts = np.searchsorted(gallery_ids[order], query_ids, side="left")
    stops = np.searchsorted(gallery_ids[order], query_ids, side="right")
    ranks = []
    for query, row in enumerate(rows):
        # A match is an image of the query's identity by another camera.
        own = order[starts[query] : stops[query]]
        matches = (gallery_cameras[own] != query_cameras[query]) & (query_ids[query] != JUNK)
        # What is ignored goes behind all that counts.
        row.distances[own[~matches]] = np.inf
        row.distances[junk] = np.inf
        ranks.append(_ranks(row, own[matches]))
    # A row of scores a query, as `_query_scores` has it; without a match, NaN and -1.
    valid = [query for query, found in enumerate(ranks) if len(found)]
    if not valid:
        problem = "every query person is seen by one camera only, or is missing from the gallery"
        raise InputError(f"{problem}: nothing to evaluate")
    scores = np.full((len(ranks), 4), (np.nan, np.nan, np.nan, -1))
    scores[valid] = _query_scores([ranks[query] for query in valid])
    means = np.nanmean(scores[:, :3], axis=0).tolist()
    # The curve at k: the share of first matches among the first k.
    first = scores[:, 3].astype(np.int64)
    found = first[valid]
    cmc = np.cumsum(np.bincount(found[found < max_rank], minlength=max_rank)) / len(found)
    return Result(*means, cmc, *scores[:, :3].T.copy(), first, len(found))


def _query_scores(ranks: list[np.ndarray]) -> np.ndarray:
    """Step AP, official AP, inverse negative penalty and first rank, given the ranks of matches."""
    # The matches of all queries stand in one array, so that no query needs a loop of its own.
    sizes = np.array([len(found) for found in ranks])
    starts = np.cumsum(sizes) - sizes
    flat = np.concatenate(ranks)
    matches = np.arange(1, len(flat) + 1) - np.repeat(starts, sizes)
    precision = matches / (flat + 1)
    # The official curve is the mean of precision just before and at a match; it starts at 1.
    before = np.where(flat > 0, (matches - 1) / np.maximum(flat, 1), 1.0)
    step = np.add.reduceat(precision, starts) / sizes
    official = np.add.reduceat((before + precision) / 2, starts) / sizes
    penalty = precision[starts + sizes - 1]
    return np.stack([step, official, penalty, flat[starts]], axis=1)


def _ranks(row: _Row, wanted: np.ndarray) -> np.ndarray:
    """Ranks (from 0) of the `wanted` entries among all, ascending; equal ones rank by index."""
    if not len(wanted):
        return wanted
    # The true distance of each lies from `low` to `high`; behind the last of them, nothing counts.
    low = row.distances[wanted] - row.tolerance
    high = row.distances[wanted] + row.tolerance
    within = row.distances <= high.max()
    ranked = np.sort(np.compress(within, row.distances))
    # What is below `low` is in front for certain; what is from there to `high`, the entry itself
    # included, is too near to tell.
    ranks = np.searchsorted(ranked, low)
    unclear = np.searchsorted(ranked, high, side="right") - ranks
    tied = np.flatnonzero(unclear > 1)
    if unclear[tied].sum() > _MANY:
        # Features are nearly all alike: every exact distance, once. Equal ones stay by index.
        candidates = np.flatnonzero(within)
        order = candidates[np.argsort(row.exact(candidates), kind="stable")]
        return np.flatnonzero(np.isin(order, wanted))
    # Else only those near each entry are computed exactly.
    for i in tied:
        near = np.flatnonzero((row.distances >= low[i]) & (row.distances <= high[i]))
        exact = row.exact(near)
        own = exact[np.searchsorted(near, wanted[i])]
        in_front = (exact < own) | ((exact == own) & (near < wanted[i]))
        ranks[i] += np.count_nonzero(in_front)
    return np.sort(ranks)
