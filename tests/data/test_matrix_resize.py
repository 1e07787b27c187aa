"""The resize as two products: against a sum by hand, Pillow's, and TensorFlow's own operation."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import REFERENCE

from mgn.data.images import resize
from mgn.data.matrix_resize import resize_by_products


def by_hand(row, number):
    """One row of grey levels, in float64, a weight at a time (Keys, 1981, with a = -0.5)."""
    given = len(row)
    scale = max(given / number, 1.0)
    made = []
    for i in range(number):
        middle = (i + 0.5) * given / number
        weights = []
        for j in range(given):
            x = abs(j + 0.5 - middle) / scale
            if x < 1:
                weights.append(1.5 * x**3 - 2.5 * x**2 + 1)
            elif x < 2:
                weights.append(-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)
            else:
                weights.append(0.0)
        made.append(np.dot(weights, row) / sum(weights))
    return np.clip(made, 0, 255)


def resized(function, image, height, width, fixed=False):
    shape = [None, *image.shape[:2], 3] if fixed else [None, None, None, 3]
    with tf.Graph().as_default(), tf.Session() as session:
        given = tf.placeholder(image.dtype, shape)
        return session.run(function(given, height, width), {given: image[None]})[0]


@pytest.mark.parametrize("given", [1, 2, 5, 12, 31])
@pytest.mark.parametrize("fixed", [False, True])
def test_by_hand_along_each_axis(given, fixed):
    """Smaller and larger; the other axis keeps its size, which changes nothing."""
    row = np.random.default_rng(given).integers(0, 256, given).astype(np.uint8)
    image = np.repeat(row[:, None], 3, axis=1)[:, None]  # [given, 1, 3]
    expected = by_hand(row.astype(float), 12)
    tall = resized(resize_by_products, image, 12, 1, fixed)
    wide = resized(resize_by_products, image.transpose(1, 0, 2), 1, 12, fixed)
    for channel in range(3):
        assert tall[:, 0, channel] == pytest.approx(expected, abs=1e-4)
        assert wide[0, :, channel] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["market", "cuhk", "large"])
def test_it_is_pillows_bicubic(kind):
    """And TensorFlow's own, which rounds its positions to float32."""
    stored = np.load(REFERENCE / "preprocess.npz")
    image = stored[f"{kind}_rgb"]
    got = resized(resize_by_products, image, 384, 128)
    difference = np.abs(got - stored[f"{kind}_pil_bicubic_384x128"])
    assert got.min() >= 0 and got.max() <= 255 and got.dtype == np.float32
    assert difference.mean() < 0.32 and np.mean(difference <= 2) > 0.999
    own = resized(resize, image, 384, 128)
    print(f"{kind}: {difference.mean():.3f} grey levels of Pillow's, {np.abs(got - own).max():.1e}")
    assert np.abs(got - own).max() < 255 * 1e-4
    assert got == pytest.approx(resized(resize_by_products, image, 384, 128, True), abs=1e-4)


@pytest.mark.parametrize("wrong", ["without antialias", "another kernel", "shifted"])
def test_another_resize_fails_the_same_test(wrong):
    image = np.load(REFERENCE / "preprocess.npz")["large_rgb"]
    got = resized(resize_by_products, image, 384, 128)
    method = {"another kernel": "bilinear"}.get(wrong, "bicubic")
    antialias = wrong != "without antialias"
    shifted = np.roll(image, 1, axis=1) if wrong == "shifted" else image
    with tf.Graph().as_default(), tf.Session() as session:
        sized = tf.compat.v2.image.resize(shifted[None], (384, 128), method, antialias=antialias)
        other = session.run(tf.clip_by_value(sized, 0.0, 255.0))[0]
    assert np.abs(got - other).max() > 1


def test_images_of_a_batch_are_resized_by_themselves():
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (3, 40, 17, 3)).astype(np.float32)
    batch[1, 5, 5, 1] = np.nan
    with tf.Graph().as_default(), tf.Session() as session:
        given = tf.placeholder(tf.float32, [None, None, None, 3])
        made = session.run(resize_by_products(given, 96, 32), {given: batch})
    for i in (0, 2):
        assert np.array_equal(made[i], resized(resize_by_products, batch[i], 96, 32))
    assert np.isnan(made[1]).any() and np.isfinite(made[1, ..., 0]).all()


def test_only_operations_that_other_programs_have():
    with tf.Graph().as_default() as graph:
        resize_by_products(tf.placeholder(tf.uint8, [None, None, None, 3]), 96, 32)
    kinds = {operation.type for operation in graph.get_operations()}
    assert kinds <= {
        *("Placeholder", "Const", "Shape", "Unpack", "Range", "Mul", "AddV2", "Sub", "Abs"),
        *("Maximum", "Minimum", "Cast", "RealDiv", "Sum", "Transpose", "BatchMatMulV2", "Pack"),
        "Reshape",
    }
