"""Winograd's convolutions against plain ones of NumPy, and exports that have them."""

from collections import Counter
from contextlib import closing

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import relative, run

import export_pb
from mgn.export import description, folding
from mgn.inference import exported, load_embedder
from mgn.network import winograd
from mgn.system.session import new_session


def one_convolution(height, width, kernel, **options):
    """A frozen graph from x to `embedding`."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, height, width, kernel.shape[2]], name="x")
        y = tf.nn.conv2d(x, tf.constant(kernel), **{"strides": 1, "padding": "SAME", **options})
        tf.nn.relu(y, name="embedding")
    return graph.as_graph_def()


def by_numpy(x, kernel):
    """Nine products of shifted maps, float64."""
    padded = np.pad(x.astype(np.float64), [[0, 0], [1, 1], [1, 1], [0, 0]])
    _, height, width, _ = x.shape
    shifted = (
        (padded[:, i : i + height, j : j + width] @ kernel[i, j])
        for i in range(3)
        for j in range(3)
    )
    return np.maximum(sum(shifted), 0)


@pytest.mark.parametrize(
    ("height", "width"), [(24, 8), (12, 4), (6, 2), (5, 7)], ids=["whole", "smallest", "cut", "odd"]
)
def test_it_computes_the_convolution(height, width):
    """Maps of whole tiles, and others; one image, three and none through one graph."""
    rng = np.random.default_rng(height)
    kernel = rng.standard_normal((3, 3, 256, 16)).astype(np.float32) / 48
    made = folding.with_winograd(one_convolution(height, width, kernel))
    assert "Conv2D" not in {node.op for node in made.node}
    with exported.session_of(made, "", rewrite=False) as session:
        for images in (1, 3):
            x = rng.standard_normal((images, height, width, 256)).astype(np.float32)
            got, expected = session.run("embedding:0", {"x:0": x}), by_numpy(x, kernel)
            print(f"{height}x{width}, {images}: {relative(got, expected):.1e}")
            assert got.shape == expected.shape and relative(got, expected) <= 1e-5
        assert session.run("embedding:0", {"x:0": x[:0]}).shape == (0, height, width, 16)


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(tf.float32, 1e-5), (tf.bfloat16, 0.05), (tf.float16, 0.01)],
    ids=["float32", "bfloat16", "float16"],
)
@pytest.mark.parametrize(("height", "width"), [(8, 12), (6, 5)])
def test_result_and_gradients_are_those_of_the_plain_convolution(height, width, dtype, bound):
    """Of map and kernel, which here have another number of channels on each side."""
    rng = np.random.default_rng(0)
    images, upstream = (
        rng.standard_normal((3, height, width, channels)).astype(np.float32)
        for channels in (64, 32)
    )
    kernel, made = tf.constant(rng.standard_normal((3, 3, 64, 32)).astype(np.float32) / 24), []
    for convolve, kind in (
        (winograd.convolve, dtype),
        (lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), tf.float32),
    ):
        x = tf.constant(images)
        y = convolve(tf.cast(x, kind), kernel)
        assert y.dtype == kind
        given = tf.constant(upstream, kind)
        made.append([tf.cast(y, tf.float32), *tf.gradients(y, [x, kernel], given)])
    with new_session(tf.get_default_graph(), rewrite=False) as session:
        for name, got, expected in zip(
            ["result", "map", "kernel"], *session.run(made), strict=True
        ):
            print(f"{name}, {dtype.name}: {relative(got, expected):.1e}")
            assert got.dtype == np.float32 and relative(got, expected) <= bound


@pytest.mark.parametrize(
    ("size", "channels", "options"),
    [
        (1, 256, {}),
        (3, 64, {}),
        (3, 256, {"strides": 2}),
        (3, 256, {"dilations": 2}),
        (3, 256, {"padding": "VALID"}),
    ],
    ids=["1x1", "few", "stride", "dilated", "valid"],
)
def test_other_convolutions_stay(size, channels, options):
    given = one_convolution(8, 8, np.ones((size, size, channels, 4), np.float32), **options)
    made = folding.with_winograd(given)
    assert Counter(node.op for node in made.node) == Counter(node.op for node in given.node)


def expected_of(checkpoint):
    """Three images ready for the network, and the checkpoint's embeddings."""
    images = np.random.default_rng(0).standard_normal((3, 96, 32, 3)).astype(np.float32)
    with closing(load_embedder(checkpoint)) as source:
        return images, source.session.run("person_embedding:0", {"image_tensor:0": images})


def embed(graph_def, images):
    with exported.session_of(graph_def, "", rewrite=False) as session:
        return session.run("person_embedding:0", {"image_tensor:0": images})


def test_the_whole_network_embeds_as_its_checkpoint(small_graphs, small_checkpoint):
    made = exported.read_graph_def(small_graphs(winograd=True))
    kinds = Counter(node.op for node in made.node)
    assert kinds["Conv2D"] == 111 - 23  # 3 x 5 of 256 channels, 2 + 3 + 3 of 512
    assert not kinds.keys() & {"StridedSlice", "Shape", "Pack"}
    images, source = expected_of(small_checkpoint)
    got = embed(made, images)
    print(f"float32: {relative(got, source):.1e}")
    assert relative(got, source) <= 1e-5


@pytest.mark.usefixtures("shallow_here")
def test_the_script_makes_it_in_a_smaller_type_and_the_file_says_so(
    shallow_checkpoint, tmp_path, capsys
):
    path = tmp_path / "x.pb"
    arguments = ["--checkpoint", shallow_checkpoint, "--pb_path", path, "--precision", "bfloat16"]
    assert run(export_pb, *arguments, "--winograd") == 0
    said = description.describe(path)
    assert said.description["winograd"] and "bfloat16, Winograd" in description.as_text(said)
    images, source = expected_of(shallow_checkpoint)
    got = embed(exported.read_graph_def(path), images)
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(source, axis=1)
    cosine = ((got * source).sum(axis=1) / lengths).min()
    print(f"bfloat16: cosine {cosine:.5f}; {capsys.readouterr().out}")
    assert 0.999 <= cosine < 1 - 1e-6  # 1: it was float32
