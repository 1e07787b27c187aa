"""CMC of galleries that hold one image of each identity, drawn at random again and again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike as Array

from mgn.data.names import DISTRACTOR, JUNK
from mgn.metrics.distances import check_columns, labels, matrix, squares
from mgn.system.errors import InputError

MAX_RANK = 50  # length of the curve


@dataclass(frozen=True, eq=False)
class Draws:
    """Means over the draws, from 0 to 1."""

    draws: int
    identities: int  # in the gallery of each draw
    mAP: float  # mean of 1 / rank: there is one match
    cmc: np.ndarray  # float64 [50], as in `ranking.Result`
    spread: float  # standard deviation of rank@1 from draw to draw

    def summary(self) -> dict[str, float | int]:
        """Return the headline figures, ready for JSON."""
        ranks = {f"rank@{k}": float(self.cmc[k - 1]) for k in (1, 3, 5, 10, 20)}
        counts = {"draws": self.draws, "identities": self.identities}
        return counts | {"mAP": self.mAP} | ranks | {"rank@1_std": self.spread}


def single_gallery_shot(
    query_features: Array,
    gallery_features: Array,
    query_ids: Array,
    gallery_ids: Array,
    query_cameras: Array,
    gallery_cameras: Array,
    identities: int = 100,
    draws: int = 100,
    seed: int = 0,
) -> Draws:
    """Score by CUHK03's classic protocol, as torchreid's and fast-reid's `eval_cuhk03` do.

    In each draw `identities` identities are drawn (all, where there are fewer), and of each one
    gallery image; of the query's own identity one by another camera, for each query anew. Junk and
    distractors are not drawn. Arguments are those of `ranking.evaluate`.

    Raises:
        InputError: as `ranking.evaluate`.
    """
    query = matrix("query features", query_features).astype(np.float64)
    gallery = matrix("gallery features", gallery_features).astype(np.float64)
    check_columns(query, gallery)
    given = query_ids, gallery_ids, query_cameras, gallery_cameras
    given = labels(len(query), len(gallery), *given)
    query_ids, gallery_ids, query_cameras, gallery_cameras = given
    matches, entries = {}, {}  # gallery indices: of each query's matches, of each identity
    for i, (who, camera) in enumerate(zip(query_ids, query_cameras, strict=True)):
        if who not in (JUNK, DISTRACTOR):
            found = np.flatnonzero((gallery_ids == who) & (gallery_cameras != camera))
            if len(found):
                matches[i] = found
                entries[who] = np.flatnonzero(gallery_ids == who)
    if not matches:
        raise InputError("no query person is in the gallery under another camera")
    rng = np.random.default_rng(seed)
    everyone = np.array(sorted(entries))
    number = min(identities, len(everyone))
    ranks = []
    for _ in range(draws):
        drawn = np.sort(rng.choice(everyone, number, replace=False))
        picks = np.array([rng.choice(entries[who]) for who in drawn])
        asked = np.array([i for i in matches if query_ids[i] in drawn])
        own = np.array([rng.choice(matches[i]) for i in asked])
        others = query_ids[asked][:, None] != drawn
        ranks.append(_ranks(query[asked], gallery[own], gallery[picks], others))
    return _mean(ranks, number)


def random_gallery(features: Array, ids: Array, draws: int = 10, seed: int = 0) -> Draws:
    """Score by VehicleID's protocol: one image of each identity is the gallery, all others query.

    Features are float [N, D], identities integer [N]; cameras play no part.

    Raises:
        InputError: no identity has two images.
    """
    features = matrix("features", features).astype(np.float64)
    ids = np.asarray(ids)
    everyone, numbers = np.unique(ids, return_inverse=True)
    if len(everyone) == len(ids):
        raise InputError("no identity has two images: nothing to evaluate")
    rng = np.random.default_rng(seed)
    ranks = []
    for _ in range(draws):
        order = rng.permutation(len(ids))
        _, first = np.unique(numbers[order], return_index=True)
        picks = order[first]  # of each identity the first in a random order
        asked = np.setdiff1d(order, picks)
        others = numbers[asked][:, None] != np.arange(len(everyone))
        own = picks[numbers[asked]]
        ranks.append(_ranks(features[asked], features[own], features[picks], others))
    return _mean(ranks, len(everyone))


def _ranks(
    query: np.ndarray, own: np.ndarray, entries: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Rank, from 0, of each query's match `own` [Q, D] among the `entries` [G, D] of `others`."""
    to_own = squares(query - own)
    to_entries = squares(query)[:, None] + squares(entries) - 2.0 * query @ entries.T
    return np.count_nonzero((to_entries < to_own[:, None]) & others, axis=1)


def _mean(ranks: list[np.ndarray], identities: int) -> Draws:
    curves, precisions = [], []
    for found in ranks:
        counts = np.bincount(found[found < MAX_RANK], minlength=MAX_RANK)
        curves.append(np.cumsum(counts) / len(found))
        precisions.append(np.mean(1.0 / (found + 1)))
    first = [curve[0] for curve in curves]
    mean = float(np.mean(precisions))
    return Draws(len(ranks), identities, mean, np.mean(curves, axis=0), float(np.std(first)))
