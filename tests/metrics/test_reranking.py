"""Oracles: distances of published code (reference/evaluation_*.npz), the paper in plain loops."""

from pathlib import Path

import numpy as np
import pytest

from mgn.metrics import ranking, reranking
from mgn.system.errors import InputError

REFERENCE = Path(__file__).parents[1] / "reference"


@pytest.fixture(params=["small", "medium"])
def published(request):
    with np.load(REFERENCE / f"evaluation_{request.param}.npz") as data:
        return dict(data)


# 1. Published code


@pytest.mark.parametrize(
    "key, options", [("rerank_k20_k6_l03", (20, 6, 0.3)), ("rerank_k10_k3_l05", (10, 3, 0.5))]
)
@pytest.mark.parametrize("tile", [2048, 64])  # one tile, and many
def test_reranked_distances_equal_published_code(published, key, options, tile, monkeypatch):
    monkeypatch.setattr(reranking, "_TILE", tile)
    distances = reranking.rerank(
        published["query_features"], published["gallery_features"], *options
    )
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, published[key], rtol=0, atol=1e-5)


def test_reranked_map_equals_published_code(published):
    distances = reranking.rerank(published["query_features"], published["gallery_features"])
    names = ("query_ids", "gallery_ids", "query_cameras", "gallery_cameras")
    result = ranking.evaluate_distances(distances, *(published[name] for name in names))
    np.testing.assert_allclose(
        result.mAP, published["map_reranked_seathiefwang"], rtol=0, atol=1e-6
    )


# 2. The paper


def dense_rerank(query, gallery, k1, k2, lambda_value):
    """k-reciprocal encoding (arXiv:1701.08398) with matrices of all pairs and sets, in float64."""
    features = np.concatenate([query, gallery]).astype(np.float64)
    total = len(features)
    distances = ((features[:, None] - features) ** 2).sum(axis=2)
    order = []
    for i in range(total):
        order.append(sorted(range(total), key=lambda j, i=i: (j != i, distances[i, j], j)))
    place = np.argsort(order, axis=1)  # place[j, i]: where i stands in j's list
    distances = distances / np.maximum(distances.max(axis=1, keepdims=True), 1e-300)

    def reciprocal(i, k):
        """R(i, k), equation 3; a list has the image itself before its k neighbours."""
        return {j for j in order[i][: k + 1] if place[j, i] <= k}

    encodings = np.zeros((total, total))
    for i in range(total):
        members = reciprocal(i, k1)
        # R*, equation 5; > as in the authors' code, where the paper has >=
        for j in reciprocal(i, k1):
            closer = reciprocal(j, round(k1 / 2))
            if 3 * len(reciprocal(i, k1) & closer) > 2 * len(closer):
                members |= closer
        # Equation 7
        for j in members:
            encodings[i, j] = np.exp(-distances[i, j])
    encodings /= encodings.sum(axis=1, keepdims=True)
    # Equation 11
    encodings = np.stack([encodings[order[i][:k2]].mean(axis=0) for i in range(total)])
    # Equation 10
    of_queries = encodings[: len(query), None]
    of_gallery = encodings[None, len(query) :]
    least = np.minimum(of_queries, of_gallery).sum(axis=2)
    most = np.maximum(of_queries, of_gallery).sum(axis=2)
    jaccard = 1 - least / most
    # Equation 12
    return (1 - lambda_value) * jaccard + lambda_value * distances[: len(query), len(query) :]


@pytest.mark.parametrize(
    "k1, k2, lambda_value", [(20, 6, 0.3), (7, 1, 0.0), (1, 2, 0.9), (5, 9, 0.5), (150, 140, 0.3)]
)
@pytest.mark.parametrize("tile", [2048, 16])
def test_reranking_equals_the_paper(k1, k2, lambda_value, tile, monkeypatch):
    monkeypatch.setattr(reranking, "_TILE", tile)
    rng = np.random.default_rng(k1)
    identities = rng.standard_normal((12, 8))
    query = identities[rng.integers(0, 12, 17)] + 0.7 * rng.standard_normal((17, 8))
    gallery = identities[rng.integers(0, 12, 90)] + 0.7 * rng.standard_normal((90, 8))
    got = reranking.rerank(query, gallery, k1, k2, lambda_value)
    expected = dense_rerank(query, gallery, k1, k2, lambda_value)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tile", [2048, 16])
def test_reranking_breaks_ties_by_index(tile, monkeypatch):
    monkeypatch.setattr(reranking, "_TILE", tile)
    rng = np.random.default_rng(5)
    # Whole numbers of mean 0: float32 has no rounding, and ties are exact.
    half = rng.integers(-2, 3, (40, 3))
    query = rng.integers(-2, 3, (15, 3))
    gallery = np.concatenate([half, -half])
    got = reranking.rerank(query, gallery, 8, 4)
    expected = dense_rerank(query, gallery, 8, 4, 0.3)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reranking_images_that_are_all_alike(dtype):
    image = np.random.default_rng(0).standard_normal(64).astype(dtype)
    query, gallery = np.tile(image, (3, 1)), np.tile(image, (30, 1))
    distances = reranking.rerank(query, gallery, 5, 3)
    if dtype == np.float32:  # float64's mean is rounded, which mixes the order of these copies
        expected = dense_rerank(query, gallery, 5, 3, 0.3)
        np.testing.assert_allclose(distances, expected, rtol=0, atol=1e-5)
    assert distances.min() >= -1e-5
    assert distances.max() <= 1 + 1e-5


# 3. Errors


@pytest.mark.parametrize(
    "options", [{"k1": 0}, {"k2": 0}, {"lambda_value": 1.5}, {"lambda_value": float("nan")}]
)
def test_bad_options(options):
    with pytest.raises(InputError, match=next(iter(options))):
        reranking.rerank(np.eye(2), np.eye(3, 2), **options)
