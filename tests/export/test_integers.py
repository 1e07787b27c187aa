"""Small networks in eight bits, against whole numbers multiplied and added one by one."""

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mgn.export import folding, integers
from mgn.export.quantising import quantise
from mgn.export.units import units_in
from mgn.inference.graph import NETWORK_INPUT, NETWORK_OUTPUT
from mgn.system.session import new_session

HEIGHT, WIDTH, CHANNELS = 6, 4, 16


def convolved(x, rng, name, channels, size=1, stride=1):
    """A convolution with PyTorch's padding and a bias, under the name of a block's."""
    kernel = rng.normal(size=(size, size, x.shape[-1], channels)) * 0.3
    if stride > 1 and size > 1:
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    padding = "VALID" if stride > 1 else "SAME"
    product = tf.nn.conv2d(x, kernel.astype(np.float32), stride, padding, name=f"layer1/{name}")
    return tf.nn.bias_add(product, rng.normal(size=channels).astype(np.float32))


def block(x, rng, name, stride=1, channels=CHANNELS):
    """A residual block, whose shortcut has a convolution where the map changes."""
    shortcut = x
    if stride > 1:
        shortcut = convolved(x, rng, f"{name}/downsample", channels, 1, stride)
    x = tf.nn.relu(convolved(x, rng, f"{name}/conv1", channels // 2))
    x = tf.nn.relu(convolved(x, rng, f"{name}/conv2", channels // 2, 3, stride))
    return tf.nn.relu(convolved(x, rng, f"{name}/conv3", channels) + shortcut)


def chain(x, rng):
    """Two blocks after each other; the first halves the map."""
    return block(block(x, rng, "0", 2, 2 * CHANNELS), rng, "1", channels=2 * CHANNELS)


def fork(x, rng):
    """A map with a sum in each of three branches, and a fourth reader."""
    x = block(x, rng, "0", 2)
    branches = [block(x, rng, name) for name in "123"]
    return tf.concat([*branches, tf.reduce_max(x, axis=[1, 2], keepdims=True) + branches[0]], 3)


def network(body):
    """The GraphDef of a body, from `images` of 0 and more to `embedding`, and images for it."""
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        shape = [None, HEIGHT, WIDTH, CHANNELS]
        made = body(tf.placeholder(tf.float32, shape, name=NETWORK_INPUT), rng)
        tf.identity(made, name=NETWORK_OUTPUT)
    # Channels of unlike size, as in trained networks.
    images = rng.random((40, *shape[1:])) * rng.uniform(0.2, 3, CHANNELS)
    return graph.as_graph_def(), images.astype(np.float32)


def run(graph_def, images, rewrite=True):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    with new_session(graph, rewrite) as session:
        return session.run(f"{NETWORK_OUTPUT}:0", {f"{NETWORK_INPUT}:0": images})


def by_hand(units, quantised, images):
    """Every unit's map in whole numbers, [H, W, C], of one image."""
    tensors = quantised.tensors
    first = tensors[NETWORK_INPUT]
    whole = {NETWORK_INPUT: np.rint(images / first.scale / first.largest * 255)}
    for unit in units:
        kernel = quantised.kernels[unit.name]
        result = tensors[unit.result]
        top, bottom, left, right = unit.zeros
        if unit.padding == "SAME":
            top = bottom = left = right = unit.kernel.shape[0] // 2
        x = np.pad(whole[unit.given], [(top, bottom), (left, right), (0, 0)]).astype(int)
        size, stride = unit.kernel.shape[0], unit.strides[1]
        rows = range(0, x.shape[0] - size + 1, stride)
        columns = range(0, x.shape[1] - size + 1, stride)
        total = np.zeros((len(rows), len(columns), len(kernel.bias)))
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                window = x[top : top + size, left : left + size, :, None]
                total[i, j] = (window * kernel.values.astype(int)).sum(axis=(0, 1, 2))
        step = tensors[unit.given].largest / 255 * kernel.largest / 127
        value = total * step + kernel.bias
        if unit.summand:
            value += whole[unit.summand] * (tensors[unit.summand].largest / 255)
        whole[unit.result] = np.clip(np.rint(value / result.largest * 255), 0, 255)
    return whole


@pytest.mark.parametrize("rewrite", [True, False])
def test_a_network_computes_what_whole_numbers_by_hand_give(rewrite):
    graph_def, images = network(chain)
    units = units_in(graph_def)
    quantised = quantise(graph_def, units, images)
    got = run(integers.with_integers(graph_def, units, quantised), images[:3], rewrite)
    last = units[-1].result
    about = quantised.tensors[last]
    for image, values in zip(images[:3], got, strict=True):
        whole = by_hand(units, quantised, image)
        steps = values / about.scale / about.largest * 255
        # A sum at the middle of two numbers may be rounded to either, and is added up from there.
        difference = np.abs(steps - whole[last])
        assert difference.max() < 1.01
        assert (difference > 0.01).mean() < 0.01
        assert whole[last].max() > 140  # not cut off at half of the range


def test_sums_are_as_large_as_their_range():
    """TensorFlow's kernel for a signed summand cuts results off at 127 of 255."""
    graph_def, images = network(chain)
    units = units_in(graph_def)
    shortcuts = [unit for unit in units if not unit.relu]
    assert len(shortcuts) == 1
    quantised = quantise(graph_def, units, images)
    assert quantised.tensors[shortcuts[0].result].offset.max() > 0.5
    made = integers.with_integers(graph_def, units, quantised)
    assert not [node for node in made.node if "Signed" in node.op]
    expected, got = run(graph_def, images), run(made, images)
    largest = expected > 0.6 * expected.max()
    assert largest.sum() > 10
    assert np.abs(got - expected)[largest].max() < 0.06 * expected.max()


@pytest.mark.parametrize("rewrite", [True, False])
def test_three_sums_of_one_map_have_copies_of_their_own(rewrite):
    graph_def, images = network(fork)
    units = units_in(graph_def)
    made = integers.with_integers(graph_def, units, quantise(graph_def, units, images))
    copies = [node for node in made.node if node.op == "QuantizedMaxPool"]
    assert len(copies) == 3
    assert integers.shared_summands(made) == []
    # A process in which a copy was merged away ends by a signal.
    expected = run(graph_def, images)
    for _ in range(20):
        got = run(made, images, rewrite)
        assert np.abs(got - expected).max() < 0.06 * expected.max()


def test_a_summand_with_another_reader_is_found():
    graph_def, images = network(fork)
    units = units_in(graph_def)
    made = integers.with_integers(graph_def, units, quantise(graph_def, units, images))
    copies = {node.name: node.input[0] for node in made.node if node.op == "QuantizedMaxPool"}
    for node in made.node:
        node.input[:] = [copies.get(name, name) for name in node.input]
    assert integers.shared_summands(made) == [next(iter(copies.values()))]


def test_one_sum_before_another_reader_is_found():
    """Not only several sums: a reader that a sum does not wait for may come after it."""

    def body(x, rng):
        x = block(x, rng, "0", 2)
        return tf.concat([block(x, rng, "1"), x], 3)

    graph_def, images = network(body)
    units = units_in(graph_def)
    made = integers.with_integers(graph_def, units, quantise(graph_def, units, images))
    assert [node.op for node in made.node].count("QuantizedMaxPool") == 1
    expected = run(graph_def, images)
    assert np.abs(run(made, images) - expected).max() < 0.06 * expected.max()


@pytest.mark.parametrize("unit", [1e-5, 1e5])
def test_small_and_large_maps_come_as_close(unit):
    """TensorFlow's QuantizeV2 widens a range below 0.01, if it is not told to leave it."""
    graph_def, images = network(chain)
    units = units_in(graph_def)
    scaled = tf.GraphDef.FromString(graph_def.SerializeToString())
    for node in scaled.node:
        if node.name in [taking.constants[0] for taking in units if taking.given == NETWORK_INPUT]:
            kernel = folding.value_of(node) / unit
            node.CopyFrom(folding.constant(node.name, kernel))
    errors = []
    for given, factor in ((graph_def, 1), (scaled, unit)):
        found = units_in(given)
        quantised = quantise(given, found, images * np.float32(factor))
        made = integers.with_integers(given, found, quantised)
        error = run(made, images * np.float32(factor)) - run(graph_def, images)
        errors.append(np.square(error).mean())
    assert errors[1] == pytest.approx(errors[0], rel=0.01)


def test_all_kept_in_float_is_the_network_itself():
    graph_def, images = network(fork)
    units = units_in(graph_def)
    quantised = quantise(graph_def, units, images, keep_float=len(units))
    assert not quantised.kernels
    made = integers.with_integers(graph_def, units, quantised)
    np.testing.assert_array_equal(run(made, images, False), run(graph_def, images, False))


@pytest.mark.parametrize("keep", [1, 3, 7])
def test_some_kept_in_float_come_closer(keep):
    """Between float32 and whole numbers, maps of both kinds go in and out."""
    graph_def, images = network(chain)
    units = units_in(graph_def)
    expected = run(graph_def, images)

    def error(keep_float):
        quantised = quantise(graph_def, units, images, keep_float)
        assert len(quantised.kernels) == len(units) - keep_float
        made = integers.with_integers(graph_def, units, quantised)
        return np.square(run(made, images) - expected).mean()

    assert error(keep) < error(0)


def test_batch_norm_and_pads_of_the_network_belong_to_units():
    graph_def, _ = network(chain)
    units = units_in(graph_def)
    names = [unit.name.removeprefix("layer1/") for unit in units]
    assert sorted(names[:4]) == ["0/conv1", "0/conv2", "0/conv3", "0/downsample"]
    assert names[4:] == ["1/conv1", "1/conv2", "1/conv3"]
    halving = next(unit for unit in units if unit.name == "layer1/0/conv2")
    assert (halving.zeros, halving.strides, halving.padding) == (
        (1, 1, 1, 1),
        (1, 2, 2, 1),
        "VALID",
    )
    kinds = [node.op for node in graph_def.node if node.name in halving.nodes]
    assert sorted(kinds) == ["BiasAdd", "Conv2D", "Pad", "Relu"]
    assert math.prod(halving.kernel.shape) == 9 * 16 * 16
    assert folding.value_of(next(n for n in graph_def.node if n.name == halving.constants[1])).shape
