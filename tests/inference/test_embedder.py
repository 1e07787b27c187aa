"""Frozen graphs that others made: without our description, but with the contract's names."""

import json

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import relative, run, seeded_variables

import evaluate
from mgn import weights
from mgn.inference.embedder import open_exported
from mgn.inference.exported import read_graph_def, session_of
from mgn.network import mgn
from mgn.system.session import new_session


def freeze(path, arrays, build, output):
    """Write the constants and operations that `output` needs, as TensorFlow 1's exporters did."""
    with tf.Graph().as_default() as graph, new_session(graph, rewrite=False) as session:
        build(tf.placeholder(tf.float32, [None, None, None, 3], name="image_tensor"))
        weights.assign(session, arrays)
        frozen = tf.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [output]
        )
    path.write_bytes(frozen.SerializeToString())


def as_mgn_reid_did(images):
    """Its preprocessing (TensorFlow's old bilinear), both halves of one batch, its names."""
    resized = tf.identity(tf.image.resize_images(images, [384, 128]), "resize_image")
    normal = tf.div(resized / 255 - [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], name="image_norm")
    whole = tf.concat([normal, tf.image.flip_left_right(normal)], 0)
    both = mgn(whole, 10, False, reduction="prelu").embedding
    both = tf.identity(both, "person_embedding")
    count = tf.shape(both)[0] // 2
    original = tf.identity(both[:count, :], "original_embedding")
    total = original + tf.identity(both[count:, :], "flip_embedding")
    return tf.div(
        total, tf.norm(total, keepdims=True, axis=1, name="embedding_norm"), name="result_embedding"
    )


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    path = tmp_path_factory.mktemp("theirs") / "model_pre_and_post.pb"
    freeze(path, seeded_variables("lwplw_prelu", 10), as_mgn_reid_did, "result_embedding")
    return path


def test_mgn_reids_graph_with_pre_and_post_embeds_as_it_is(theirs, dataset, tmp_path):
    graph_def = read_graph_def(theirs)
    assert not [node.name for node in graph_def.node if "metadata" in node.name]
    path = dataset / "query" / "0009_c1s1_000000_00.jpg"
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    with session_of(graph_def, theirs, rewrite=False) as session:
        expected = session.run("result_embedding:0", {"image_tensor:0": image[None]})
        plain = session.run("original_embedding:0", {"image_tensor:0": image[None]})
    embed = open_exported(theirs, rewrite=False)
    assert relative(embed([image]), expected) <= 1e-6
    assert relative(embed.original([image]), plain) <= 1e-6
    for name, folder in (("query", "query"), ("gallery", "bounding_box_test")):
        rows = [
            f"{dataset}/{folder}/00{p:02}_c{c}s1_000000_00.jpg,{p},{c}"
            for p in (9, 10)
            for c in (1, 2)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,person,camera", *rows]))
    assert (
        run(evaluate, "--dataset", tmp_path, "--model", theirs, "--output_dir", tmp_path / "scores")
        == 0
    )
    told = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert told["queries"] == 4 and 0 < told["mAP"] <= 1


def test_its_plain_graph_of_any_size_gets_our_preprocessing(tmp_path):
    def build(images):
        tf.identity(mgn(images, 10, False, reduction="prelu").embedding, "person_embedding")

    arrays = seeded_variables("lwplw_prelu", 10)
    freeze(tmp_path / "model.pb", arrays, build, "person_embedding")
    image = np.random.default_rng(0).integers(0, 256, (384, 128, 3), np.uint8)
    with session_of(read_graph_def(tmp_path / "model.pb"), "", rewrite=False) as session:
        normal = (image / np.float32(255) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        expected = session.run("person_embedding:0", {"image_tensor:0": normal[None]})
    assert (
        relative(open_exported(tmp_path / "model.pb", rewrite=False).original([image]), expected)
        <= 1e-5
    )
