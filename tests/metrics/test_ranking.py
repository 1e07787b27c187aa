"""Oracles: figures of published code (reference/evaluation_*.npz), plain loops, a case by eye."""

from pathlib import Path

import numpy as np
import pytest

from mgn import metrics
from mgn.metrics import ranking
from mgn.system.errors import InputError

REFERENCE = Path(__file__).parents[1] / "reference"
LABELS = ("query_ids", "gallery_ids", "query_cameras", "gallery_cameras")


@pytest.fixture(params=["small", "medium"])
def published(request):
    with np.load(REFERENCE / f"evaluation_{request.param}.npz") as data:
        return dict(data)


def features_of(data):
    return data["query_features"], data["gallery_features"]


def labels_of(data):
    return [data[name] for name in LABELS]


# 1. Published code


def test_scores_equal_published_code(published):
    result = metrics.evaluate(*features_of(published), *labels_of(published))
    close = {"rtol": 0, "atol": 1e-6}
    for code in ("seathiefwang", "torchreid", "fastreid"):
        np.testing.assert_allclose(result.cmc, published[f"cmc_{code}"], **close)
    for code in ("seathiefwang", "torchreid"):
        np.testing.assert_allclose(result.mAP, published[f"map_{code}"], **close)
    np.testing.assert_allclose(result.average_precision, published["ap_fastreid"], **close)
    np.testing.assert_allclose(result.inverse_negative_penalty, published["inp_fastreid"], **close)
    np.testing.assert_allclose(result.mINP, published["inp_fastreid"].mean(), **close)
    np.testing.assert_allclose(result.mAP_official, published["map_official"], **close)


@pytest.mark.parametrize("scale, offset", [(1e-12, 0.0), (1e12, 0.0), (3.0, 100.0)])
def test_scores_do_not_depend_on_scale_or_offset(published, scale, offset):
    moved = [np.float64(x) * scale + offset for x in features_of(published)]
    result = metrics.evaluate(*moved, *labels_of(published))
    np.testing.assert_allclose(result.mAP, published["map_seathiefwang"], rtol=0, atol=1e-6)


# 2. Plain loops


def plain_scores(distances, query_ids, gallery_ids, query_cameras, gallery_cameras):
    """Step AP, official AP, INP and first rank of a query by their definitions; else None."""
    rows = []
    for q in range(len(query_ids)):
        ranking = []
        for g in sorted(range(len(gallery_ids)), key=lambda g, q=q: (distances[q][g], g)):
            same = gallery_ids[g] == query_ids[q]
            if gallery_ids[g] != -1 and not (same and gallery_cameras[g] == query_cameras[q]):
                ranking.append(bool(same))
        total, hits = sum(ranking), 0
        if not total:
            rows.append(None)
            continue
        step = official = last = 0.0
        old_recall, old_precision = 0.0, 1.0
        for position, good in enumerate(ranking, start=1):
            hits += good
            recall, precision = hits / total, hits / position
            step += (recall - old_recall) * precision
            official += (recall - old_recall) * (old_precision + precision) / 2
            old_recall, old_precision = recall, precision
            last = position if good else last
        rows.append((step, official, total / last, ranking.index(True)))
    return rows


def random_case(seed, queries=25, entries=60):
    """Many ties; junk, distractors, identities missing, with one camera only, or with one image."""
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 12, (queries, entries)) / 4
    query_ids = rng.integers(1, 14, queries)  # 10 to 13 are missing
    gallery_ids = rng.integers(-1, 10, entries)
    query_cameras = rng.integers(1, 4, queries)
    gallery_cameras = rng.integers(1, 4, entries)
    query_cameras[query_ids == 1] = gallery_cameras[gallery_ids == 1] = 2  # seen by one camera only
    gallery_ids[np.flatnonzero(gallery_ids == 2)[1:]] = 0  # at most one image
    query_ids[0] = gallery_ids[0] = 3  # one match for certain
    query_cameras[0], gallery_cameras[0] = 1, 2
    return distances, query_ids, gallery_ids, query_cameras, gallery_cameras


@pytest.mark.parametrize("seed", range(12))
def test_scores_equal_plain_loops(seed):
    case = random_case(seed)
    before = case[0].copy()
    result = metrics.evaluate_distances(*case, max_rank=20)
    plain = plain_scores(*case)
    found = np.array([row is not None for row in plain])
    expected = np.array([row or (np.nan,) * 3 + (-1,) for row in plain])
    assert 0 < found.sum() < len(plain)
    precisions = result.average_precision, result.average_precision_official
    got = np.stack([*precisions, result.inverse_negative_penalty], axis=1)
    np.testing.assert_allclose(got, expected[:, :3], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(result.first_match, expected[:, 3])
    means = (result.mAP, result.mAP_official, result.mINP)
    np.testing.assert_allclose(means, expected[found, :3].mean(axis=0), rtol=0, atol=1e-12)
    cmc = [np.mean(expected[found, 3] < k) for k in range(1, 21)]
    np.testing.assert_allclose(result.cmc, cmc, rtol=0, atol=1e-12)
    assert result.valid_queries == found.sum()
    np.testing.assert_array_equal(case[0], before)  # the caller's matrix is left alone


def test_features_rank_as_their_distances(monkeypatch):
    monkeypatch.setattr(ranking, "_HELD", 7 * 60)
    rng = np.random.default_rng(3)
    query, gallery = rng.standard_normal((25, 5)), rng.standard_normal((60, 5))
    distances = np.linalg.norm(query[:, None] - gallery, axis=2)
    labels = random_case(3)[1:]
    got = metrics.evaluate(query, gallery, *labels)
    expected = metrics.evaluate_distances(distances, *labels)
    np.testing.assert_array_equal(got.average_precision, expected.average_precision)
    np.testing.assert_array_equal(got.cmc, expected.cmc)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 16])
def test_ties_of_small_whole_numbers_rank_by_index(size):
    """Centring makes them fractions, so that equal distances are computed a little apart."""
    rng = np.random.default_rng(size)
    for _ in range(10):
        query, gallery = rng.integers(0, 4, (20, size)), rng.integers(0, 4, (40, size))
        ids = rng.integers(1, 5, 20), rng.integers(0, 5, 40)
        cameras = rng.integers(1, 4, 20), rng.integers(1, 4, 40)
        distances = np.square(query[:, None] - gallery).sum(axis=2).astype(float)
        got = metrics.evaluate(query, gallery, *ids, *cameras)
        expected = metrics.evaluate_distances(distances, *ids, *cameras)
        np.testing.assert_array_equal(got.average_precision, expected.average_precision)
        np.testing.assert_array_equal(got.first_match, expected.first_match)


def squared_distances(query, gallery):
    """Of all pairs, each by its differences in float64."""
    return np.square(gallery.astype(float) - query[:, None]).sum(axis=2)


@pytest.mark.parametrize("many", [0, 10, 10**9])
def test_a_dead_network_ranks_by_index(monkeypatch, many):
    """All embeddings alike but for a few: measured pair by pair or all at once."""
    rng = np.random.default_rng(1)
    monkeypatch.setattr(ranking, "_MANY", many)
    gallery = np.ones((300, 32), np.float32)
    gallery[::7, 0] += rng.integers(0, 3, 43) * 1e-6
    ids = rng.integers(1, 6, 10), rng.integers(0, 6, 300)
    labels = *ids, rng.integers(1, 4, 10), rng.integers(1, 4, 300)
    query = gallery[:10] + np.float32(0.5)
    distances = squared_distances(query, gallery)
    got = metrics.evaluate(query, gallery, *labels)
    expected = metrics.evaluate_distances(distances, *labels)
    np.testing.assert_array_equal(got.average_precision, expected.average_precision)


@pytest.mark.parametrize("rows", [1, 13, 64, 1024])
@pytest.mark.parametrize("held", [1, 7 * 301, 2**28])
def test_equal_images_rank_by_index_whatever_the_blocks(monkeypatch, rows, held):
    """Copies of one image under many names: OpenBLAS rounds their products differently."""
    rng = np.random.default_rng(5)
    gallery = (rng.standard_normal((301, 512)) + 3).astype(np.float32)
    gallery[rng.random(301) < 0.6] = gallery[0]
    query = gallery[rng.integers(0, 301, 20)] + rng.normal(0, 0.5, (20, 512)).astype(np.float32)
    ids, cameras = rng.integers(0, 6, 301), rng.integers(1, 4, 301)
    labels = rng.integers(1, 6, 20), ids, rng.integers(1, 4, 20), cameras
    expected = metrics.evaluate_distances(squared_distances(query, gallery), *labels)
    monkeypatch.setattr(ranking, "ROWS", rows)
    monkeypatch.setattr(ranking, "_HELD", held)
    got = metrics.evaluate(query, gallery, *labels)
    np.testing.assert_array_equal(got.average_precision, expected.average_precision)
    np.testing.assert_array_equal(got.first_match, expected.first_match)


def test_a_query_that_is_junk_has_no_match():
    result = metrics.evaluate_distances(np.zeros((2, 2)), [-1, 5], [-1, 5], [1, 1], [2, 2])
    assert result.first_match.tolist() == [-1, 0]


# 3. By eye

BY_EYE = {
    "distances": [
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        [0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
        [0.3, 0.3, 0.3, 0.3, 0.3, 0.3],
    ],
    "query_ids": [7, 7, 8],
    "gallery_ids": [7, -1, 0, 7, 9, 7],
    "query_cameras": [1, 2, 1],
    "gallery_cameras": [1, 3, 3, 2, 3, 2],
}


def test_by_eye():
    result = metrics.evaluate_distances(**BY_EYE, max_rank=5)
    # Query 0: entries 0 (own camera) and 1 (junk) drop out; left are 0 7 9 7: positions 2 and 4.
    #   step AP (1/2 + 2/4) / 2 = 1/2; official ((0/1 + 1/2) / 2 + (1/3 + 2/4) / 2) / 2 = 1/3;
    #   INP 2/4.
    # Query 1: from the other end, 5 and 3 (own camera) and 1 (junk) drop out; left are 9 0 7:
    #   position 3. step AP 1/3; official (0/2 + 1/3) / 2 = 1/6; INP 1/3.
    # Query 2: identity 8 is not in the gallery; not counted.
    np.testing.assert_allclose(result.average_precision, [1 / 2, 1 / 3, np.nan])
    np.testing.assert_allclose(result.average_precision_official, [1 / 3, 1 / 6, np.nan])
    np.testing.assert_allclose(result.inverse_negative_penalty, [1 / 2, 1 / 3, np.nan])
    assert result.first_match.tolist() == [1, 2, -1]
    assert result.valid_queries == 2
    assert result.cmc.tolist() == [0.0, 0.5, 1.0, 1.0, 1.0]
    expected = {"mAP": 5 / 12, "mAP_official": 1 / 4, "mINP": 5 / 12}
    assert result.summary() == pytest.approx(
        expected | {"rank@1": 0.0, "rank@3": 1.0, "rank@5": 1.0, "rank@10": 1.0}
    )
    assert {type(value) for value in result.summary().values()} == {float}


def test_a_short_curve_does_not_change_the_summary():
    result = metrics.evaluate_distances(**BY_EYE, max_rank=1)
    assert result.cmc.tolist() == [0.0]
    assert result.summary()["rank@3"] == 1.0


def test_a_curve_longer_than_the_gallery_is_padded():
    result = metrics.evaluate_distances(**BY_EYE, max_rank=50)
    assert result.cmc.dtype == np.float64
    assert result.cmc.tolist() == [0.0, 0.5] + [1.0] * 48


def test_equal_distances_rank_by_gallery_index():
    tied = metrics.evaluate_distances([[1.0] * 4], [1], [2, 1, 2, 1], [1], [2] * 4)
    assert tied.average_precision[0] == (1 / 2 + 2 / 4) / 2  # matches at positions 2 and 4


# 4. Errors

GOOD = (np.eye(2), np.eye(3, 2), [1, 2], [1, 2, 3], [1, 1], [2, 2, 2])
ONE_CAMERA = "every query person is seen by one camera only, or is missing from the gallery"
NO_MATCH = f"{ONE_CAMERA}: nothing to"
NOT_FINITE = [[0, 0], [0, np.nan], [np.inf, 0]]
BAD_ROWS = np.where(np.arange(8)[:, None] == [0, 1], 0.0, [[np.nan, np.inf]])


@pytest.mark.parametrize(
    "position, value, message",
    [
        (2, [1], "query ids: shape (1,), but there are 2 query rows"),
        (3, [1, 2], "gallery ids: shape (2,), but there are 3 gallery rows"),
        (4, [1, 1, 1], "query cameras: shape (3,), but there are 2 query rows"),
        (5, [[2, 2, 2]], "gallery cameras: shape (1, 3), but there are 3 gallery rows"),
        (1, np.eye(3), "query features have 2 columns, gallery features 3"),
        (0, np.zeros((0, 2)), "query features: shape (0, 2)"),
        (1, np.zeros((0, 2)), "gallery features: shape (0, 2)"),
        (0, np.zeros(2), "query features: shape (2,)"),
        (1, NOT_FINITE, "gallery features: NaN or infinity in 2 rows, first [1, 2]"),
        (0, BAD_ROWS, "query features: NaN or infinity in 8 rows, first [0, 1, 2, 3, 4]"),
        (5, [1, 1, 1], NO_MATCH),
        (3, [-1, 0, 9], NO_MATCH),
    ],
)
def test_bad_input_is_one_clear_line(position, value, message):
    metrics.evaluate(*GOOD)
    arguments = [*GOOD[:position], value, *GOOD[position + 1 :]]
    calls = [metrics.evaluate]
    if position < 2:
        calls.append(lambda query, gallery, *_: metrics.rerank(query, gallery))
    else:
        calls.append(lambda _, __, *labels: metrics.evaluate_distances(np.ones((2, 3)), *labels))
    for call in calls:
        with pytest.raises(InputError) as error:
            call(*arguments)
        assert str(error.value).startswith(message)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "distances", [np.ones((2, 2)), np.ones((0, 3)), [[1, 2, 3], [1, np.nan, 3]]]
)
def test_bad_distances(distances):
    with pytest.raises(InputError):
        metrics.evaluate_distances(distances, *GOOD[2:])
