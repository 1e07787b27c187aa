"""k-reciprocal re-ranking (arXiv:1701.08398) without a matrix of all pairs."""

import itertools

import numpy as np
from numpy.typing import ArrayLike as Array
from scipy import sparse

from mgn.metrics.distances import matrix, mover, squares
from mgn.system.errors import InputError

_TILE = 1024  # images whose distances to all that come after them are held at a time
# A neighbour is one integer: the bits of its distance, which sort as it does, then its index.
_SHIFT, _INDEX = np.uint64(32), np.uint64(0xFFFFFFFF)
_UNKNOWN = np.uint64(0x7F800000FFFFFFFF)  # a neighbour at distance infinity


def rerank(
    query_features: Array,
    gallery_features: Array,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> np.ndarray:
    """Distances after k-reciprocal encoding (arXiv:1701.08398), without a matrix of all pairs.

    Features are float [Q, D] and [G, D], of any scale; the result is float32 [Q, G]. Neighbours are
    mutual among the nearest `k1`; encodings are averaged over the nearest `k2`; `lambda_value`,
    from 0 to 1, is the share of the original distance.

    As in the authors' code, original distances are squared, and each row over queries and gallery
    is divided by its largest. An image is its own nearest neighbour, even among copies; other
    distances that are computed equal rank by index.

    Raises:
        InputError: shapes that do not fit, NaN or infinity, or an option out of range.
    """
    if min(k1, k2) < 1 or not 0 <= lambda_value <= 1:
        ranges = "k1 and k2 must be at least 1, lambda_value from 0 to 1"
        raise InputError(f"k1 {k1}, k2 {k2}, lambda_value {lambda_value}: {ranges}")
    query = matrix("query features", query_features)
    gallery = matrix("gallery features", gallery_features)
    move = mover(query, gallery)
    features = np.concatenate([move(query), move(gallery)])
    neighbours, squared, farthest, distances = _search(features, len(query), max(k1 + 1, k2))
    distances /= farthest[: len(query), None]
    # A list holds the image itself before its k1, or k1 / 2, nearest.
    near = slice(k1 + 1)
    encoding = _encode(features, neighbours[:, near], squared[:, near], farthest, round(k1 / 2) + 1)
    # An encoding is the mean of those of its k2 nearest, itself among them (equation 11).
    encoding = _members(neighbours[:, :k2]) @ encoding / min(k2, len(features))
    return _blend(distances, encoding, lambda_value)


def _search(features: np.ndarray, queries: int, count: int) -> tuple[np.ndarray, ...]:
    """Neighbours int64 [N, count], their squared distances, the largest [N], queries to gallery."""
    total, size = features.shape
    # [x, 1, |x|^2] times [-2y, |y|^2, 1] is the squared distance: one product, no further passes.
    right = np.empty((total, size + 2), np.float32)
    right[:, :size] = features
    right[:, size] = 1.0
    right[:, size + 1] = squares(features)
    nearest = np.full((total, min(count, total)), _UNKNOWN)
    farthest = np.full(total, 0.01, np.float32)  # 1/16 or more, by `mover`, unless all are alike
    kept = np.empty((queries, total - queries), np.float32)
    for start in range(0, total, _TILE):
        stop = start + _TILE
        # Squared distances of these images to themselves and to all that come after them.
        left = right[start:stop] * np.float32(-2.0)
        left[:, size] = right[start:stop, size + 1]
        left[:, size + 1] = 1.0
        tile = left @ right[start:].T
        np.fill_diagonal(tile, -1.0)  # an image is its own nearest, even among copies
        # A pair's distance is computed once and used for both.
        _update(nearest[start:stop], farthest[start:stop], tile, start)
        if stop < total:
            _update(nearest[stop:], farthest[stop:], tile[:, _TILE:].T, start)
        # Queries come first, so that their distances to the gallery are in the upper right.
        if start < queries:
            kept[start:stop] = tile[: queries - start, queries - start :]
    np.maximum(kept, 0.0, out=kept)
    return (nearest & _INDEX).astype(np.int64), _distances_in(nearest), farthest, kept


def _distances_in(nearest: np.ndarray) -> np.ndarray:
    return (nearest >> _SHIFT).astype(np.uint32).view(np.float32)


def _update(nearest: np.ndarray, farthest: np.ndarray, tile: np.ndarray, start: int) -> None:
    """Take distances to images `start` onwards into the nearest and the farthest seen so far."""
    height, width = tile.shape
    count = nearest.shape[1]
    # Nothing beyond the last neighbour so far is needed. At first, when there is none, any `count`
    # distances give a limit, and more give a better one.
    limit = _distances_in(nearest[:, -1])
    if np.isinf(limit[0]) and width >= count:
        limit = np.partition(tile[:, : 16 * count], count - 1, axis=1)[:, count - 1]
    rows, columns = _hits(tile, np.maximum(limit, 0.0))
    # Neighbours as integers: only the image itself is at 0, others are above it, even copies.
    found = tile[rows, columns]
    distances = np.where(found == -1.0, 0.0, np.maximum(found, np.finfo(np.float32).tiny))
    neighbours = distances.astype(np.float32).view(np.uint32).astype(np.uint64) << _SHIFT
    neighbours |= (columns + start).astype(np.uint64)
    # A row of the table: the neighbours so far, then its hits. Sorted, the first `count` stay.
    slots = count + np.arange(len(rows)) - np.searchsorted(rows, rows)
    table = np.full((height, slots.max(initial=count) + 1), _UNKNOWN)
    table[:, :count] = nearest
    table[rows, slots] = neighbours
    nearest[:] = np.sort(table, axis=1)[:, :count]
    np.maximum(farthest, tile.max(axis=1), out=farthest)


def _hits(tile: np.ndarray, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns where a tile is within its row's limit, by rows; quick if transposed too."""
    if tile.flags.c_contiguous:
        return np.divmod(np.flatnonzero(tile <= limit[:, None]), tile.shape[1])
    columns, rows = np.divmod(np.flatnonzero(limit >= tile.T), len(tile))
    order = np.argsort(rows, kind="stable")
    return rows[order], columns[order]


def _members(neighbours: np.ndarray, values: np.ndarray | float = 1.0) -> sparse.csr_array:
    """Neighbour lists [N, k] as a sparse matrix [N, N]: ones, or the values given."""
    total, count = neighbours.shape
    data = np.broadcast_to(np.asarray(values, np.float64), neighbours.shape).ravel()
    ends = np.arange(total + 1) * count
    return sparse.csr_array((data, neighbours.ravel(), ends), (total, total))


def _encode(
    features: np.ndarray, nearest: np.ndarray, squared: np.ndarray, farthest: np.ndarray, half: int
) -> sparse.csr_array:
    """Weights of each image's k-reciprocal neighbours, exp(-distance), that sum to 1 in a row."""
    members = _expand(nearest, half)
    # Most distances are in the list of either image; 1 more, for a 0 is not stored. A member adds
    # 1 again: the sum is 1 where the distance is unknown, else 2 more than the distance.
    known = _members(nearest, squared + 1.0)
    known = members + members.multiply(known.maximum(known.T))
    values = known.data - 2.0
    # The unknown ones are computed.
    rows = np.repeat(np.arange(len(features)), np.diff(known.indptr))
    unknown = np.flatnonzero(known.data < 2.0)
    values[unknown] = _pairs(features, rows[unknown], known.indices[unknown])
    # Equation 7, each row divided by its sum.
    weights = np.exp(-values / farthest[rows])
    weights /= np.bincount(rows, weights)[rows]
    return sparse.csr_array((weights, known.indices, known.indptr), known.shape)


def _expand(nearest: np.ndarray, half: int) -> sparse.csr_array:
    """Expanded k-reciprocal neighbours [N, N] of each image, as ones."""
    # Two images are k-reciprocal neighbours if each is in the other's list (equation 3).
    near = _members(nearest)
    near = near.multiply(near.T).tocsr()
    nearer = _members(nearest[:, :half])
    nearer = nearer.multiply(nearer.T).tocsr()
    # A neighbour brings its own closer ones along (equation 5) if over 2/3 of them are here
    # already, as in the authors' code; the paper has 2/3 or more.
    shared = near.multiply(near @ nearer).tocoo()
    sizes = nearer.sum(axis=1)
    joins = 3 * shared.data > 2 * sizes[shared.col]
    places = shared.row[joins], shared.col[joins]
    brings = sparse.csr_array((shared.data[joins], places), shared.shape)
    members = near + brings @ nearer
    members.data[:] = 1.0
    return members


def _pairs(features: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances of pairs of images, float32 [P]."""
    result = np.empty(len(left), np.float32)
    for i in range(0, len(left), _TILE):
        part = slice(i, i + _TILE)
        result[part] = squares(features[left[part]] - features[right[part]])
    return result


def _blend(distances: np.ndarray, encoding: sparse.csr_array, lambda_value: float) -> np.ndarray:
    """Mix distances [Q, G] (overwritten) with the Jaccard distances of encodings [N, N]."""
    queries, entries = distances.shape
    gallery = encoding[queries:].tocsc()
    distances *= lambda_value
    for row, (start, stop) in zip(distances, itertools.pairwise(encoding.indptr), strict=False):
        # Columns of the gallery's weights, of the images that encode the query, one after another.
        keys = encoding.indices[start:stop]
        starts = gallery.indptr[keys]
        sizes = gallery.indptr[keys + 1] - starts
        spans = np.arange(sizes.sum()) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
        # A query and an entry share the lesser weight. As rows of encodings sum to 1, what the
        # greater weights sum to is 2 less that (equation 10).
        least = np.minimum(gallery.data[spans], np.repeat(encoding.data[start:stop], sizes))
        overlap = np.bincount(gallery.indices[spans], weights=least, minlength=entries)
        row += (1.0 - lambda_value) * (1.0 - overlap / (2.0 - overlap))
    return distances
