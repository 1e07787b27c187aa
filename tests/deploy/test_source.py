"""Images as a program normalises them, by the network's own mean and deviation."""

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.config.variants import MEAN, STD, VARIANTS
from mgn.deploy import source
from mgn.deploy.targets import TARGETS
from mgn.inference.exported import METADATA
from mgn.inference.graph import PLAIN
from mgn.system.errors import InputError
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")


def of(**options):
    description = checkpoints.describe(NetworkOptions(0, **options))
    return source.Source(None, tf.GraphDef(), NetworkOptions(0, **options), description)


@pytest.mark.parametrize("given", [source.RAW, (MEAN, STD)])
@pytest.mark.parametrize("variant", ["mgn-pytorch", "luperson"])
def test_whatever_was_normalised_before_is_undone_by_hand(given, variant):
    made = of(**VARIANTS[variant])
    grey = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3)).astype(np.float64)
    options = made.options
    wanted = (grey - options.mean) / options.std
    fed = np.float32((grey - given[0]) / given[1])
    with tf.Session() as session:
        got = session.run(source.normalised(made, tf.constant(fed), given))
    assert got == pytest.approx(wanted, abs=2e-5)


def test_the_networks_own_are_left_as_they_are():
    images = tf.constant(np.zeros((1, 2, 2, 3), np.float32))
    assert source.normalised(of(), images, (MEAN, STD)) is images


def test_rows_of_length_1_by_hand_and_zeros_stay():
    with tf.Session() as session:
        got = session.run(source.of_length_1(tf.constant([[3.0, 4.0], [0.0, 0.0]])))
    assert got == pytest.approx(np.float32([[0.6, 0.8], [0.0, 0.0]]))


def test_an_export_without_a_description_is_refused(small_graphs, tmp_path):
    graph_def = tf.GraphDef.FromString(small_graphs(PLAIN).read_bytes())
    nodes = [node for node in graph_def.node if node.name != METADATA]
    (tmp_path / "x.pb").write_bytes(tf.GraphDef(node=nodes).SerializeToString())
    with pytest.raises(InputError, match=r"x\.pb: has no description"):
        source.read(tmp_path / "x.pb")


def test_an_older_description_is_read(small_graphs, tmp_path):
    """Of before there were Winograd's convolutions."""
    graph_def = tf.GraphDef.FromString(small_graphs(PLAIN).read_bytes())
    (node,) = [node for node in graph_def.node if node.name == METADATA]
    described = json.loads(node.attr["value"].tensor.string_val[0])
    del described["winograd"]
    node.attr["value"].tensor.string_val[0] = json.dumps(described).encode()
    (tmp_path / "x.pb").write_bytes(graph_def.SerializeToString())
    assert source.read(tmp_path / "x.pb").description == described
    described["mean"] = [0.485, 0.456, 0.406]
    node.attr["value"].tensor.string_val[0] = json.dumps(described).encode()
    (tmp_path / "x.pb").write_bytes(graph_def.SerializeToString())
    with pytest.raises(InputError, match=r"x\.pb: damaged \(--mean 0\.485"):
        source.read(tmp_path / "x.pb")


def test_opencvs_sample_has_no_place_for_another_mean():
    with pytest.raises(InputError, match="use the target onnx"):
        TARGETS["opencv"].write(of(**VARIANTS["luperson"]), [], None)


def test_what_is_read(small_graphs):
    read = source.read(small_graphs(PLAIN))
    assert read.size == (96, 32) and read.dimensions == 2048
