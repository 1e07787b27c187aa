"""How far a mean moved: known shifts, chance taken off, neighbours that are not independent."""

import numpy as np
import pytest

from mgn.metrics.shift import BLOCKS, FEWEST, squared_shift

CHANNELS = 2000


def drawn(images, each, moved, seed=0):
    """Rows of standard normal numbers around `moved`, each of them `each` times in a row."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((images // each, CHANNELS)) + moved
    return np.repeat(rows, each, axis=0)


@pytest.mark.parametrize("moved", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("each", [1, 4])
def test_a_known_shift(moved, each):
    """The variance is 1 on both sides, so the squared shift is that of the mean, for any number
    of images; without what is taken off, 80 images of 20 people would be 0.05 apart by chance."""
    values = drawn(80, each, moved)
    got = squared_shift(values, np.zeros(CHANNELS), np.ones(CHANNELS))
    assert got == pytest.approx(moved**2, abs=0.02, rel=0.05)


def test_by_hand():
    """Twenty images of one number: the blocks' means are -2, 2, -2, ..., their variance 40/9."""
    values = np.tile([-3.0, -1.0, 3.0, 1.0], 5)[:, None]
    assert (len(values), BLOCKS) == (20, 10)
    moved = (0 - 1.0) ** 2 - 40 / 9 / 10
    spread = (100 / 19 + 3) / 2
    expected = moved / (spread + 1e-5)
    assert squared_shift(values, np.array([1.0]), np.array([3.0])) == pytest.approx(expected)


def test_each_head_by_itself_and_in_any_units():
    values = drawn(40, 1, 0.0).reshape(40, 4, 500)
    mean, variance = np.zeros((4, 500)), np.ones((4, 500))
    mean[2] = 1.0
    got = squared_shift(values, mean, variance)
    assert got.shape == (4,) and got.argmax() == 2 and got[2] == pytest.approx(1, abs=0.1)
    scaled = squared_shift(values * 1000, mean * 1000, variance * 1e6)
    assert scaled == pytest.approx(got, rel=1e-3, abs=1e-6)


def test_channels_that_never_change():
    """A dead channel is no shift, and no division by zero."""
    assert squared_shift(np.zeros((20, 3)), np.zeros(3), np.zeros(3)) == 0


def test_too_few_images():
    with pytest.raises(ValueError, match=f"{FEWEST - 1} images; {FEWEST} are needed"):
        squared_shift(np.zeros((FEWEST - 1, 3)), np.zeros(3), np.ones(3))
