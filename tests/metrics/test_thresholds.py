"""Oracles: binomial sums written out, scipy's distributions, people whose distances have a formula.

People are points: distances of strangers then follow a chi-squared law, and of a gallery on a line
the share of strangers accepted is the length of the accepted intervals under a bell curve.
"""

import math

import numpy as np
import pytest
from scipy.stats import beta, binom, ncx2, norm

from mgn.metrics import thresholds
from mgn.system.errors import InputError

SPLITS, CONFIDENCE, BOUND = 200, 0.9, 0.1
SPREAD, SIZE = 0.1, 8  # of an identity's images around it, of what identities differ in


def fewest_and_most(rate):
    """Between which numbers of 200 a rate puts all but one in 10,000 cases."""
    return binom.ppf(1e-4, SPLITS, rate), binom.ppf(1 - 1e-4, SPLITS, rate)


# 1. Counts


def plain_chance(mistakes, units, rate):
    """Of at most so many mistakes, term by term."""
    terms = range(mistakes + 1)
    return sum(math.comb(units, k) * rate**k * (1 - rate) ** (units - k) for k in terms)


@pytest.mark.parametrize(
    ("bound", "confidence", "expected"),
    [(0.01, 0.95, 299), (0.05, 0.95, 59), (0.1, 0.9, 22), (0.5, 0.5, 1), (0.5, 0.75, 2)],
)
def test_units_needed(bound, confidence, expected):
    """299 and 59 are the textbook's figures; half and a quarter are reached exactly."""
    assert thresholds.needed_units(bound, confidence) == expected
    assert plain_chance(0, expected, bound) <= 1 - confidence
    assert expected == 1 or plain_chance(0, expected - 1, bound) > 1 - confidence
    assert thresholds.allowed_mistakes(expected, bound, confidence) == 0
    assert thresholds.allowed_mistakes(expected - 1, bound, confidence) == -1


@pytest.mark.parametrize("units", [1, 40, 299, 473, 1000])
def test_mistakes_allowed_are_those_of_a_plain_sum(units):
    for bound, confidence in ((0.01, 0.95), (0.05, 0.8), (0.3, 0.99)):
        got = thresholds.allowed_mistakes(units, bound, confidence)
        assert got < 0 or plain_chance(got, units, bound) <= 1 - confidence
        assert plain_chance(got + 1, units, bound) > 1 - confidence
        if got >= 0:
            limit = thresholds.upper_bound(got, units, confidence)
            assert limit == pytest.approx(beta.ppf(confidence, got + 1, units - got))
            assert limit <= bound < thresholds.upper_bound(got + 1, units, confidence)


def test_a_claim_by_hand():
    """Two mistakes of 100 show 0.07 at 0.95 (Clopper and Pearson's 0.0616); the third is one too
    many."""
    distances = np.append(np.linspace(0.5, 0.61, 3), np.full(97, 1.2))
    made = thresholds.claim(distances[::-1], 0.07, 0.95)
    assert made == (0.6099, 100, 2, pytest.approx(0.0616, abs=1e-4))
    assert thresholds.claim(distances[:20], 0.07, 0.95) is None
    assert thresholds.claim([], 0.07, 0.95) is None
    # With copies among the strangers, nothing is near enough.
    assert thresholds.claim(np.zeros(100), 0.07, 0.95).distance < 0
    # The third and fourth at one distance: neither is accepted.
    tied = np.append([0.5, 0.55, 0.6, 0.6], np.full(96, 1.2))
    assert thresholds.claim(tied, 0.07, 0.95)[:3] == (0.5999, 100, 2)
    with pytest.raises(InputError, match="1 of 100 distances are NaN"):
        thresholds.claim(np.append(distances[1:], np.nan), 0.07, 0.95)


# 2. Units


def test_no_identity_is_in_two_pairs():
    rng = np.random.default_rng(0)
    query_ids = rng.integers(-1, 40, 300)
    gallery_ids = rng.integers(-1, 60, 900)
    rows, columns = thresholds.stranger_pairs(query_ids, gallery_ids)
    used = np.concatenate([query_ids[rows], gallery_ids[columns]])
    assert len(used) == len(set(used.tolist())) and not {0, -1} & set(used.tolist())
    assert 12 <= len(rows) <= 30
    again = thresholds.stranger_pairs(query_ids, gallery_ids)
    np.testing.assert_array_equal(again, [rows, columns])
    assert thresholds.stranger_pairs([1, 1], [1, 0, -1]).shape == (2, 0)
    assert thresholds.stranger_pairs(np.arange(1, 101), np.arange(1, 101)).shape == (2, 50)


def test_pairs_are_drawn_alike_whoever_is_in_both_sets():
    """Identities 1 to 10 are only query, 11 to 20 both, 21 to 30 only gallery; each as often."""
    times = np.zeros((2, 31))
    ids = np.arange(1, 21), np.arange(11, 31)
    for seed in range(2000):
        rows, columns = thresholds.stranger_pairs(*ids, seed=seed)
        np.add.at(times[0], ids[0][rows], 1)
        np.add.at(times[1], ids[1][columns], 1)
    for counts in (times[0, 1:21], times[1, 11:31]):
        assert counts.std() < 1.5 * np.sqrt(counts.mean()) and counts.min() > 0.85 * counts.max()


def test_strangers_are_not_in_the_gallery():
    query_ids, gallery_ids = [5, 5, 6, 7, 8, -1, 0], [5, 6, 7, 8, 9, 9, 0, -1]
    for size, at_least, identities in ((None, 0, 3), (None, 3, 2), (None, 4, 1), (4, 0, 4)):
        for seed in range(20):
            rows, there = thresholds.strangers_to_a_gallery(
                query_ids, gallery_ids, size, at_least, seed
            )
            people = {gallery_ids[i] for i in there}
            assert len(people) == identities and 9 in people  # who can be no stranger comes first
            assert {query_ids[i] for i in rows} == {5, 6, 7, 8} - people
            assert len(rows) == 5 - identities
            assert len(there) == identities + 1  # both images of 9
    rows, there = thresholds.strangers_to_a_gallery(query_ids, gallery_ids, 6, 0)
    assert not len(rows) and not len(there)
    # Without anybody who is only in the gallery it has one identity at least.
    rows, there = thresholds.strangers_to_a_gallery([1, 2, 3], [1, 2, 3], None, 99)
    assert (len(rows), len(there)) == (2, 1)


def test_distances_of_one_person_are_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    query, gallery = rng.normal(size=(9, 5)), rng.normal(size=(30, 5))
    labels = [rng.integers(-1, 5, 9), rng.integers(-1, 5, 30)]
    labels += [rng.integers(1, 4, 9), rng.integers(1, 4, 30)]
    expected = []
    for q in range(9):
        for g in range(30):
            same = labels[0][q] == labels[1][g] > 0
            if same and labels[2][q] != labels[3][g]:
                expected.append((q, g, math.dist(query[q], gallery[g])))
    got = list(zip(*thresholds.match_distances(query, gallery, *labels), strict=True))
    assert len(got) > 10
    np.testing.assert_allclose(sorted(got), sorted(expected), rtol=1e-12)
    nobody = thresholds.match_distances(query, gallery, labels[0] * 0, *labels[1:])
    assert [part.tolist() for part in nobody] == [[], [], []]


# 3. The promise


def people(rng, count, images=2, size=SIZE, offset=0.0):
    """Images of identities under two cameras, one further along by `offset`: features, ids."""
    ids = np.repeat(np.arange(1, count + 1), images)
    who = rng.normal(size=(count, size))[ids - 1]
    query = who + SPREAD * rng.normal(size=who.shape)
    gallery = who + SPREAD * rng.normal(size=who.shape) + offset
    return query, gallery, ids


def accepted_pairs(distance, offset=0.0):
    """The exact share of pairs of strangers up to a distance: a chi-squared law."""
    variance = 2 * (1 + SPREAD**2)
    return ncx2.cdf(distance**2 / variance, SIZE, SIZE * offset**2 / variance + 1e-12)


def accepted_in_gallery(distance, gallery):
    """The exact share of strangers on a line within a distance of any of a gallery."""
    edges = np.sort(gallery[:, 0])
    starts, ends = edges - distance, edges + distance
    starts[1:] = np.maximum(starts[1:], ends[:-1])  # each place once
    scale = np.sqrt(1 + SPREAD**2)
    return np.sum(norm.cdf(ends, scale=scale) - norm.cdf(starts, scale=scale))


@pytest.fixture(scope="module")
def pair_thresholds():
    """Of 200 calibrations with 100 identities: ours, and the quantile of all pairs."""
    made = []
    for split in range(SPLITS):
        query, gallery, ids = people(np.random.default_rng(split), 100)
        rows, columns = thresholds.stranger_pairs(ids, ids, seed=split)
        ours = thresholds.claim(
            thresholds.between(query[rows], gallery[columns]), BOUND, CONFIDENCE
        )
        everybody = np.linalg.norm(query[:, None] - gallery, axis=2)[ids[:, None] != ids]
        made.append((ours.distance, np.quantile(everybody, BOUND)))
    return np.array(made).T


def test_the_promise_holds_as_often_as_promised(pair_thresholds):
    held = np.count_nonzero(accepted_pairs(pair_thresholds[0]) <= BOUND)
    assert held >= fewest_and_most(CONFIDENCE)[0]


def test_a_quantile_of_all_pairs_promises_too_much(pair_thresholds):
    """The control: about half of such thresholds accept more strangers than they were asked for."""
    held = np.count_nonzero(accepted_pairs(pair_thresholds[1]) <= BOUND)
    assert held < fewest_and_most(CONFIDENCE)[0] and 0.3 * SPLITS < held < 0.7 * SPLITS


def test_counting_pairs_that_share_identities_promises_too_much():
    """The control: 16 identities have 240 ordered pairs, but are not 240 strangers."""
    held = 0
    for split in range(SPLITS):
        query, gallery, ids = people(np.random.default_rng(split), 16, images=1)
        everybody = np.linalg.norm(query[:, None] - gallery, axis=2)[ids[:, None] != ids]
        made = thresholds.claim(everybody, BOUND, CONFIDENCE)
        held += accepted_pairs(made.distance) <= BOUND
    assert held < fewest_and_most(CONFIDENCE)[0]


def test_the_promise_breaks_under_other_cameras():
    """The control: calibrated on cameras that are 1 apart, used where they are not."""
    held = 0
    for split in range(SPLITS):
        query, gallery, ids = people(np.random.default_rng(split), 100, offset=1.0)
        rows, columns = thresholds.stranger_pairs(ids, ids)
        distances = thresholds.between(query[rows], gallery[columns])
        distance = thresholds.claim(distances, BOUND, CONFIDENCE).distance
        held += accepted_pairs(distance, offset=0.0) <= BOUND
        assert accepted_pairs(distance, offset=1.0) < 0.3
    assert held < fewest_and_most(CONFIDENCE)[0] / 2


def test_the_promise_of_a_gallery_holds_for_the_strangers_to_come():
    held = 0
    for split in range(SPLITS):
        query, gallery, ids = people(np.random.default_rng(split), 60, size=1)
        # 3 in the gallery, which cover little of the line.
        rows, there = thresholds.strangers_to_a_gallery(ids, ids, 3, 22, seed=split)
        nearest = np.abs(query[rows] - gallery[there, 0]).min(axis=1)
        made = thresholds.claim(nearest, BOUND, CONFIDENCE)
        assert made.units == 57 and len(there) == 6
        held += accepted_in_gallery(made.distance, gallery[there]) <= BOUND
    assert held >= fewest_and_most(CONFIDENCE)[0]
