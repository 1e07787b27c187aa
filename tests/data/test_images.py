"""Preprocessing against Pillow's."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import REFERENCE

from mgn.data import images


def run(tensor, feed=None):
    with tf.Session() as session:
        return session.run(tensor, feed)


@pytest.mark.parametrize("kind", ["market", "cuhk", "large"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_is_pillows_bicubic(kind, dtype):
    stored = np.load(REFERENCE / "preprocess.npz")
    got = run(images.resize(tf.constant(stored[f"{kind}_rgb"].astype(dtype)), 384, 128))
    difference = np.abs(got - stored[f"{kind}_pil_bicubic_384x128"])
    assert got.dtype == np.float32 and got.min() >= 0 and got.max() <= 255
    assert difference.mean() < 0.32
    assert np.mean(difference <= 2) > 0.999


def test_normalise_has_the_mean_and_deviation_of_the_pytorch_pipeline():
    stored = np.load(REFERENCE / "preprocess.npz")
    for kind in ("market", "cuhk", "large"):
        got = run(images.normalise(tf.constant(stored[f"{kind}_pil_bicubic_384x128"], tf.float32)))
        expected = stored[f"{kind}_normalised_mean_std"]
        assert [got.mean(), got.std()] == pytest.approx(expected, abs=2e-3)


def test_normalise_by_hand():
    got = run(images.normalise(tf.constant([[0.0, 127.5, 255.0]])))
    expected = [-0.485 / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert got[0] == pytest.approx(expected, rel=1e-6)


def test_mirror_swaps_left_and_right():
    image = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)
    assert np.array_equal(run(images.mirror(tf.constant(image))), image[:, :, ::-1])


def test_denormalise_is_the_way_back():
    grey = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    normalised = run(images.normalise(tf.constant(grey, tf.float32)))
    assert np.array_equal(images.denormalise(normalised), grey)
