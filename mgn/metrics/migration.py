"""Features of one model in the space of another: a map fitted to images that both embedded.

Both kinds of map move the mean of the old features to that of the new ones, and scale the result
to length 1. What they do in between:

- orthogonal: a rotation, which keeps all distances. It is the one with the largest sum of dot
  products (Schönemann, Psychometrika 31, 1966), along the directions that the images show. Where
  the sizes differ, so that no rotation exists, rows or columns are orthonormal.
- linear: least squares with a ridge (Hoerl and Kennard, Technometrics 12, 1970).

People are held back as a whole, for two images of a person resemble each other: some to choose the
kind and the ridge, others to measure the loss. Junk and distractors are left out: who is on them is
not known.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from mgn.data.names import DISTRACTOR, JUNK
from mgn.metrics.distances import ROWS
from mgn.metrics.ranking import evaluate
from mgn.metrics.smaller import principal_axes, unit
from mgn.metrics.thresholds import between, match_distances
from mgn.system.errors import InputError

MIN_PEOPLE = 20  # with fewer, the loss would be measured on a handful
ORTHOGONAL, LINEAR = "orthogonal", "linear"
_RIDGES = 10.0 ** np.arange(2, -7, -1)  # of the mean variance along a direction, strongest first
_PARTS = 3  # of the people: one is held back to measure; of the others, each in turn to choose
_BY_CHANCE = 0.99  # of the best mAP: what is above may be as good
_STRANGERS = 10_000  # pairs drawn


class Pairs(NamedTuple):
    """Images that both models embedded, row by row."""

    old: np.ndarray  # float32 [N, D], of length 1
    new: np.ndarray  # float32 [N, E], likewise
    ids: np.ndarray  # int64 [N]
    cameras: np.ndarray  # int64 [N]
    asked: np.ndarray  # bool [N]: of the query, not of the gallery

    def only(self, kept: np.ndarray) -> "Pairs":
        """The rows where `kept`, bool [N]."""
        return Pairs(*(values[kept] for values in self))


class Map(NamedTuple):
    """From old features, float [N, D], to the new model's space, float32 [N, E] of length 1."""

    method: str
    ridge: float | None  # None: orthogonal
    centre: np.ndarray  # float32 [D]
    matrix: np.ndarray  # float32 [D, E]
    target: np.ndarray  # float32 [E]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Map rows, some at a time: a gallery may be large."""
        mapped = np.empty((len(features), len(self.target)), np.float32)
        for start in range(0, len(features), ROWS):
            block = slice(start, start + ROWS)
            mapped[block] = unit((features[block] - self.centre) @ self.matrix + self.target)
        return mapped


class Scored(NamedTuple):
    """Queries in a gallery of other images of the same people."""

    mAP: float
    rank1: float
    same: float  # distance to an image of the same person by another camera, median
    strangers: float  # distance to an image of another person, median


class Measured(NamedTuple):
    """What a map costs, on people that had no part in it."""

    images: int
    people: int
    old: Scored  # old features in old ones
    new: Scored  # new features in new ones
    mapped: Scored  # new features in mapped ones
    apart: float  # distance of an image's mapped feature from its new one, median

    @property
    def loss(self) -> float:
        """The share of the new model's mAP that is lost where the gallery is mapped."""
        return 1 - self.mapped.mAP / self.new.mAP


class Fitted(NamedTuple):
    """A map of all people, and its loss as measured with some of them held back."""

    map: Map
    measured: Measured
    images: int
    people: int


def fit(pairs: Pairs) -> Fitted:
    """Fit the better of both kinds of map, and measure it.

    Raises:
        InputError: too few people, or too few of them under two cameras.
    """
    pairs = pairs.only(~np.isin(pairs.ids, (JUNK, DISTRACTOR)))
    part, people = _parts(pairs.ids)
    if people < MIN_PEOPLE:
        images = f"{people} people on the {len(pairs.ids)} images that both models embedded"
        raise InputError(f"{images}; a map takes {MIN_PEOPLE} or more; embed more people with both")
    held, others = pairs.only(part == 0), pairs.only(part != 0)
    chosen = choose(others)
    try:
        measured = measure(make(others, *chosen), held)
    except InputError as error:
        problem = f"of the people held back to measure, {error}"
        raise InputError(f"{problem}; embed more people with both models") from None
    return Fitted(make(pairs, *chosen), measured, len(pairs.ids), people)


def choose(pairs: Pairs) -> tuple[str, float | None]:
    """The better kind of map, and its ridge, on people held back, each third of them once.

    Of those whose mAP is the highest, or less by chance, that whose mapped features are nearest to
    the new ones.
    """
    part, _ = _parts(pairs.ids)
    found = {}
    for held in range(_PARTS):
        images = pairs.only(part == held)
        for made in _maps(pairs.only(part != held)):
            mapped = made(images.old)
            try:
                precision = _score(images.new, mapped, images).mAP
            except InputError:  # none of these people has a match: nothing to choose by
                break
            score = found.setdefault((made.method, made.ridge), np.zeros(2))
            score += precision, between(mapped, images.new).mean()
    if not found:
        problem = "too few of the people that both models embedded are under two cameras"
        raise InputError(f"{problem}; embed more people with both models")
    enough = _BY_CHANCE * max(precision for precision, _ in found.values())
    good = [way for way, (precision, _) in found.items() if precision >= enough]
    return min(good, key=lambda way: found[way][1])


def make(pairs: Pairs, method: str, ridge: float | None) -> Map:
    """The map of one kind, fitted to these images."""
    if method == ORTHOGONAL:
        return orthogonal(pairs.old, pairs.new)
    return next(linear(pairs.old, pairs.new, [ridge]))


def _maps(pairs: Pairs) -> Iterator[Map]:
    yield orthogonal(pairs.old, pairs.new)
    yield from linear(pairs.old, pairs.new, _RIDGES)


def orthogonal(old: np.ndarray, new: np.ndarray) -> Map:
    """The rotation from old [N, D] to new [N, E], about their means.

    Directions that these images do not show, of which there are some if N <= D, are left out.
    """
    centre, target, axes, _, along = _axes(old, new)
    left, values, right = scipy.linalg.svd(along, full_matrices=False)
    kept = values > max(along.shape) * np.finfo(np.float64).eps * values.max(initial=0)
    return _map(ORTHOGONAL, None, centre, axes.T @ (left[:, kept] @ right[kept]), target)


def linear(old: np.ndarray, new: np.ndarray, ridges: Sequence[float]) -> Iterator[Map]:
    """The linear map of each ridge, in units of the mean variance of old [N, D] along a direction.

    See `orthogonal` for the arguments.
    """
    centre, target, axes, squares, along = _axes(old, new)
    mean = squares.sum() / len(centre)
    for ridge in ridges:
        matrix = axes.T @ (along / (squares + ridge * mean)[:, None])
        yield _map(LINEAR, float(ridge), centre, matrix, target)


def measure(made: Map, held: Pairs) -> Measured:
    """The loss of a map on images of people that had no part in it.

    Raises:
        InputError: no query has a match by another camera.
    """
    mapped = made(held.old)
    counts = len(held.ids), len(np.unique(held.ids))
    scores = (_score(a, b, held) for a, b in ((held.old, held.old), (held.new, held.new)))
    apart = float(np.median(between(mapped, held.new)))
    return Measured(*counts, *scores, _score(held.new, mapped, held), apart)


def _score(query: np.ndarray, gallery: np.ndarray, held: Pairs) -> Scored:
    there = ~held.asked
    query, gallery = query[held.asked], gallery[there]
    ids = held.ids[held.asked], held.ids[there]
    cameras = held.cameras[held.asked], held.cameras[there]
    result = evaluate(query, gallery, *ids, *cameras)
    same = match_distances(query, gallery, *ids, *cameras)[2]
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(query), _STRANGERS)
    columns = rng.integers(0, len(gallery), _STRANGERS)
    other = ids[0][rows] != ids[1][columns]
    strangers = between(query[rows[other]], gallery[columns[other]])
    medians = (float(np.median(values)) for values in (same, strangers))
    return Scored(float(result.mAP), float(result.cmc[0]), *medians)


def _parts(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """A part of the people for each image, int64 [N]; drawn. And how many people there are."""
    people, who = np.unique(ids, return_inverse=True)
    return np.random.default_rng(0).permutation(len(people))[who] % _PARTS, len(people)


def _axes(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means of both, axes [K, D] of the old, sums of squares along them, and products with new."""
    centre, axes, spread = principal_axes(old)  # K is below N too, which is quicker
    target = new.mean(axis=0, dtype=np.float64)
    product = np.zeros((len(axes), new.shape[1]))
    for start in range(0, len(old), ROWS):  # no copy of either
        block = slice(start, start + ROWS)
        product += ((old[block] - centre) @ axes.T).T @ (new[block] - target)
    return centre, target, axes, len(old) * spread**2, product


def _map(method: str, ridge: float | None, *arrays: np.ndarray) -> Map:
    return Map(method, ridge, *(values.astype(np.float32) for values in arrays))
