"""Preprocessing against Pillow's, augmentation against plain loops."""

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


def test_erase_against_a_plain_loop():
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (48, 16, 3)).astype(np.float32)
    draws_of = tf.placeholder(tf.float32, [4, 10])
    erased = images.erase(tf.constant(image), draws_of)
    untouched = 0
    with tf.Session() as session:
        for case in range(50):
            draws = rng.uniform(size=(4, 10)).astype(np.float32)
            if case == 0:
                draws[0], draws[1] = 1.0, 0.0  # every rectangle too wide
            expected, low = image.copy(), 0.3
            for area, aspect, top, left in draws.T:
                size, ratio = 48 * 16 * (0.02 + area * 0.38), low + aspect * (1 / low - low)
                tall = round(float(np.sqrt(size * ratio)))
                wide = round(float(np.sqrt(size / ratio)))
                if tall < 48 and wide < 16:
                    y, x = int(top * (48 - tall + 1)), int(left * (16 - wide + 1))
                    expected[y : y + tall, x : x + wide] = 0
                    break
            untouched += np.array_equal(expected, image)
            assert np.array_equal(session.run(erased, {draws_of: draws}), expected)
    assert 1 <= untouched < 50


def test_augment_is_a_function_of_its_seed_and_has_its_probabilities():
    image = np.random.default_rng(0).integers(0, 256, (96, 32, 3)).astype(np.uint8)
    plain = run(images.normalise(tf.constant(image, tf.float32)))
    seed = tf.placeholder(tf.int64, [2])
    made = images.augment(tf.constant(image), seed, 0.5)
    with tf.Session() as session:
        results = [session.run(made, {seed: [1, i]}) for i in range(400)]
        again = session.run(made, {seed: [1, 7]})
    assert np.array_equal(results[7], again)
    erased = np.mean([np.any(r == 0) for r in results])
    flipped = np.mean([np.mean(r == plain) < np.mean(r == plain[:, ::-1]) for r in results])
    assert 0.42 < erased < 0.58 and 0.42 < flipped < 0.58  # three standard deviations


def test_pad_and_crop_against_slices_of_the_padded_image():
    """Each result is one of the slices, every slice occurs; padding is black before normalising."""
    image = np.random.default_rng(0).integers(1, 256, (96, 32, 3)).astype(np.uint8)
    seed = tf.placeholder(tf.int64, [2])
    made = images.augment(tf.constant(image), seed, 0.0, padding=2)
    slices = {}
    for mirrored in (0, 1):
        padded = np.pad(image[:, ::-1] if mirrored else image, ((2, 2), (2, 2), (0, 0)))
        for top in range(5):
            for left in range(5):
                slices[mirrored, top, left] = padded[top : top + 96, left : left + 32]
    with tf.Session() as session:
        results = [images.denormalise(session.run(made, {seed: [3, i]})) for i in range(400)]
    found = [next(k for k, v in slices.items() if np.array_equal(v, r)) for r in results]
    counts = np.array([found.count(key) for key in slices])
    assert counts.min() >= 1 and counts.max() < 25  # 8 expected of each of 50


def test_denormalise_is_the_way_back():
    grey = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    normalised = run(images.normalise(tf.constant(grey, tf.float32)))
    assert np.array_equal(images.denormalise(normalised), grey)
