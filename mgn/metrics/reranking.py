"""k-reciprocal re-ranking (arXiv:1701.08398) without a matrix of all pairs."""

import itertools

import numpy as np
from numpy.typing import ArrayLike as Array
from scipy import sparse

from mgn.metrics.distances import matrix, mover, squares
from mgn.system.errors import InputError

_TILE = 1024  # images whose distances to all that come after them are held at a time
_UNKNOWN = np.uint64(0x7F800000FFFFFFFF)  # a neighbour at distance infinity, see `_update`
_SHIFT, _INDEX = np.uint64(32), np.uint64(0xFFFFFFFF)


def rerank(
    query_features: Array,
    gallery_features: Array,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> np.ndarray:
    """Distances after k-reciprocal encoding (arXiv:1701.08398), without a matrix of all pairs.

    As in its authors' code, original distances are squared, and each row over queries and gallery
    is divided by its largest. An image is its own nearest neighbour, even among copies; other
    distances that are computed equal rank by index.

    Args:
        query_features: float [Q, D], of any scale.
        gallery_features: float [G, D], alike.
        k1: neighbours are mutual among the nearest `k1`.
        k2: encodings are averaged over the nearest `k2`.
        lambda_value: share of the original distance in the result, 0 to 1.

    Returns:
        float32 [Q, G].

    Raises:
        InputError: shapes that do not fit, NaN or infinity, or an option out of range.
    """
    if min(k1, k2) < 1 or not 0 <= lambda_value <= 1:
        raise InputError(
            f"k1 {k1} and k2 {k2} must be at least 1, lambda_value {lambda_value} from 0 to 1"
        )
    query, gallery = (
        matrix("query features", query_features),
        matrix("gallery features", gallery_features),
    )
    move = mover(query, gallery)
    features = np.concatenate([move(query), move(gallery)])
    neighbours, squared, farthest, distances = _search(features, len(query), max(k1 + 1, k2))
    distances /= farthest[: len(distances), None]
    near = slice(k1 + 1)
    encoding = _encode(features, neighbours[:, near], squared[:, near], farthest, round(k1 / 2) + 1)
    encoding = _members(neighbours[:, :k2]) @ encoding / min(k2, len(features))
    return _blend(distances, encoding, lambda_value)


def _search(features: np.ndarray, queries: int, count: int) -> tuple[np.ndarray, ...]:
    """Neighbours int64 [N, count], their squared distances, the largest [N], queries to gallery [Q, G]."""
    total, size = features.shape
    # [x, 1, |x|^2] times [-2y, |y|^2, 1] is the squared distance: a product that needs no more
    # passes.
    right = np.empty((total, size + 2), np.float32)
    right[:, :size], right[:, size], right[:, size + 1] = features, 1.0, squares(features)
    nearest = np.full((total, min(count, total)), _UNKNOWN)
    farthest = np.full(
        total, 0.01, np.float32
    )  # `mover` makes it 1/16 or more, unless all are alike
    kept = np.empty((queries, total - queries), np.float32)
    for start in range(0, total, _TILE):
        rows, columns = slice(start, start + _TILE), slice(start, total)
        left = right[rows] * np.float32(-2.0)
        left[:, size], left[:, size + 1] = right[rows, size + 1], 1.0
        tile = left @ right[columns].T
        np.fill_diagonal(tile, -1.0)  # an image is its own nearest, even among copies
        _update(nearest[rows], farthest[rows], tile, start)
        if start + _TILE < total:  # a pair's distance is computed once and used for both
            _update(nearest[start + _TILE :], farthest[start + _TILE :], tile[:, _TILE:].T, start)
        if start < queries:
            kept[rows] = tile[: queries - start, queries - start :]
    kept = np.maximum(kept, 0.0, out=kept)
    return (nearest & _INDEX).astype(np.int64), _distances_in(nearest), farthest, kept


def _distances_in(nearest: np.ndarray) -> np.ndarray:
    return (nearest >> _SHIFT).astype(np.uint32).view(np.float32)


def _update(nearest: np.ndarray, farthest: np.ndarray, tile: np.ndarray, start: int) -> None:
    """Take distances to images `start` onwards into the nearest and the farthest seen so far."""
    (height, width), count = tile.shape, nearest.shape[1]
    limit = _distances_in(nearest[:, -1])
    if (
        np.isinf(limit[0]) and width >= count
    ):  # any `count` distances give a limit, more give a better one
        limit = np.partition(tile[:, : 16 * count], count - 1, axis=1)[:, count - 1]
    rows, columns = _hits(tile, np.maximum(limit, 0.0))
    slots = count + np.arange(len(rows)) - np.searchsorted(rows, rows)
    table = np.full((height, slots.max(initial=count) + 1), _UNKNOWN)
    table[:, :count] = nearest
    # A neighbour is one integer: the bits of its distance (> 0, so they sort as it does), then its
    # index.
    found = tile[rows, columns]
    distances = np.where(found == -1.0, 0.0, np.maximum(found, np.finfo(np.float32).tiny))
    bits = distances.astype(np.float32).view(np.uint32).astype(np.uint64)
    table[rows, slots] = bits << _SHIFT | (columns + start).astype(np.uint64)
    nearest[:] = np.sort(table, axis=1)[:, :count]
    np.maximum(farthest, tile.max(axis=1), out=farthest)


def _hits(tile: np.ndarray, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns where a tile is within its row's limit, by rows; quick for a transposed one too."""
    if tile.flags.c_contiguous:
        return np.divmod(np.flatnonzero(tile <= limit[:, None]), tile.shape[1])
    columns, rows = np.divmod(np.flatnonzero(limit >= tile.T), len(tile))
    order = np.argsort(rows, kind="stable")
    return rows[order], columns[order]


def _members(neighbours: np.ndarray, values: np.ndarray | float = 1.0) -> sparse.csr_array:
    """Neighbour lists [N, k] as a sparse matrix [N, N]: ones, or the values given."""
    total, count = neighbours.shape
    data = np.broadcast_to(np.asarray(values, np.float64), neighbours.shape).ravel()
    return sparse.csr_array(
        (data, neighbours.ravel(), np.arange(total + 1) * count), (total, total)
    )


def _encode(
    features: np.ndarray, nearest: np.ndarray, squared: np.ndarray, farthest: np.ndarray, half: int
) -> sparse.csr_array:
    """Expand each image's k-reciprocal neighbours; their weights, exp(-distance), sum to 1 in each row."""
    near, nearer = _members(nearest), _members(nearest[:, :half])
    near, nearer = near.multiply(near.T).tocsr(), nearer.multiply(nearer.T).tocsr()
    # A neighbour brings its own closer ones along if over 2/3 of them are here (the paper: 2/3 or
    # more).
    shared = near.multiply(near @ nearer).tocoo()
    joins = 3 * shared.data > 2 * nearer.sum(axis=1)[shared.col]
    bring = sparse.csr_array(
        (shared.data[joins], (shared.row[joins], shared.col[joins])), shared.shape
    )
    encoding = near + bring @ nearer
    encoding.data[:] = 1.0
    known = _members(nearest, squared + 1.0)  # 1 more, for a 0 is not stored
    known = encoding + encoding.multiply(known.maximum(known.T))
    rows = np.repeat(np.arange(len(features)), np.diff(known.indptr))
    values, unknown = known.data - 2.0, np.flatnonzero(known.data < 2.0)
    values[unknown] = _pairs(features, rows[unknown], known.indices[unknown])
    weights = np.exp(-values / farthest[rows])
    weights /= np.bincount(rows, weights)[rows]
    return sparse.csr_array((weights, known.indices, known.indptr), known.shape)


def _pairs(features: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances of pairs of images, float32 [P]."""
    starts = range(0, len(left), _TILE)
    parts = (features[left[i : i + _TILE]] - features[right[i : i + _TILE]] for i in starts)
    return np.concatenate([np.empty(0, np.float32), *map(squares, parts)])


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
