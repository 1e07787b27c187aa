"""The same person or not? Error rates of distance thresholds, and which one to deploy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike as Array

from mgn.data.names import JUNK
from mgn.metrics.distances import check_columns, labels, squares
from mgn.system.errors import InputError

_FARTHEST = 2.0  # between vectors of length 1
_BINS = 20_000  # 1e-4 wide each
_ROWS, _COLUMNS = 1024, 4096  # of a block of pairs: 16 MB of distances, 32 MB of bin numbers
_RATES = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}  # false positive rates that are looked at
_SUGGESTED = 1e-3  # of them, the suggested threshold's


@dataclass(frozen=True, eq=False)
class Verification:
    """Error rates, from 0 to 1, of the rule "the same person if nearer than the threshold".

    Thresholds are edges of the histograms, and a rate is the count of the bins below: distance d is
    in bin `int(d / width)`, and the last bin holds 2 as well. So each figure is exact up to a bin's
    width, 1e-4. Below 0.005, between copies of an image, float32 blurs it by up to about ten bins.
    """

    same_pairs: int  # of one identity, by two cameras
    different_pairs: int
    threshold: float  # suggested: the largest with a false positive rate of at most 1e-3
    false_positive_rate: float  # at `threshold`: share of different pairs below it
    false_negative_rate: float  # at `threshold`: share of same pairs not below it
    eer: float  # equal error rate: mean of the two where they differ least
    eer_threshold: float  # there, in the middle where a range of thresholds does equally well
    true_positive_rates: dict[float, float]  # by the false positive rate that a threshold keeps
    edges: np.ndarray  # float64 [bins + 1], distances from 0 to 2
    same: np.ndarray  # int64 [bins], same pairs in each bin
    different: np.ndarray  # int64 [bins], likewise

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rate at every edge, float64 [bins + 1] each, from 0 to 1."""
        different = np.append(0, np.cumsum(self.different))
        same = np.append(0, np.cumsum(self.same))
        return different / different[-1], same / same[-1]

    def summary(self) -> dict[str, float | int]:
        """Return the headline figures, ready for JSON."""
        figures = {k: value for k, value in vars(self).items() if isinstance(value, int | float)}
        rates = {f"tpr@fpr={text}": self.true_positive_rates[rate] for text, rate in _RATES.items()}
        return figures | rates


def verify(
    query_features: Array,
    gallery_features: Array,
    query_ids: Array,
    gallery_ids: Array,
    query_cameras: Array,
    gallery_cameras: Array,
) -> Verification:
    """Count the distances of all pairs of a query and a gallery image, and rate thresholds.

    Features are float [Q, D] and [G, D], rows of length 1; ids (identity numbers) and cameras are
    integer [Q] and [G]. Left out are junk (identity -1), and pairs of one identity by one camera.
    Distractors (identity 0) are different from all queries. A false positive rate finer than one
    pair (1e-4 with fewer than 10,000 different pairs) allows none.

    Raises:
        InputError: shapes that do not fit, rows not of length 1, no same or no different pairs.
    """
    query = _unit("query features", query_features)
    gallery = _unit("gallery features", gallery_features)
    check_columns(query, gallery)
    given = query_ids, gallery_ids, query_cameras, gallery_cameras
    same, different = _count(query, gallery, *labels(len(query), len(gallery), *given))
    if not same.any():
        problem = "no person is in query and gallery by different cameras"
        raise InputError(f"{problem}: no same pairs to verify")
    if not different.any():
        raise InputError("query and gallery show one person only: no different pairs to verify")
    return _rate(same, different)


def _unit(name: str, features: Array) -> np.ndarray:
    """Features as float32 with rows of length 1, or `InputError`."""
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or not features.size:
        raise InputError(f"{name}: shape {features.shape}; must be [rows, columns], not empty")
    lengths = np.sqrt(squares(features))
    bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= 1e-3))  # float16 passes, NaN does not
    if len(bad):
        problem = f"{len(bad)} rows not of length 1, first {bad[:5].tolist()}"
        raise InputError(f"{name}: the embedding must be normalised; {problem}")
    return features


def _count(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras) -> np.ndarray:
    """Histograms of same and of different pairs, int64 [2, bins]."""
    # Junk queries are left out.
    known = query_ids != JUNK
    query = query[known]
    query_ids = query_ids[known]
    query_cameras = query_cameras[known]
    # In order of ids, and without junk, the gallery images of one identity are one span.
    order = np.argsort(gallery_ids, kind="stable")
    order = order[gallery_ids[order] != JUNK]
    first = np.searchsorted(gallery_ids[order], query_ids, side="left")
    last = np.searchsorted(gallery_ids[order], query_ids, side="right")
    everybody, identity, same = np.zeros((3, _BINS), np.int64)
    # Block by block; the spans are cut to the columns of a block.
    for left in range(0, len(order), _COLUMNS):
        columns = order[left : left + _COLUMNS]
        entries = gallery[columns]
        cameras = gallery_cameras[columns]
        starts = np.clip(first - left, 0, len(columns))
        sizes = np.clip(last - left, 0, len(columns)) - starts
        for top in range(0, len(query), _ROWS):
            rows = slice(top, top + _ROWS)
            bins = _bins(query[rows], entries)
            # Row and column of the pairs of one identity: each row's span, one after another.
            row = np.repeat(np.arange(len(bins)), sizes[rows])
            offsets = starts[rows] - np.cumsum(sizes[rows]) + sizes[rows]
            column = np.arange(len(row)) + offsets[row]
            found = bins[row, column]
            # A tracker's next image, by the same camera, is a near duplicate and would flatter.
            crossing = cameras[column] != query_cameras[rows][row]
            everybody += np.bincount(bins.ravel(), minlength=_BINS)
            identity += np.bincount(found, minlength=_BINS)
            same += np.bincount(found[crossing], minlength=_BINS)
    return np.stack([same, everybody - identity])


def _bins(query: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Bin of each pair's distance, intp [rows, columns]."""
    distances = -2.0 * query @ entries.T
    distances += squares(query)[:, None]  # and not 1: a threshold is for vectors as given
    distances += squares(entries)
    np.sqrt(np.maximum(distances, 0.0, out=distances), out=distances)
    distances *= _BINS / _FARTHEST
    bins = distances.astype(np.intp)  # as bincount wants them, else it makes a copy
    return np.minimum(bins, _BINS - 1, out=bins)


def _rate(same: np.ndarray, different: np.ndarray) -> Verification:
    """Rates at every edge, and what follows from them."""
    edges = np.arange(len(same) + 1) / (len(same) / _FARTHEST)
    # Pairs of either kind below each edge.
    accepted = np.append(0, np.cumsum(same))
    mistaken = np.append(0, np.cumsum(different))
    same_pairs, different_pairs = int(accepted[-1]), int(mistaken[-1])
    false_positives = mistaken / different_pairs
    false_negatives = (same_pairs - accepted) / same_pairs
    # The last edge that keeps each rate; there is one, as nothing is below edge 0.
    last = {}
    for rate in _RATES.values():
        last[rate] = np.searchsorted(false_positives, rate, side="right") - 1
    chosen = last[_SUGGESTED]
    # Equal errors: the middle of the edges where the two rates differ least.
    gaps = np.abs(false_positives - false_negatives)
    least = np.flatnonzero(gaps == gaps.min())
    equal = least[len(least) // 2]
    return Verification(
        same_pairs=same_pairs,
        different_pairs=different_pairs,
        threshold=float(edges[chosen]),
        false_positive_rate=float(false_positives[chosen]),
        false_negative_rate=float(false_negatives[chosen]),
        eer=float((false_positives[equal] + false_negatives[equal]) / 2),
        eer_threshold=float(edges[equal]),
        true_positive_rates={rate: float(accepted[i] / same_pairs) for rate, i in last.items()},
        edges=edges,
        same=same,
        different=different,
    )
