"""A network with its roundings written down, against TensorFlow's integer convolutions.

Those are compared with whole numbers by hand in tests/export/test_integers.py.
"""

from collections import Counter
from contextlib import closing

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mgn.data.demo import draw_image
from mgn.deploy import source
from mgn.deploy.fake_quantised import fake_quantised
from mgn.export.integers import with_integers
from mgn.export.quantising import quantise
from mgn.export.units import units_in
from mgn.inference.embedder import load_embedder
from mgn.inference.graph import NETWORK_INPUT, NETWORK_OUTPUT, PLAIN
from mgn.system.session import new_graph, new_session

pytestmark = pytest.mark.usefixtures("shallow_network")
KERNEL, MAP = "FakeQuantWithMinMaxVarsPerChannel", "FakeQuantWithMinMaxVars"


def run(graph_def, images):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    with new_session(graph, rewrite=False) as session:
        return session.run(f"{NETWORK_OUTPUT}:0", {f"{NETWORK_INPUT}:0": images})


@pytest.fixture(scope="module")
def prepared(small_graphs):
    """Drawn pedestrians as the network takes them."""
    drawn = [cv2.resize(draw_image(0, person, 1, 0), (32, 96)) for person in range(1, 25)]
    with closing(load_embedder(small_graphs(PLAIN))) as embed:
        return np.stack(embed.prepare(drawn))


def test_the_same_numbers_as_tensorflows_kernels(small_graphs, prepared):
    exported = source.read(small_graphs(PLAIN))
    made, kept = fake_quantised(exported, prepared)
    assert kept == []
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, 96, 32, 3], name=NETWORK_INPUT)
        tf.identity(source.network(exported, images), name=NETWORK_OUTPUT)
    plain = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [NETWORK_OUTPUT])
    units = units_in(plain)
    integers = with_integers(plain, units, quantise(plain, units, prepared))
    rounded, whole, exact = (run(g, prepared) for g in (made, integers, plain))
    lengths = np.linalg.norm(rounded, axis=1) * np.linalg.norm(whole, axis=1)
    least = ((rounded * whole).sum(axis=1) / lengths).min()
    print(f"least cosine with TensorFlow's {least:.6f}")
    # Where a sum is at the middle of two numbers, one may be rounded up and the other down.
    assert least > 0.9999
    error = np.abs(exact - whole).max()
    assert 1e-4 * np.abs(exact).max() < error  # rounding is seen, and both have the same
    assert np.abs(rounded - whole).max() < 0.5 * error


def test_every_kernel_and_map_of_a_block_is_rounded(small_graphs, prepared):
    exported = source.read(small_graphs(PLAIN))
    made, _ = fake_quantised(exported, prepared)
    counted = Counter(node.op for node in made.node)
    heads = 8
    assert counted["Conv2D"] == counted[KERNEL] + 1 + heads
    assert counted[MAP] == counted[KERNEL] + 1  # and what the first block takes
    some, kept = fake_quantised(exported, prepared, keep_float=3)
    left = Counter(node.op for node in some.node)
    assert left[KERNEL] == counted[KERNEL] - 3 and len(kept) == 3
    assert left["Conv2D"] == counted["Conv2D"]
    names = {node.name for node in some.node if node.op == "Conv2D"}
    assert names.issuperset(kept)
