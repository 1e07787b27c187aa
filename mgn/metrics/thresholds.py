"""Distance thresholds with a guarantee: at most this share of strangers accepted, this surely.

What is counted must be independent. Pairs of images are not: two that share an identity share its
face and clothes. So each claim counts units that were drawn independently, if the identities were:

- pair ("are these two images the same person?"): pairs of identities of which none is in two
  pairs, and of each identity one image;
- open set ("is this person in the gallery?"): identities that are not in the gallery, and of each
  one image. The gallery is the same for all of them.

Assumed: the labelled identities are a random sample of those to come, seen by the same cameras.
Nothing is assumed of the distances. With units in hand the threshold is an order statistic (Wilks,
Annals of Mathematical Statistics 12, 1941), and its bound the exact binomial one of Clopper and
Pearson (Biometrika 26, 1934): the guarantee of split-conformal prediction conditional on the
calibration (Vovk, ACML 2012, proposition 2a).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike as Array
from scipy.special import bdtr, betaincinv

from mgn.data.names import DISTRACTOR, JUNK
from mgn.system.errors import InputError


class Claim(NamedTuple):
    """Accepting up to `distance` accepts at most `bound` of the strangers, at its confidence."""

    distance: float  # the largest for which that holds; below 0: even copies are too many
    units: int  # strangers that were tried
    accepted: int  # of these, up to `distance`
    bound: float  # upper confidence bound of the share of strangers accepted


def needed_units(bound: float, confidence: float) -> int:
    """The fewest units that allow a claim: with fewer even no mistake at all does not show it.

    `bound` and `confidence` lie between 0 and 1, both excluded.
    """
    units = math.ceil(math.log1p(-confidence) / math.log1p(-bound))
    while units > 1 and bdtr(0, units - 1, bound) <= 1 - confidence:  # the quotient was rounded up
        units -= 1
    while bdtr(0, units, bound) > 1 - confidence:
        units += 1
    return units


def allowed_mistakes(units: int, bound: float, confidence: float) -> int:
    """The most mistakes among `units` that still show the bound; -1: none does."""
    if not units:
        return -1
    chances = bdtr(np.arange(units + 1), units, bound)  # of so few mistakes, were the rate `bound`
    return int(np.searchsorted(chances, 1 - confidence, side="right")) - 1


def upper_bound(mistakes: int, units: int, confidence: float) -> float:
    """Clopper and Pearson's one-sided upper bound of a rate: `mistakes` of `units` were seen."""
    if mistakes >= units:
        return 1.0
    return float(betaincinv(mistakes + 1, units - mistakes, confidence))


def claim(distances: Array, bound: float, confidence: float) -> Claim | None:
    """The largest threshold that keeps the bound with this confidence; None: too few units.

    Args:
        distances: float [units], one an independent stranger.
        bound: most of the strangers that may be accepted, as a share of them.
        confidence: the share of calibrations in which the claim is true, at least.

    Raises:
        InputError: a distance is NaN.
    """
    ordered = np.sort(np.asarray(distances, np.float64))
    if np.isnan(ordered).any():
        raise InputError(f"{np.isnan(ordered).sum()} of {len(ordered)} distances are NaN")
    mistakes = allowed_mistakes(len(ordered), bound, confidence)
    if mistakes < 0:
        return None
    # Just below the first mistake too many, and so a little below what the order statistic allows:
    # on the grid of 1e-4 that is printed, and out of reach of float32's rounding.
    distance = math.floor((ordered[mistakes] - 1e-5) * 1e4) / 1e4
    accepted = int(np.searchsorted(ordered, distance, side="right"))
    return Claim(distance, len(ordered), accepted, upper_bound(mistakes, len(ordered), confidence))


def stranger_pairs(query_ids: Array, gallery_ids: Array, seed: int = 0) -> np.ndarray:
    """Draw pairs of a query and a gallery image of two identities; no identity is in two pairs.

    Half of the identities, drawn at random, can only be query, the others only gallery: so which
    identities are paired does not depend on which are in both, and each pair is an identity of the
    query and one of the gallery drawn independently. Junk and distractors are left out: who is on
    them is not known.

    Args:
        query_ids: integer [Q].
        gallery_ids: integer [G].
        seed: of the draw, which no distance has a part in.

    Returns:
        int64 [2, pairs]: rows of the query, rows of the gallery.
    """
    rng = np.random.default_rng(seed)
    query_ids, gallery_ids = np.asarray(query_ids), np.asarray(gallery_ids)
    everyone = rng.permutation(_known(np.concatenate([query_ids, gallery_ids])))
    asked, others = np.split(everyone, [(len(everyone) + 1) // 2])
    rows = _one_image_each(query_ids, asked, rng)
    columns = _one_image_each(gallery_ids, others, rng)
    pairs = min(len(rows), len(columns))
    return np.stack([rows[:pairs], columns[:pairs]])


def strangers_to_a_gallery(
    query_ids: Array, gallery_ids: Array, size: int | None, at_least: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the identities of a gallery, and one query image of each other identity.

    Args:
        query_ids: integer [Q].
        gallery_ids: integer [G].
        size: identities in the gallery; None: all without a query image, and of the others half,
            or as few as it takes to leave `at_least` strangers.
        at_least: units that a claim needs.
        seed: of the draw, which no distance has a part in.

    Returns:
        int64 [strangers] rows of the query, and int64 [images] rows of the gallery: all images of
        its identities. Junk and distractors are in neither. Both are empty if there are not `size`.
    """
    rng = np.random.default_rng(seed)
    query_ids, gallery_ids = np.asarray(query_ids), np.asarray(gallery_ids)
    asked, there = _known(query_ids), _known(gallery_ids)
    alone = rng.permutation(np.setdiff1d(there, asked))
    both = rng.permutation(np.intersect1d(there, asked))
    if size is None:
        fewest = 0 if len(alone) else 1
        half = min(len(asked) // 2, len(asked) - at_least)
        size = len(alone) + min(max(half, fewest), len(both))
    order = np.concatenate([alone, both])  # those who cannot be strangers first
    if size > len(order):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows = _one_image_each(query_ids, rng.permutation(np.setdiff1d(asked, order[:size])), rng)
    return rows, np.flatnonzero(np.isin(gallery_ids, order[:size]))


def match_distances(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances of all pairs of one identity by two cameras, in the order of the query.

    Features are float [Q, D] and [G, D], ids and cameras integer. Returns int64 [M] rows of the
    query, int64 [M] rows of the gallery and float64 [M] distances.
    """
    order = np.argsort(gallery_ids, kind="stable")
    starts = np.searchsorted(gallery_ids[order], query_ids, side="left")
    ends = np.searchsorted(gallery_ids[order], query_ids, side="right")
    rows, columns, distances = [], [], []
    for row in np.flatnonzero(~np.isin(query_ids, (JUNK, DISTRACTOR))):
        own = order[starts[row] : ends[row]]
        own = own[gallery_cameras[own] != query_cameras[row]]
        rows.append(np.full(len(own), row))
        columns.append(own)
        distances.append(between(query[row], gallery[own]))
    joined = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (rows, columns))
    return *joined, np.concatenate([np.zeros(0), *distances])


def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance of rows, float64 [N], of float [N, D] each (or one row [D] against all)."""
    return np.linalg.norm(np.asarray(one, np.float64) - other, axis=-1)


def _known(ids: np.ndarray) -> np.ndarray:
    return np.setdiff1d(ids, (JUNK, DISTRACTOR))


def _one_image_each(ids: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A row of each identity of `wanted` that has one, in the order of `wanted`."""
    shuffled = rng.permutation(len(ids))
    found, first = np.unique(ids[shuffled], return_index=True)
    row_of = dict(zip(found.tolist(), shuffled[first].tolist(), strict=True))
    return np.array([row_of[who] for who in wanted.tolist() if who in row_of], np.int64)
