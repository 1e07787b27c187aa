"""What comes before and after the network in a graph, given pixels meant to break it."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from inference.test_encoded import coloured
from mgn.config import NetworkOptions
from mgn.inference.graph import PRE_POST, build


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
