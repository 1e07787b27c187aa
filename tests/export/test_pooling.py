"""Reductions of maps as pooling kernels, against the reductions; on maps of a small network."""

from collections import Counter

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mgn.export.integers import with_integers
from mgn.export.pooling import with_pools
from mgn.export.quantising import quantise
from mgn.export.units import units_in
from mgn.inference.graph import NETWORK_INPUT, NETWORK_OUTPUT
from mgn.system.session import new_session

HEIGHT, WIDTH, CHANNELS = 12, 4, 1024
REDUCTIONS = {"Mean": tf.reduce_mean, "Max": tf.reduce_max}


def network(body, channels=CHANNELS):
    """The GraphDef of a body, from `images` to `embedding`."""
    with tf.Graph().as_default() as graph:
        shape = [None, HEIGHT, WIDTH, channels]
        made = body(tf.placeholder(tf.float32, shape, name=NETWORK_INPUT))
        tf.identity(made, name=NETWORK_OUTPUT)
    return graph.as_graph_def()


def images(channels=CHANNELS, count=3):
    """Numbers of both signs."""
    return np.random.default_rng(0).normal(size=(count, HEIGHT, WIDTH, channels)).astype(np.float32)


def run(graph_def, given):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    with new_session(graph) as session:
        return session.run(f"{NETWORK_OUTPUT}:0", {f"{NETWORK_INPUT}:0": given})


def operations(graph_def):
    return Counter(node.op for node in graph_def.node)


@pytest.mark.parametrize("stripes", [1, 2, 3])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_map_is_read_once(reduction, stripes):
    reduce = REDUCTIONS[reduction]

    def heads(x):
        parts = [x] if stripes == 1 else [x, *tf.split(x, stripes, axis=1)]
        return tf.concat([reduce(part, axis=[1, 2], keepdims=True) for part in parts], axis=3)

    before = network(heads)
    after = with_pools(before)
    counted = operations(after)
    assert counted[{"Mean": "AvgPool", "Max": "MaxPool"}[reduction]] == min(stripes, 2)
    assert not counted[reduction]
    taking = [node for node in after.node if NETWORK_INPUT in node.input]
    assert len(taking) == 1
    given = images()
    got = run(after, given)
    np.testing.assert_allclose(got, run(before, given), atol=1e-6)
    rows = HEIGHT // stripes
    for part in range(stripes):  # the same by hand
        stripe = given[:, part * rows : (part + 1) * rows].astype(np.float64)
        by_hand = stripe.mean(axis=(1, 2)) if reduction == "Mean" else stripe.max(axis=(1, 2))
        first = CHANNELS * (part + (stripes > 1))
        np.testing.assert_allclose(got[:, 0, 0, first : first + CHANNELS], by_hand, atol=1e-6)


def mixed(x):
    """The whole by its maximum, stripes by their means."""
    means = [tf.reduce_mean(part, [1, 2], keepdims=True) for part in tf.split(x, 2, axis=1)]
    return tf.concat([tf.reduce_max(x, [1, 2], keepdims=True), *means], axis=3)


def stripes_for_others(x):
    """A stripe that something else takes too."""
    top, bottom = tf.split(x, 2, axis=1)
    pooled = [tf.reduce_mean(part, [1, 2], keepdims=True) for part in (x, top, bottom)]
    return tf.concat([*pooled, bottom[:, :1, :1]], axis=3)


def columns(x):
    """A map split the other way."""
    parts = [x, *tf.split(x, 2, axis=2)]
    return tf.concat([tf.reduce_mean(part, [1, 2], keepdims=True) for part in parts], axis=3)


def other_axes(x):
    """Means of rows, and of a map without its axes."""
    return tf.reduce_mean(x, [1], keepdims=True)[:, :, 0] + tf.reduce_mean(x, [1, 2])[:, None]


@pytest.mark.parametrize("body", [mixed, stripes_for_others, columns, other_axes])
def test_what_is_no_such_head_stays(body):
    before = network(body)
    after = with_pools(before)
    assert operations(after) == operations(before)
    np.testing.assert_array_equal(run(after, images()), run(before, images()))


def test_a_map_of_few_channels_stays():
    before = network(lambda x: tf.reduce_mean(x, [1, 2], keepdims=True), channels=64)
    assert operations(with_pools(before))["Mean"] == 1


@pytest.mark.parametrize(("behind", "pads"), [(tf.nn.relu, 0), (tf.identity, 1)])
def test_zeros_around_a_map_are_the_pools_own_only_behind_a_relu(behind, pads):
    def stem(x):
        padded = tf.pad(behind(x), [[0, 0], [1, 1], [1, 1], [0, 0]])
        return tf.nn.max_pool2d(padded, 3, 2, "VALID")

    before = network(stem, channels=64)
    after = with_pools(before)
    assert operations(after)["Pad"] == pads
    given = -np.abs(images(64))  # where the padding decides
    np.testing.assert_array_equal(run(after, given), run(before, given))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_map_of_integers_is_scaled_behind_its_pool(reduction):
    """The same sum of integers as with a map scaled before it is reduced."""
    rng = np.random.default_rng(1)

    def body(x):
        kernel = rng.normal(size=(1, 1, 16, CHANNELS)).astype(np.float32)
        kernel *= rng.uniform(0.1, 3, CHANNELS).astype(np.float32)  # channels of unlike size
        product = tf.nn.conv2d(x, kernel, 1, "SAME", name="layer4/conv")
        made = tf.nn.relu(tf.nn.bias_add(product, np.zeros(CHANNELS, np.float32)))
        parts = [made, *tf.split(made, 3, axis=1)]
        reduce = REDUCTIONS[reduction]
        return tf.concat([reduce(part, [1, 2], keepdims=True) for part in parts], axis=3)

    before = network(body, channels=16)
    given = np.abs(images(16, 8))
    results = []
    for graph_def in (before, with_pools(before)):
        units = units_in(graph_def)
        made = with_integers(graph_def, units, quantise(graph_def, units, given))
        assert operations(made)["QuantizedConv2DWithBiasAndReluAndRequantize"] == 1
        results.append((made, run(made, given)))
    (_, expected), (made, got) = results
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    (pool,) = (node for node in made.node if node.name.endswith("stripes/unscaled"))
    (dequantised,) = (node for node in made.node if node.name == pool.input[0])
    assert dequantised.op == "Dequantize"
