"""What comes before and after the network in a graph, given pixels meant to break it."""

import numpy as np
import onnxruntime
import pytest
import tensorflow.compat.v1 as tf
import tf2onnx

from inference.test_encoded import coloured
from mgn.config import NetworkOptions
from mgn.inference.graph import PRE_POST, build, postprocess


@pytest.mark.parametrize("input_type", ["float32", "uint8"])
def test_hostile_pixels(input_type):
    """A graph whose network is a mean: what comes before and after is the same for all networks."""
    options = NetworkOptions(10, height=96, width=32)

    def network(images):
        return tf.tile(tf.nn.relu(tf.reduce_mean(images, axis=[1, 2])), [1, 4])

    result = build(PRE_POST, options, input_type, network)
    given = tf.get_default_graph().get_tensor_by_name("image_tensor:0")
    batch = np.stack([coloured(50, 30, seed) for seed in range(3)]).astype(input_type)
    with tf.Session() as session:
        expected = session.run(result, {given: batch})
        assert np.linalg.norm(expected, axis=1) == pytest.approx(1, abs=1e-5)
        assert session.run(result, {given: batch[:, :1, :1]}).shape == (3, 12)
        for empty in (batch[:0], batch[:, :0], batch[:, :, :0]):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="no pictures, or none with pixels"
            ):
                session.run(result, {given: empty})
        with pytest.raises(ValueError, match="Cannot feed value of shape"):
            session.run(result, {given: batch[0]})
        if input_type == "float32":
            for bad in (np.nan, np.inf):
                batch[1, 20, 10, 0] = bad
                got = session.run(result, {given: batch})
                assert np.isnan(got[1]).all() and np.array_equal(got[[0, 2]], expected[[0, 2]])


def by_choosing(both, images):
    """The same, NaN chosen in place of a sum: what tf2onnx makes a sum of products."""
    original, flipped = tf.split(both, 2)
    finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])
    nothing = tf.fill(tf.shape(original), np.float32(np.nan))
    total = tf.where(finite, original + flipped, nothing)
    return tf.nn.l2_normalize(total, axis=1, name="result_embedding")


@pytest.mark.parametrize(("function", "holds"), [(postprocess, True), (by_choosing, False)])
def test_an_image_that_is_not_finite_gets_nan_in_onnx_too_and_alone(function, holds):
    rng = np.random.default_rng(0)
    both = rng.standard_normal((8, 2048)).astype(np.float32)
    both[:, :5] = -0.0
    images = rng.uniform(0, 255, (4, 5, 4, 3)).astype(np.float32)
    images[1, 2, 3, 0], images[2, 0, 0, 0] = np.nan, np.inf
    tf.placeholder(tf.float32, [None, 2048], name="both")
    tf.placeholder(tf.float32, [None, None, None, 3], name="images")
    graph = tf.get_default_graph()
    result = function(*map(graph.get_tensor_by_name, ("both:0", "images:0")))
    given = {"both:0": both, "images:0": images}
    with tf.Session() as session:
        made = session.run(result, given)
    total = both[:4].astype(np.float64) + both[4:]
    expected = total / np.linalg.norm(total, axis=1, keepdims=True)
    assert np.isnan(made[[1, 2]]).all()
    assert made[[0, 3]] == pytest.approx(expected[[0, 3]], abs=1e-7)
    assert np.signbit(made[0, :5]).all()  # adding nothing changes not even the sign of 0
    model, _ = tf2onnx.convert.from_graph_def(
        graph.as_graph_def(), input_names=[*given], output_names=[result.name], opset=17
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (converted,) = session.run(None, given)
    assert np.isnan(converted[[1, 2]]).all()
    assert np.isnan(converted[[0, 3]]).any() != holds
    if holds:
        assert converted[[0, 3]] == pytest.approx(expected[[0, 3]], abs=1e-7)
