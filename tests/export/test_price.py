"""The price of an eight-bit export, on embeddings that a reader can compare."""

import math

import numpy as np
import pytest

from mgn.export import price
from mgn.system.errors import CheckError


def model(embeddings):
    """What an image's first pixel stands for."""
    return lambda images: np.stack([embeddings[image[0, 0, 0]] for image in images])


IMAGES = [np.full((4, 2, 3), i, np.uint8) for i in range(3)]


def turned(degrees):
    angle = math.radians(degrees)
    return np.array([math.cos(angle), math.sin(angle)], np.float32)


def test_cosines_and_distances_are_those_of_the_angles():
    before = model([turned(0), turned(60), turned(90)])
    after = model([turned(10), turned(60), turned(90)])
    found = price.price(before, after, IMAGES)
    assert found.cosine == pytest.approx(math.cos(math.radians(10)), abs=1e-6)
    assert found.mean_cosine == pytest.approx((2 + math.cos(math.radians(10))) / 3, abs=1e-6)
    # A distance of two of length 1 is twice the sine of half of the angle.
    apart = [2 * math.sin(math.radians(angle / 2)) for angle in (60, 50, 90, 80)]
    largest = max(apart[0] - apart[1], apart[2] - apart[3])
    assert found.distance_change == pytest.approx(largest, abs=1e-6)
    assert (found.nearest, found.held_back) == (None, 3)  # either has no more than two others
    assert "nearest" not in str(found)


def test_of_the_ten_nearest_those_that_stay_count():
    points = np.arange(24, dtype=np.float32)[:, None]
    images = [np.full((4, 2, 3), i, np.uint8) for i in range(24)]
    changed = points.copy()
    changed[[0, 23]] = changed[[23, 0]]  # the ends change places
    found = price.price(model(points + 1), model(changed + 1), images)
    expected = []
    for i in range(24):
        others = [j for j in range(24) if j != i]
        sets = []
        for values in (points, changed):
            sets.append(set(sorted(others, key=lambda j: abs(values[j] - values[i])[0])[:10]))
        expected.append(len(sets[0] & sets[1]) / 10)
    assert found.nearest == pytest.approx(np.mean(expected))
    assert 0.5 < found.nearest < 0.95
    assert str(found).endswith(f"{100 * np.mean(expected):.1f}% of the ten nearest kept")


@pytest.mark.parametrize(("images", "told"), [(11, False), (12, True)])
def test_nearest_are_not_told_where_no_image_can_lose_one(images, told):
    points = np.random.default_rng(0).normal(size=(images, 4)).astype(np.float32)
    given = [np.full((4, 2, 3), i, np.uint8) for i in range(images)]
    assert (price.price(model(points), model(points), given).nearest == 1) is told


@pytest.mark.parametrize(("cosine", "kept"), [(0.991, True), (0.989, False), (math.nan, False)])
def test_a_cosine_below_the_bound_is_an_error(cosine, kept):
    found = price.Price(cosine, 1, 0, 1, 3)
    if kept:
        price.check(found, 0.99, "x.pb")
        return
    with pytest.raises(
        CheckError, match=r"x\.pb: .*less than 0\.99; nothing was written; try more"
    ):
        price.check(found, 0.99, "x.pb")


def test_images_get_the_size_that_the_export_takes():
    sizes = []

    def made(images):
        sizes.extend(image.shape for image in images)
        return model([turned(0), turned(60), turned(90)])(images)

    price.price(made, made, IMAGES, (8, 6))
    assert set(sizes) == {(8, 6, 3)}
