"""The same person or not? Error rates of a distance threshold between embeddings, and which one to deploy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike as Array

from mgn.data.records import JUNK
from mgn.metrics.distances import check_columns, labels, squares
from mgn.system.errors import InputError

_FARTHEST = 2.0  # between vectors of length 1
_BINS = 20_000  # 1e-4 wide each
_ROWS, _COLUMNS = 1024, 4096  # a block of pairs: 16 MB of distances, 32 MB of bin numbers
_RATES = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}  # false positive rates that are looked at
_SUGGESTED = 1e-3  # of them, the suggested threshold's


@dataclass(frozen=True, eq=False)
class Verification:
    """Error rates, from 0 to 1, of the rule "the same person if the distance is below the threshold".

    Thresholds are edges of the histograms, and a rate is the count of the bins below: distance d is
    in bin `int(d / width)`, and the last bin holds 2 as well. So each figure is exact up to a bin's
    width, 1e-4, in distance. Below 0.005, between copies of an image, float32 blurs distances by
    up to about ten bins.
    """

    same_pairs: int  # of one person, by two cameras
    different_pairs: int
    threshold: float  # suggested: the largest with a false positive rate of at most 1e-3
    false_positive_rate: float  # at `threshold`: share of different pairs below it
    false_negative_rate: float  # at `threshold`: share of same pairs not below it
    eer: float  # equal error rate: mean of the two where they differ least
    eer_threshold: float  # there, in the middle where a range of thresholds does equally well
    true_positive_rates: dict[
        float, float
    ]  # by false positive rate, at the largest threshold that keeps it
    edges: np.ndarray  # float64 [bins + 1], distances from 0 to 2
    same: np.ndarray  # int64 [bins], same pairs in each bin
    different: np.ndarray  # int64 [bins], likewise

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rate at every edge, float64 [bins + 1] each, rising from 0 to 1."""
        different, same = (
            np.append(0, np.cumsum(counts)) for counts in (self.different, self.same)
        )
        return different / different[-1], same / same[-1]

    def summary(self) -> dict[str, float | int]:
        """Return the headline figures, ready for JSON."""
        scalars = {
            name: value for name, value in vars(self).items() if isinstance(value, int | float)
        }
        rates = {f"tpr@fpr={text}": self.true_positive_rates[rate] for text, rate in _RATES.items()}
        return scalars | rates


def verify(
    query_features: Array,
    gallery_features: Array,
    query_ids: Array,
    gallery_ids: Array,
    query_cameras: Array,
    gallery_cameras: Array,
) -> Verification:
    """Count the Euclidean distances of all pairs of a query and a gallery image, and rate thresholds.

    Features are float [Q, D] and [G, D], rows of length 1; ids (identity numbers) and cameras are
    integer [Q] and [G]. Left out are junk (person -1), and pairs of one person by one camera.
    Distractors (person 0) are different from everybody without a rule of their own, since no query
    has that number. A false positive rate that is finer than one pair (1e-4 with fewer than 10,000
    different pairs) allows none.

    Raises:
        InputError: shapes that do not fit, rows that are not of length 1, no same or no different
            pairs.
    """
    query, gallery = _unit("query", query_features), _unit("gallery", gallery_features)
    check_columns(query, gallery)
    given = query_ids, gallery_ids, query_cameras, gallery_cameras
    same, different = _count(query, gallery, *labels(len(query), len(gallery), *given))
    if not same.any():
        raise InputError(
            "no person is in query and gallery by different cameras: no same pairs to verify"
        )
    if not different.any():
        raise InputError("query and gallery show one person only: no different pairs to verify")
    return _rate(same, different)


def _unit(name: str, features: Array) -> np.ndarray:
    """Features as float32 with rows of length 1, or `InputError`."""
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or not features.size:
        raise InputError(
            f"{name} features: shape {features.shape}; a matrix with rows and columns is needed"
        )
    lengths = np.sqrt(squares(features))
    bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= 1e-3))  # float16 passes, NaN does not
    if len(bad):
        problem = f"{len(bad)} rows not of length 1, first {bad[:5].tolist()}"
        raise InputError(f"{name} features: the embedding must be normalised; {problem}")
    return features


def _count(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras) -> np.ndarray:
    """Histograms of same and of different pairs, int64 [2, bins]."""
    known = query_ids != JUNK
    query, query_ids, query_cameras = (
        values[known] for values in (query, query_ids, query_cameras)
    )
    order = np.argsort(
        gallery_ids, kind="stable"
    )  # by identities: a query's person is one span of columns
    order = order[gallery_ids[order] != JUNK]
    bounds = [np.searchsorted(gallery_ids[order], query_ids, side) for side in ("left", "right")]
    everybody, person, same = np.zeros((3, _BINS), np.int64)
    for left in range(0, len(order), _COLUMNS):
        columns = order[left : left + _COLUMNS]
        entries, cameras = gallery[columns], gallery_cameras[columns]
        starts, stops = (np.clip(bound - left, 0, len(columns)) for bound in bounds)
        for top in range(0, len(query), _ROWS):
            bins, rows = _bins(query[top : top + _ROWS], entries), slice(top, top + _ROWS)
            sizes = stops[rows] - starts[rows]
            row = np.repeat(np.arange(len(bins)), sizes)
            column = np.arange(len(row)) + np.repeat(starts[rows] - np.cumsum(sizes) + sizes, sizes)
            found = bins[row, column]
            everybody += np.bincount(bins.ravel(), minlength=_BINS)
            person += np.bincount(found, minlength=_BINS)
            # By one camera, a tracker's next image is a near duplicate, and would flatter the
            # result.
            same += np.bincount(found[cameras[column] != query_cameras[top + row]], minlength=_BINS)
    return np.stack([same, everybody - person])


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
    accepted, mistaken = (np.append(0, np.cumsum(counts)) for counts in (same, different))
    false_positives, false_negatives = (
        mistaken / mistaken[-1],
        (accepted[-1] - accepted) / accepted[-1],
    )
    # The last edge that keeps the rate. There is one: nothing is below edge 0.
    last = {
        rate: np.searchsorted(false_positives, rate, side="right") - 1 for rate in _RATES.values()
    }
    gaps = np.abs(false_positives - false_negatives)
    least = np.flatnonzero(gaps == gaps.min())
    chosen, equal = last[_SUGGESTED], least[len(least) // 2]
    suggested = edges[chosen], false_positives[chosen], false_negatives[chosen]
    figures = *suggested, (false_positives[equal] + false_negatives[equal]) / 2, edges[equal]
    rates = {rate: float(accepted[edge] / accepted[-1]) for rate, edge in last.items()}
    pairs = int(accepted[-1]), int(mistaken[-1])
    return Verification(*pairs, *map(float, figures), rates, edges, same, different)
