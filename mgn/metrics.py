"""Retrieval scores (CMC, mAP, mINP) by the Market-1501 protocol, and k-reciprocal re-ranking."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike as Array
from scipy import sparse

from mgn.errors import InputError

_JUNK = -1  # gallery pictures of nobody in particular: neither right nor wrong
_BLOCK = 512  # queries ranked at a time
_TILE = 2048  # side of the squares of distances that `rerank` holds
_UNKNOWN = np.uint64(0x7F800000FFFFFFFF)  # a neighbour at distance infinity, see `_update`
_SHIFT, _INDEX = np.uint64(32), np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, eq=False)
class Result:
    """Scores from 0 to 1; the means are over the queries that have a match."""

    mAP: float  # of the step AP, as scikit-learn, torchreid, fast-reid and MGN-pytorch have it
    mAP_official: float  # of the trapezoid AP, as the data set's own MATLAB code has it: reads lower
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

    Features are float [Q, D] and [G, D], of any scale; ids (people's numbers) and cameras are integer [Q] and
    [G]; `max_rank` is the length of the CMC curve. Ignored are gallery pictures of the query's person by the
    query's camera, and junk (person -1). Distractors (person 0) are wrong answers without a rule of their
    own, since no query has that number. Equal distances rank by gallery index.

    Raises:
        InputError: shapes that do not fit, NaN or infinity, or no query with a match.
    """
    query, gallery = _comparable(query_features, gallery_features)
    labels = _labels(len(query), len(gallery), query_ids, gallery_ids, query_cameras, gallery_cameras)
    lengths = np.einsum("ij,ij->i", gallery, gallery)
    # Squared, and without the query's own length: the order within a row is the same.
    blocks = (lengths - 2.0 * query[i : i + _BLOCK] @ gallery.T for i in range(0, len(query), _BLOCK))
    return _score(itertools.chain.from_iterable(blocks), labels, max_rank)


def evaluate_distances(
    distances: Array,
    query_ids: Array,
    gallery_ids: Array,
    query_cameras: Array,
    gallery_cameras: Array,
    max_rank: int = 50,
) -> Result:
    """Score rankings by given distances, float [Q, G], smaller is nearer; all else is as in `evaluate`."""
    distances = _matrix("distances", distances)
    labels = _labels(*distances.shape, query_ids, gallery_ids, query_cameras, gallery_cameras)
    return _score((row.copy() for row in distances), labels, max_rank)


def rerank(
    query_features: Array, gallery_features: Array, k1: int = 20, k2: int = 6, lambda_value: float = 0.3
) -> np.ndarray:
    """Distances after k-reciprocal encoding (arXiv:1701.08398), without a matrix of all pairs.

    As in its authors' code, original distances are squared, and each row over queries and gallery is divided
    by its largest. A picture is its own nearest neighbour, even among copies; other ties rank by index.
    Features are as in `evaluate`. Neighbours are mutual among the nearest `k1`, encodings are averaged over
    the nearest `k2`; `lambda_value` (0 to 1) is the original distance's share of the float32 [Q, G] result.

    Raises:
        InputError: shapes that do not fit, NaN or infinity, or an option out of range.
    """
    if min(k1, k2) < 1 or not 0 <= lambda_value <= 1:
        raise InputError(f"k1 {k1} and k2 {k2} must be at least 1, lambda_value {lambda_value} from 0 to 1")
    features = np.concatenate(_comparable(query_features, gallery_features))
    neighbours, farthest, distances = _search(features, len(query_features), max(k1 + 1, k2))
    distances /= farthest[: len(distances), None]
    encoding = _encode(features, farthest, neighbours[:, : k1 + 1], round(k1 / 2) + 1)
    encoding = _members(neighbours[:, :k2]) @ encoding / min(k2, len(features))
    return _blend(distances, encoding, lambda_value)


def _matrix(name: str, values: Array) -> np.ndarray:
    """Values as a finite float32 or float64 matrix that is not empty, or `InputError`."""
    values = np.asarray(values, np.result_type(np.asarray(values), np.float32))
    if values.ndim != 2 or not values.size:
        raise InputError(f"{name}: shape {values.shape}; a matrix with rows and columns is needed")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise InputError(f"{name}: NaN or infinity in {len(bad)} rows, first {bad[:5].tolist()}")
    return values


def _comparable(query: Array, gallery: Array) -> tuple[np.ndarray, np.ndarray]:
    """Both sets in float32, moved and scaled alike so that squared distances keep their digits."""
    query, gallery = _matrix("query features", query), _matrix("gallery features", gallery)
    if query.shape[1] != gallery.shape[1]:
        raise InputError(f"query features have {query.shape[1]} columns, gallery features {gallery.shape[1]}")
    centre = gallery.mean(axis=0, dtype=np.float64)
    moved = [x - centre.astype(x.dtype) for x in (query, gallery)]
    largest = max(max(x.max(), -x.min()) for x in moved)
    factor = 2.0 ** -np.clip(np.frexp(largest)[1], -126, 126).item()  # a power of two rounds nothing
    return tuple((x * factor).astype(np.float32, copy=False) for x in moved)


def _labels(queries: int, entries: int, *labels: Array) -> list[np.ndarray]:
    """Query ids, gallery ids, query cameras and gallery cameras as arrays of the right length."""
    names = ("query ids", "gallery ids", "query cameras", "gallery cameras")
    arrays = [np.asarray(values) for values in labels]
    for name, array, length in zip(names, arrays, (queries, entries) * 2, strict=True):
        if array.shape != (length,):
            raise InputError(f"{name}: shape {array.shape}, but there are {length} {name.split()[0]} rows")
    return arrays


def _score(rows: Iterable[np.ndarray], labels: list[np.ndarray], max_rank: int) -> Result:
    """Score each query by its row of distances (overwritten), and average."""
    query_ids, gallery_ids, query_cameras, gallery_cameras = labels
    order, junk = np.argsort(gallery_ids, kind="stable"), np.flatnonzero(gallery_ids == _JUNK)
    bounds = [np.searchsorted(gallery_ids[order], query_ids, side) for side in ("left", "right")]
    scores = np.full((len(query_ids), 4), (np.nan, np.nan, np.nan, -1))
    for query, (row, start, stop) in enumerate(zip(rows, *bounds, strict=True)):
        person = order[start:stop]
        counts = (gallery_cameras[person] != query_cameras[query]) & (query_ids[query] != _JUNK)
        row[person[~counts]] = row[junk] = np.inf  # behind all that counts, so it moves nobody's rank
        if counts.any():
            scores[query] = _query_scores(row, person[counts])
    first = scores[:, 3].astype(np.int64)
    found = first[first >= 0]
    if not len(found):
        problem = "every query person is seen by one camera only, or is missing from the gallery"
        raise InputError(f"{problem}: nothing to evaluate")
    cmc = np.cumsum(np.bincount(found[found < max_rank], minlength=max_rank)) / len(found)
    means = np.nanmean(scores[:, :3], axis=0).tolist()
    return Result(*means, cmc, *scores[:, :3].T.copy(), first, len(found))


def _query_scores(distances: np.ndarray, wanted: np.ndarray) -> tuple[float, float, float, int]:
    """Step AP, official AP, inverse negative penalty and first rank (from 0) of the `wanted` entries."""
    values, ranked = distances[wanted], np.sort(distances)
    ranks = np.searchsorted(ranked, values)
    for i in np.flatnonzero(np.searchsorted(ranked, values, side="right") - ranks > 1):
        ranks[i] += np.count_nonzero(distances[: wanted[i]] == values[i])  # ties rank by index
    ranks.sort()
    matches = np.arange(1, len(ranks) + 1)
    precision = matches / (ranks + 1)
    # The official curve is the mean of precision just before and at a match; before the list starts it is 1.
    before = np.where(ranks > 0, (matches - 1) / np.maximum(ranks, 1), 1.0)
    return precision.mean(), (before + precision).mean() / 2, precision[-1], ranks[0]


def _search(features: np.ndarray, queries: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours int64 [N, count], largest squared distances [N], those of queries to gallery [Q, G]."""
    total = len(features)
    lengths = np.einsum("ij,ij->i", features, features)
    nearest = np.full((total, min(count, total)), _UNKNOWN)
    farthest = np.full(total, 0.01, np.float32)  # `_comparable` makes it 1/16 or more, unless all are alike
    kept = np.empty((queries, total - queries), np.float32)
    edges = itertools.pairwise([*range(0, queries, _TILE), *range(queries, total, _TILE), total])
    for rows, columns in itertools.combinations_with_replacement([slice(*edge) for edge in edges], 2):
        tile = lengths[columns] - 2.0 * features[rows] @ features[columns].T
        tile += lengths[rows, None]
        np.maximum(tile, np.finfo(np.float32).tiny, out=tile)  # 0 is for the picture itself
        if rows == columns:
            np.fill_diagonal(tile, 0.0)
        else:  # a pair's distance is computed once and used for both
            _update(nearest[columns], farthest[columns], tile.T, rows.start)
        _update(nearest[rows], farthest[rows], tile, columns.start)
        if rows.start < queries <= columns.start:
            kept[rows, columns.start - queries : columns.stop - queries] = tile
    return (nearest & _INDEX).astype(np.int64), farthest, kept


def _update(nearest: np.ndarray, farthest: np.ndarray, tile: np.ndarray, start: int) -> None:
    """Take distances to pictures `start` onwards into the nearest and the farthest seen so far."""
    (height, width), count = tile.shape, nearest.shape[1]
    limit = (nearest[:, -1] >> _SHIFT).astype(np.uint32).view(np.float32)
    if np.isinf(limit[0]) and width >= count:  # any `count` distances give a limit, more give a better one
        limit = np.partition(tile[:, : 16 * count], count - 1, axis=1)[:, count - 1]
    rows, columns = np.divmod(np.flatnonzero(tile <= limit[:, None]), width)
    slots = count + np.arange(len(rows)) - np.searchsorted(rows, rows)
    table = np.full((height, slots.max(initial=count) + 1), _UNKNOWN)
    table[:, :count] = nearest
    # A neighbour is one integer: the bits of its distance (>= 0, so they sort as it does), then its index.
    bits = tile[rows, columns].view(np.uint32).astype(np.uint64)
    table[rows, slots] = bits << _SHIFT | (columns + start).astype(np.uint64)
    nearest[:] = np.sort(table, axis=1)[:, :count]
    np.maximum(farthest, tile.max(axis=1), out=farthest)


def _members(neighbours: np.ndarray) -> sparse.csr_array:
    """Neighbour lists [N, k] as a float32 matrix [N, N] of ones and zeros."""
    total, count = neighbours.shape
    ones, starts = np.ones(neighbours.size, np.float32), np.arange(total + 1) * count
    return sparse.csr_array((ones, neighbours.ravel(), starts), (total, total))


def _encode(features: np.ndarray, farthest: np.ndarray, nearest: np.ndarray, half: int) -> sparse.csr_array:
    """Expand each picture's k-reciprocal neighbours; their weights, exp(-distance), sum to 1 in each row."""
    near, nearer = _members(nearest), _members(nearest[:, :half])
    near, nearer = near.multiply(near.T).tocsr(), nearer.multiply(nearer.T).tocsr()
    # A neighbour brings its own closer ones along if over 2/3 of them are here (the paper: 2/3 or more).
    shared = near.multiply(near @ nearer).tocoo()
    joins = 3 * shared.data > 2 * nearer.sum(axis=1)[shared.col]
    bring = sparse.csr_array((shared.data[joins], (shared.row[joins], shared.col[joins])), shared.shape)
    encoding = near + bring @ nearer
    lengths = np.einsum("ij,ij->i", features, features)
    for i, (start, stop) in enumerate(itertools.pairwise(encoding.indptr)):
        peers = encoding.indices[start:stop]
        weights = np.exp((features[peers] @ (2.0 * features[i]) - lengths[peers] - lengths[i]) / farthest[i])
        encoding.data[start:stop] = weights / weights.sum()
    return encoding


def _blend(distances: np.ndarray, encoding: sparse.csr_array, lambda_value: float) -> np.ndarray:
    """Mix original distances [Q, G] (overwritten) with the Jaccard distances of encodings [N, N]."""
    queries, entries = distances.shape
    gallery = encoding[queries:].tocsc()
    distances *= lambda_value
    for row, (start, stop) in zip(distances, itertools.pairwise(encoding.indptr), strict=False):
        keys = encoding.indices[start:stop]
        starts, sizes = gallery.indptr[keys], gallery.indptr[keys + 1] - gallery.indptr[keys]
        spans = np.arange(sizes.sum()) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
        least = np.minimum(gallery.data[spans], np.repeat(encoding.data[start:stop], sizes))
        overlap = np.bincount(gallery.indices[spans], weights=least, minlength=entries)
        row += (1.0 - lambda_value) * (1.0 - overlap / (2.0 - overlap))
    return distances
