"""Oracles: plain loops over numbers, numpy's SVD, hand-made bits."""

import numpy as np
import pytest

from mgn.metrics import smaller
from mgn.metrics.smaller import unit


def features(count=40, size=2048, seed=0):
    """Rows of length 1 that differ in 20 directions most."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 20)) @ rng.normal(size=(20, size)) * 0.2
    return unit(np.float32(rows + 0.02 * rng.normal(size=rows.shape) + 0.5))


def test_every_way_has_the_bytes_it_says():
    """By the least type that holds what is left, and in the order of the list."""
    rows = features(600, 768)
    heads = {"two": [0, 2]}
    fitted = smaller.principal_axes(rows)
    for way in smaller.ways(rows, heads, fitted):
        made = way.make(rows)
        assert made.dtype == np.float32 and len(made) == 600
        if way.name == "bits":
            stored = np.packbits(made.astype(bool), axis=1).nbytes
        elif way.name.endswith("int8"):
            assert np.array_equal(made, made.astype(np.int8))
            stored = made.astype(np.int8).nbytes
        elif way.name.endswith("float16"):
            assert np.array_equal(made, made.astype(np.float16))
            stored = made.astype(np.float16).nbytes
        else:
            np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
            stored = made.nbytes
        assert stored == 600 * way.bytes, way.name
    names = [way.name for way in smaller.ways(rows, heads, fitted)]
    assert names[:5] == ["float32", "float16", "int8", "two, float32", "two, int8"]
    assert names[5:7] == ["PCA 512, float32", "PCA 512, int8"] and names[-1] == "bits"
    few = [way.name for way in smaller.ways(rows[:40], {}, smaller.principal_axes(rows[:40]))]
    assert few[3:5] == ["PCA 32, float32", "PCA 32, int8"]  # 40 images span no more than 39


def test_heads_are_columns():
    rows = features()
    made = smaller.columns_of([1, 3])(rows)
    for row, got in zip(rows, made, strict=True):
        expected = np.concatenate([row[256:512], row[768:1024]])
        np.testing.assert_allclose(got, expected / np.linalg.norm(expected), rtol=1e-5)


@pytest.mark.parametrize("count", [50, 64, 2500])
def test_axes_are_those_of_a_singular_value_decomposition(count, monkeypatch):
    """More images than numbers, fewer, and as many; and the block is not seen."""
    rows = features(count, 64)
    monkeypatch.setattr(smaller, "ROWS", 1000)
    fitted = smaller.principal_axes(rows)
    centre, axes, spread = fitted
    _, values, vectors = np.linalg.svd(rows.astype(float) - rows.mean(axis=0, dtype=float))
    np.testing.assert_allclose(centre, rows.mean(axis=0, dtype=float))
    assert len(axes) == min(count - 1, 64)
    np.testing.assert_allclose(spread[:20], values[:20] / np.sqrt(count), rtol=1e-6)
    cosines = np.abs(np.sum(axes[:20] * vectors[:20], axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    # Whitened: of the images that they were fitted to, all coordinates differ alike.
    coordinates = (rows - centre) @ (axes[:20] / spread[:20, None]).T
    np.testing.assert_allclose(np.cov(coordinates.T, bias=True), np.eye(20), atol=1e-5)
    twenty = smaller.first_axes(fitted, 20)
    got = smaller.project(twenty)(rows)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, unit(coordinates), atol=1e-4)
    exact = smaller.project(twenty, np.float64)(rows)
    np.testing.assert_allclose(exact, unit(coordinates), atol=1e-12)


def test_features_that_are_all_alike_have_no_axes():
    assert not len(smaller.principal_axes(np.ones((5, 8), np.float32)).axes)


def test_whole_numbers_and_bits_by_hand():
    rows = np.float32([[0.5, -0.25, 0.0], [0.1, 0.0, 0.02]])
    expected = [[127, -64, 0], [25, 0, 5]]  # of 254 a unit; -63.5 to even
    np.testing.assert_array_equal(smaller.int8(rows)(rows), expected)
    np.testing.assert_array_equal(smaller.int8(rows)(10 * rows)[0], [127, -127, 0])
    np.testing.assert_array_equal(smaller.int8(rows * 0)(rows * 0), rows * 0)
    made = smaller.bits(np.array([0.3, -0.1, 0.0]))(rows)
    np.testing.assert_array_equal(made, [[1, 0, 0], [0, 1, 1]])


@pytest.mark.parametrize("first", [1, 7, 30, 99])
def test_the_first_are_ranked_again(first):
    """Against a plain loop; beyond the first the order is that of the small vectors."""
    query, gallery = features(6, seed=1), features(30, seed=2)
    make = smaller.bits(gallery.mean(axis=0))
    small = make(query), make(gallery)
    made = smaller.rerank_first(query, gallery, small, first)
    for row in range(6):
        rough = np.abs(small[0][row] - small[1]).sum(axis=1)  # Hamming's
        order = np.argsort(rough, kind="stable")
        exact = np.linalg.norm(query[row].astype(float) - gallery, axis=1)
        head = sorted(order[:first], key=lambda i: exact[i])
        got = np.argsort(made.distances[row], kind="stable")
        assert got.tolist() == [*head, *order[first:]]
        assert made.nearest[row].tolist() == head[:10]
        np.testing.assert_allclose(made.distances[row, head], exact[head], atol=1e-6)
