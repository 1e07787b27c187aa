"""Oracles: maps that were put into the features, numpy's least squares, scipy's Procrustes."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from mgn.metrics import migration
from mgn.metrics.migration import LINEAR, ORTHOGONAL, Pairs
from mgn.metrics.smaller import unit
from mgn.system.errors import InputError


def people(count=60, size=24, noise=0.6, seed=0):
    """Old features of people under two cameras, a query image and two others by each: `Pairs`."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(1, count + 1), 6)
    cameras = np.tile([1, 1, 1, 2, 2, 2], count)
    asked = np.tile([True, False, False], 2 * count)
    looks = rng.normal(size=(count + 1, size))[ids] + noise * rng.normal(size=(len(ids), size))
    old = unit(looks + 1.0)  # all a little alike, as networks have it
    return Pairs(old, old, ids, cameras, asked)


def rotation(size, seed=1):
    return scipy.stats.ortho_group.rvs(size, random_state=seed)


@pytest.mark.parametrize("images", [360, 20])
def test_a_rotation_is_found_exactly(images):
    """Of images that had no part in it too, if there are as many as numbers."""
    pairs = people()
    turned = (pairs.old.astype(np.float64) @ rotation(24)).astype(np.float32)
    seen = slice(images)
    for made in (
        migration.orthogonal(pairs.old[seen], turned[seen]),
        next(migration.linear(pairs.old[seen], turned[seen], [1e-9])),
    ):
        assert made(pairs.old).dtype == np.float32
        np.testing.assert_allclose(made(pairs.old[seen]), turned[seen], atol=1e-6)
    made = migration.orthogonal(pairs.old[:200], turned[:200])
    np.testing.assert_allclose(made(pairs.old[200:]), turned[200:], atol=1e-6)
    np.testing.assert_allclose(made.matrix, rotation(24), atol=1e-5)


@pytest.mark.parametrize(("size", "other"), [(24, 24), (24, 10), (10, 24)])
def test_the_rotation_is_that_of_procrustes(size, other, monkeypatch):
    """Scipy's, of one size; columns of zeros make up for a difference. And the block is not seen"""
    monkeypatch.setattr(migration, "ROWS", 50)
    old = people(size=size).old.astype(np.float64)
    new = unit(np.random.default_rng(2).normal(size=(360, other)) + old[:, :1]).astype(np.float64)
    wide = max(size, other)
    sides = (features - features.mean(axis=0) for features in (old, new))
    padded = [np.pad(side, ((0, 0), (0, wide - side.shape[1]))) for side in sides]
    expected = scipy.linalg.orthogonal_procrustes(*padded)[0]
    made = migration.orthogonal(old, new)
    aligned = np.sum((padded[0] @ expected) * padded[1])
    got = np.sum((padded[0][:, :size] @ made.matrix) * padded[1][:, :other])
    assert got == pytest.approx(aligned, rel=1e-6)
    if size == other:
        np.testing.assert_allclose(made.matrix, expected, atol=1e-6)
    small = min(size, other)  # rows or columns are orthonormal
    gram = made.matrix @ made.matrix.T if size == small else made.matrix.T @ made.matrix
    np.testing.assert_allclose(gram, np.eye(small), atol=1e-5)


def test_a_ridge_is_least_squares_with_more_rows():
    pairs = people()
    new = unit(pairs.old @ np.random.default_rng(3).normal(size=(24, 9)))
    old = pairs.old.astype(np.float64) - pairs.old.mean(axis=0, dtype=np.float64)
    target = new.mean(axis=0, dtype=np.float64)
    mean = np.trace(old.T @ old) / 24
    for made, ridge in zip(migration.linear(pairs.old, new, [0.01, 3.0]), [0.01, 3.0], strict=True):
        rows = np.concatenate([old, np.sqrt(ridge * mean) * np.eye(24)])
        wanted = np.concatenate([new - target, np.zeros((24, 9))])
        expected = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        np.testing.assert_allclose(made.matrix, expected, atol=1e-6)
        np.testing.assert_allclose(made(pairs.old), unit(old @ expected + target), atol=1e-6)
        assert (made.method, made.ridge) == (LINEAR, ridge)


def test_the_better_kind_is_chosen_by_people_held_back():
    pairs = people()
    noise = np.random.default_rng(4).normal(size=pairs.old.shape) * 0.02
    turned = migration.fit(pairs._replace(new=unit(pairs.old @ rotation(24) + noise)))
    assert turned.map.method == ORTHOGONAL and abs(turned.measured.loss) < 0.05
    assert 0.05 < turned.measured.apart < 0.2  # 0.02 times the root of 24
    # The old model squeezed some directions fortyfold, which only a linear map undoes.
    squeezed = unit((pairs.old - pairs.old.mean(axis=0)) * np.geomspace(0.05, 2, 24) + 0.1)
    both = pairs._replace(old=squeezed)
    linear = migration.fit(both)
    assert linear.map.method == LINEAR and linear.measured.loss < 0.05
    other = migration.measure(migration.make(both, ORTHOGONAL, None), both)
    assert other.loss > linear.measured.loss + 0.05


def test_sizes_may_differ_and_images_be_fewer_than_numbers():
    """512 numbers to 64, both made of the same twelve."""
    pairs = people(size=12)
    rng = np.random.default_rng(5)
    old = unit(pairs.old @ rng.normal(size=(12, 512)))
    new = unit(pairs.old @ rng.normal(size=(12, 64)))
    fitted = migration.fit(pairs._replace(old=old, new=new))
    assert fitted.map(old).shape == (360, 64)
    assert fitted.measured.apart < 0.05 and fitted.measured.loss < 0.02
    assert (fitted.images, fitted.people) == (360, 60)
    assert (fitted.measured.images, fitted.measured.people) == (120, 20)


def test_people_are_held_back_as_a_whole():
    """New features that know each person, and have nothing to do with the old ones: by images a
    map would seem to find them, of other people it finds nothing."""
    pairs = people(noise=0.1)
    looks = np.random.default_rng(6).normal(size=(61, 24))
    pairs = pairs._replace(new=unit(looks[pairs.ids]))
    fitted = migration.fit(pairs)
    assert fitted.measured.new.mAP == 1 and fitted.measured.mapped.mAP < 0.5
    assert fitted.measured.loss == 1 - fitted.measured.mapped.mAP
    half = np.arange(360) % 6 % 3 < 2  # of each person and camera the query and another image
    by_images = migration.measure(
        migration.make(pairs.only(half), LINEAR, 1e-3), pairs.only(half | pairs.asked)
    )
    assert by_images.mapped.mAP > 0.6


def test_the_measure_is_that_of_a_loop():
    pairs = people(8)
    pairs = pairs._replace(new=unit(pairs.old @ np.diag(np.geomspace(0.1, 3, 24))))
    made = next(migration.linear(pairs.old, pairs.new, [10.0]))
    mapped = made(pairs.old)
    measured = migration.measure(made, pairs)
    for got, query, gallery in (
        (measured.old, pairs.old, pairs.old),
        (measured.new, pairs.new, pairs.new),
        (measured.mapped, pairs.new, mapped),
    ):
        precisions, first, same, others = [], [], [], []
        for q in np.flatnonzero(pairs.asked):
            there = ~pairs.asked & (
                (pairs.ids != pairs.ids[q]) | (pairs.cameras != pairs.cameras[q])
            )
            distances = np.linalg.norm(gallery[there] - query[q], axis=1)
            right = pairs.ids[there] == pairs.ids[q]
            ranked = right[np.argsort(distances)]
            precisions.append(np.mean((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked]))
            first.append(ranked[0])
            same += distances[right].tolist()
            strangers = ~pairs.asked & (pairs.ids != pairs.ids[q])
            others += np.linalg.norm(gallery[strangers] - query[q], axis=1).tolist()
        assert got.mAP == pytest.approx(np.mean(precisions), abs=1e-6)
        assert got.rank1 == np.mean(first)
        assert got.same == pytest.approx(np.median(same), abs=1e-6)
        assert got.strangers == pytest.approx(np.median(others), abs=0.02)  # of pairs drawn
    apart = np.median(np.linalg.norm(mapped - pairs.new, axis=1))
    assert measured.apart == pytest.approx(apart, abs=1e-6)


def test_images_of_nobody_known_have_no_part():
    pairs = people(30)
    expected = migration.fit(pairs)
    junk = people(2, seed=9)
    wild = junk._replace(new=-junk.new[::-1], ids=np.where(junk.ids == 1, 0, -1))
    both = Pairs(*(np.concatenate(values) for values in zip(pairs, wild, strict=True)))
    np.testing.assert_array_equal(migration.fit(both).map.matrix, expected.map.matrix)
    assert migration.fit(both).measured == expected.measured


def test_too_few_people_or_cameras_are_refused():
    pairs = people(19)
    with pytest.raises(InputError, match=r"^19 people on the 114 images .* takes 20 or more"):
        migration.fit(pairs)
    migration.fit(people(20))
    alone = people(30)
    with pytest.raises(InputError, match="under two cameras; embed more"):
        migration.fit(alone._replace(cameras=np.ones_like(alone.cameras)))
    with pytest.raises(InputError, match="embed more people"):
        migration.fit(alone._replace(asked=np.zeros_like(alone.asked)))


def test_features_that_are_all_alike_make_a_map_that_is_measured_as_one():
    pairs = people(30)
    fitted = migration.fit(pairs._replace(old=np.full_like(pairs.old, 24**-0.5)))
    assert np.isfinite(fitted.map.matrix).all() and fitted.measured.loss > 0.3
