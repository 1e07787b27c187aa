"""Augmentation against plain loops, and against Pillow's."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image, ImageEnhance

from mgn.data import augmentation, images


def run(tensor, feed=None):
    with tf.Session() as session:
        return session.run(tensor, feed)


def test_erase_against_a_plain_loop():
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (48, 16, 3)).astype(np.float32)
    draws_of = tf.placeholder(tf.float32, [4, 10])
    erased = augmentation.erase(tf.constant(image), draws_of)
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
    made = augmentation.augment(tf.constant(image), seed, 0.5)
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
    made = augmentation.augment(tf.constant(image), seed, 0.0, padding=2)
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


@pytest.mark.parametrize(
    ("factors", "most"),
    [
        *(((0, 1, 1), 1), ((0.6, 1, 1), 1), ((1.8, 1, 1), 1)),
        *(((1, 0, 1), 1), ((1, 0.4, 1), 1), ((1, 1.3, 1), 1)),
        *(((1, 1, 0), 1), ((1, 1, 0.7), 1), ((1, 1, 1.5), 1)),
        *(((0.6, 1.3, 1.5), 4), ((1.8, 0.4, 0.7), 4)),  # Pillow rounds after each of the three
    ],
)
def test_colours_change_as_pillows(factors, most):
    image = np.random.default_rng(0).integers(0, 256, (96, 32, 3)).astype(np.uint8)
    expected = Image.fromarray(image)
    kinds = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
    for kind, factor in zip(kinds, factors, strict=True):
        expected = kind(expected).enhance(factor)
    pixels = tf.constant(image, tf.float32)
    got = run(augmentation.change_colours(pixels, tf.constant(factors, tf.float32)))
    difference = np.abs(got - np.asarray(expected, np.float32))
    print(f"{factors}: {difference.max():.2f} grey levels, {difference.mean():.2f} on average")
    # Pillow rounds the mean to a whole level and cuts values off.
    assert difference.max() <= most + 0.1 and difference.mean() <= 0.7 * most
    assert got.min() >= 0 and got.max() <= 255


def test_jitter_draws_each_factor_evenly_and_leaves_the_other_draws_alone():
    """Of a grey image only the brightness shows, and contrast not at all."""
    image = np.full((96, 32, 3), 100, np.uint8)
    seed = tf.placeholder(tf.int64, [2])
    made = augmentation.augment(tf.constant(image), seed, 0.0, jitter=0.4)
    erased = augmentation.augment(tf.constant(image), seed, 0.5, jitter=0.4)
    plain = augmentation.augment(tf.constant(image), seed, 0.5)
    levels = []
    with tf.Session() as session:
        for i in range(300):
            values = images.denormalise(session.run(made, {seed: [5, i]}))
            assert values.min() == values.max()
            levels.append(int(values.min()))
            same = session.run([erased, plain], {seed: [5, i]})
            assert np.array_equal(same[0] == 0, same[1] == 0)  # the same rectangle
    assert 60 <= min(levels) < 66 and 134 < max(levels) <= 140
    assert np.mean(levels) == pytest.approx(100, abs=4)  # three standard errors
