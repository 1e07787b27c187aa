"""Oracles: plain loops in float64, exact figures from sorted distances, a circle by hand."""

import json

import cv2
import numpy as np
import pytest

from mgn.evaluation import plots
from mgn.metrics import verification
from mgn.system.errors import InputError

WIDTH = 1e-4  # of a bin
ROUNDING = 2e-6  # what float32 may do to a distance above 0.1


# 1. Plain loops


def plain_distances(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras):
    """Distances of same and of different pairs by the rules, float64, sorted."""
    same, different = [], []
    for q in range(len(query)):
        for g in range(len(gallery)):
            pairs = zip(query[q], gallery[g], strict=True)
            distance = np.sqrt(sum((float(a) - float(b)) ** 2 for a, b in pairs))
            if query_ids[q] == -1 or gallery_ids[g] == -1:
                continue
            if query_ids[q] != gallery_ids[g]:
                different.append(distance)
            elif query_cameras[q] != gallery_cameras[g]:
                same.append(distance)
    return np.sort(same), np.sort(different)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_case(seed, queries=17, entries=45, noise=0.6):
    """Three cameras; identities missing or of one camera only, junk on both sides, distractors."""
    rng = np.random.default_rng(seed)
    query_ids = rng.integers(1, 9, queries)
    gallery_ids = rng.integers(-1, 8, entries)
    query_ids[:2] = -1, 3  # each kind for certain
    gallery_ids[:4] = -1, 0, 3, 5
    query_cameras = rng.integers(1, 4, queries)
    gallery_cameras = rng.integers(1, 4, entries)
    query_cameras[1], gallery_cameras[2] = 1, 2
    query_cameras[query_ids == 6] = gallery_cameras[gallery_ids == 6] = 3
    identities = rng.standard_normal((10, 6))
    query = unit(identities[query_ids] + noise * rng.standard_normal((queries, 6)))
    gallery = unit(identities[gallery_ids] + noise * rng.standard_normal((entries, 6)))
    return query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras


def clear_case(seed, bins):
    """A random case without a distance so near an edge that float32 may move it to the next bin."""
    for attempt in range(100):
        case = random_case(1000 * attempt + seed)
        same, different = plain_distances(*case)
        position = np.concatenate([same, different]) * bins / 2
        if np.abs(position - np.round(position)).min() > ROUNDING * bins / 2:
            return case, same, different
    raise AssertionError("no case is clear of the edges")


@pytest.mark.parametrize("seed", range(8))
def test_counts_and_rates_equal_plain_loops(seed, monkeypatch):
    monkeypatch.setattr(verification, "_BINS", 100)  # wide bins, so that few cases touch an edge
    case, same, different = clear_case(seed, 100)
    before = [np.array(values) for values in case]
    result = verification.verify(*case)
    np.testing.assert_array_equal(result.edges, np.arange(101) / 50)
    np.testing.assert_array_equal(result.same, np.histogram(same, result.edges)[0])
    np.testing.assert_array_equal(result.different, np.histogram(different, result.edges)[0])
    assert {result.same.dtype, result.different.dtype} == {np.dtype(np.int64)}
    assert (result.same_pairs, result.different_pairs) == (len(same), len(different))
    assert result.false_positive_rate == np.mean(different < result.threshold)
    assert result.false_negative_rate == np.mean(same >= result.threshold)
    rates = np.mean(different < result.eer_threshold), np.mean(same >= result.eer_threshold)
    assert result.eer == pytest.approx(sum(rates) / 2)
    others = [abs(np.mean(different < edge) - np.mean(same >= edge)) for edge in result.edges]
    assert abs(rates[0] - rates[1]) == pytest.approx(min(others))
    for rate, share in result.true_positive_rates.items():
        threshold = max(edge for edge in result.edges if np.mean(different < edge) <= rate)
        assert share == np.mean(same < threshold)
        assert rate != 1e-3 or threshold == result.threshold
    for values, copy in zip(case, before, strict=True):
        np.testing.assert_array_equal(values, copy)  # the caller's arrays are left alone


@pytest.mark.parametrize("seed", range(4))
def test_fine_bins_hold_what_plain_loops_find(seed):
    case = random_case(seed)
    result = verification.verify(*case)
    histograms = result.same, result.different
    for counts, distances in zip(histograms, plain_distances(*case), strict=True):
        below = np.append(0, np.cumsum(counts))
        assert (np.searchsorted(distances, result.edges - ROUNDING) <= below).all()
        assert (below[:-1] <= np.searchsorted(distances, result.edges[:-1] + ROUNDING)).all()
        assert below[-1] == len(distances)


@pytest.mark.parametrize("rows, columns", [(1, 1), (4, 7), (5, 1000), (1000, 3), (17, 45)])
def test_figures_do_not_depend_on_the_size_of_a_block(rows, columns, monkeypatch):
    monkeypatch.setattr(verification, "_BINS", 100)
    case, _, _ = clear_case(0, 100)
    whole = verification.verify(*case)
    monkeypatch.setattr(verification, "_ROWS", rows)
    monkeypatch.setattr(verification, "_COLUMNS", columns)
    parts = verification.verify(*case)
    np.testing.assert_array_equal(parts.same, whole.same)
    np.testing.assert_array_equal(parts.different, whole.different)
    assert parts.summary() == whole.summary()


def test_the_roc_holds_the_rates_of_the_thresholds(tmp_path):
    result = verification.verify(*random_case(3))
    false_positives, true_positives = result.roc()
    same, different = plain_distances(*random_case(3))
    for edge in (0, 4000, 9000, 14000, 20000):
        assert false_positives[edge] == pytest.approx(np.mean(different < edge * WIDTH), abs=0.01)
        assert true_positives[edge] == pytest.approx(np.mean(same < edge * WIDTH), abs=0.01)
    at = np.searchsorted(result.edges, result.threshold)
    assert false_positives[at] == result.false_positive_rate
    assert true_positives[at] == pytest.approx(1 - result.false_negative_rate)
    plots.draw_roc(false_positives, true_positives, (0.1, 0.5), tmp_path / "roc.png")
    drawn = cv2.imread(str(tmp_path / "roc.png")).astype(int)
    blue = drawn[:, :, 0] - drawn[:, :, 2] > 100  # the curve
    right, left = np.flatnonzero(blue.any(axis=0))[[-1, 0]]
    highest = [np.flatnonzero(blue[:, x])[0] for x in (left, right)]
    assert right - left > 300 and highest[1] < highest[0]  # it rises


def test_lists_and_wider_types_will_do():
    query, gallery, *labels = random_case(1)
    expected = verification.verify(query, gallery, *labels)
    lists = [array.tolist() for array in labels]
    got = verification.verify(np.float64(query), gallery.tolist(), *lists)
    np.testing.assert_array_equal(got.same, expected.same)
    np.testing.assert_array_equal(got.different, expected.different)


def test_vectors_that_are_nearly_of_length_1_have_their_own_distance():
    case = ([[1, 0], [1.0009, 0]], [[0, 1], [-1.0009, 0]], [1, 2], [1, 2], [1, 1], [2, 2])
    result = verification.verify(*case)
    # Same: (1, 0) to (0, 1), and 2.0018 which belongs to the last bin. Different: 2.0009, and
    # (1.0009, 0) to (0, 1), which would be sqrt(2) as well if it were taken to be of length 1.
    assert np.flatnonzero(result.same).tolist() == [14142, 19999]
    assert np.flatnonzero(result.different).tolist() == [int(np.hypot(1.0009, 1) / WIDTH), 19999]


# 2. By hand


def circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_circle_by_hand():
    # One query of person 7 by camera 1, at 0 degrees: the chord to an angle is 2 sin(angle / 2).
    gallery = {  # degrees: person, camera
        36: (7, 2),  # same, 0.6180
        50: (7, 1),  # own camera: left out
        70: (-1, 2),  # junk: left out
        80: (0, 1),  # a distractor is different, whatever its camera, 1.2856
        90: (7, 3),  # same, 1.4142
        100: (9, 1),  # different, 1.5321
        120: (9, 2),  # different, 1.7321
        180: (8, 1),  # different, 2
    }
    identities, cameras = zip(*gallery.values(), strict=True)
    result = verification.verify(circle(0), circle(*gallery), [7], identities, [1], cameras)
    assert np.flatnonzero(result.same).tolist() == [6180, 14142]
    assert np.flatnonzero(result.different).tolist() == [12855, 15320, 17320, 19999]
    assert result.same.max() == result.different.max() == 1
    # No mistake is allowed, so the threshold is the edge just below the distractor; it misses one
    # same pair. The rates differ least, by 1/4, from 1.2856 (1/4 wrongly accepted, 1/2 missed) over
    # 1.4143 (1/4 and none) to 1.5320, beyond which 2/4 are wrongly accepted. The middle is 1.4088.
    expected = {
        "same_pairs": 2,
        "different_pairs": 4,
        "threshold": 1.2855,
        "false_positive_rate": 0.0,
        "false_negative_rate": 0.5,
        "eer": (1 / 4 + 1 / 2) / 2,
        "eer_threshold": 1.4088,
        "tpr@fpr=1e-2": 0.5,
        "tpr@fpr=1e-3": 0.5,
        "tpr@fpr=1e-4": 0.5,
    }
    assert result.summary() == expected
    assert json.loads(json.dumps(result.summary())) == expected


def test_identities_that_are_well_apart():
    # Same at 0.6180, different from 1.4142 on: no mistake is made anywhere between.
    case = circle(0, 0), circle(36, 90, 120), [1, 1], [1, 2, 2], [1, 1], [2, 2, 2]
    result = verification.verify(*case)
    assert result.eer == 0.0
    assert result.eer_threshold == pytest.approx((0.6180 + 1.4142) / 2, abs=WIDTH)
    assert result.true_positive_rates == {1e-2: 1.0, 1e-3: 1.0, 1e-4: 1.0}
    assert result.threshold == 1.4142  # the largest that lets nobody in
    assert result.false_positive_rate == result.false_negative_rate == 0.0


def test_identities_that_all_look_alike():
    result = verification.verify(circle(0, 0), circle(0, 0), [1, 2], [1, 2], [1, 1], [2, 2])
    assert result.threshold == result.false_positive_rate == 0.0
    assert result.false_negative_rate == 1.0
    assert result.eer == 0.5
    assert set(result.true_positive_rates.values()) == {0.0}


def test_a_rate_that_is_reached_exactly_is_kept():
    # One of 1,000 different pairs at 0.3473, the others at 1.4142; same at 0.6180.
    gallery = circle(36, 20, *[90] * 999)
    result = verification.verify(circle(0), gallery, [1], [1] + [2] * 1000, [1], [2] * 1001)
    assert (result.threshold, result.false_positive_rate) == (1.4142, 1e-3)
    assert result.true_positive_rates == {1e-2: 1.0, 1e-3: 1.0, 1e-4: 0.0}


def test_copies_are_nearer_than_0_005():
    features = unit(np.random.default_rng(0).standard_normal((60, 300)))
    result = verification.verify(features, features, range(60), range(60), [1] * 60, [2] * 60)
    assert result.same[:50].sum() == result.same_pairs == 60
    assert result.different[:50].sum() == 0


# 3. Sorted distances


@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_sorted_distances_up_to_a_bin(seed):
    query, gallery, *labels = random_case(seed, 120, 400, noise=1.0)
    result = verification.verify(query, gallery, *labels)
    query_ids, gallery_ids, query_cameras, gallery_cameras = labels
    distances = np.linalg.norm(query[:, None].astype(np.float64) - gallery, axis=2)
    known = (query_ids != -1)[:, None] & (gallery_ids != -1)
    person = query_ids[:, None] == gallery_ids
    same = np.sort(distances[known & person & (query_cameras[:, None] != gallery_cameras)])
    different = np.sort(distances[known & ~person])
    assert (result.same_pairs, result.different_pairs) == (len(same), len(different))
    assert len(different) > 10_000  # so that even 1e-4 allows a mistake

    near = WIDTH + ROUNDING
    for rate, share in result.true_positive_rates.items():
        allowed = int(rate * len(different) + 1e-9)
        threshold = different[allowed]  # the first distance that would be a mistake too many
        assert np.mean(same < threshold - near) <= share <= np.mean(same < threshold + near)
    threshold = different[int(1e-3 * len(different) + 1e-9)]
    assert threshold - near <= result.threshold <= threshold + ROUNDING

    # The rates cross at one of the distances: below it false negatives are more, beyond it false
    # positives.
    candidates = np.sort(np.concatenate([same, different]))
    negatives = 1 - np.searchsorted(same, candidates, side="right") / len(same)
    positives = np.searchsorted(different, candidates, side="right") / len(different)
    crossing = candidates[np.argmax(positives >= negatives)]
    assert abs(result.eer_threshold - crossing) <= near
    around = crossing + 2 * near * np.array([-1, 1])
    positives = np.searchsorted(different, around) / len(different)
    negatives = 1 - np.searchsorted(same, around) / len(same)
    assert positives[0] + negatives[1] <= 2 * result.eer <= positives[1] + negatives[0]


# 4. Errors

GOOD = (circle(0, 90), circle(10, 100, 200), [1, 2], [1, 2, 3], [1, 1], [2, 2, 2])
NEARLY = circle(10, 100, 200) * [[1], [1], [1.002]]
NOT_UNIT = "features: the embedding must be normalised"
NO_SAME = "no person is in query and gallery by different cameras: no same pairs"


@pytest.mark.parametrize(
    "position, value, message",
    [
        (0, 3 * circle(0, 90), f"query {NOT_UNIT}; 2 rows not of length 1"),
        (1, NEARLY, f"gallery {NOT_UNIT}"),
        (1, [[1, 0], [0, 0], [1, 0]], f"gallery {NOT_UNIT}; 1 rows not of length"),
        (0, [[1, 0], [np.nan, 0]], f"query {NOT_UNIT}"),
        (0, [[1, 0], [np.inf, 0]], f"query {NOT_UNIT}"),
        (0, np.zeros((0, 2)), "query features: shape (0, 2)"),
        (1, np.zeros(2), "gallery features: shape (2,)"),
        (1, np.eye(3), "query features have 2 columns, gallery features 3"),
        (2, [1], "query ids: shape (1,), but there are 2 query rows"),
        (3, [[1, 2, 3]], "gallery ids: shape (1, 3), but there are 3 gallery rows"),
        (4, [1, 1, 1], "query cameras: shape (3,), but there are 2 query rows"),
        (5, [2, 2], "gallery cameras: shape (2,), but there are 3 gallery rows"),
        (5, [1, 1, 1], NO_SAME),
        (3, [-1, 0, 9], NO_SAME),
        (3, [-1, -1, -1], NO_SAME),
        (2, [-1, -1], NO_SAME),
    ],
)
def test_bad_input_is_one_clear_line(position, value, message):
    verification.verify(*GOOD)
    with pytest.raises(InputError) as error:
        verification.verify(*GOOD[:position], value, *GOOD[position + 1 :])
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_one_person_only_is_nothing_to_verify():
    with pytest.raises(InputError, match="no different pairs"):
        verification.verify(*GOOD[:2], [4, -1], [4, -1, 4], *GOOD[4:])


# 5. The image


def test_distances_are_drawn_green_and_red(tmp_path):
    edges = np.linspace(0, 2, 20_001)
    same, different = np.zeros((2, 20_000), np.int64)
    same[4000:6000] = 3
    different[14_000:15_037] = 5000  # 99 bars of 111 bins, and one of 48
    plots.draw_distances(edges, same, different, 1.0, tmp_path / "distances.png")
    image = cv2.imread(str(tmp_path / "distances.png")).astype(int)[150:]  # below the legend
    assert image.shape == (330, 720, 3)
    blue, green, red = np.moveaxis(image, 2, 0)
    black = (image[:250] < 30).all(axis=2)
    greens = np.flatnonzero((green > red + 60).sum(axis=0) > 3)
    reds = np.flatnonzero((red > np.maximum(green, blue) + 60).sum(axis=0) > 3)
    blacks = np.flatnonzero(black.sum(axis=0) > 3)
    assert greens.max() < reds.min()  # same identities are nearer
    line = [x for x in blacks if greens.max() < x < reds.min()]
    assert line, "the threshold is between them"
