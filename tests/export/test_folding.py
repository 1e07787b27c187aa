"""Folding against its definition, by channel; smaller types; the same bytes each time."""

import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
from conftest import fast_reid, relative, write_checkpoint
from tensorflow.python.framework import tensor_util

from mgn import weights
from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.export import folding, freezing
from mgn.export.comparison import compare
from mgn.export.description import describe
from mgn.inference import exported, load_embedder
from mgn.inference.graph import PLAIN, PRE_POST
from mgn.network.architecture import DTYPES
from mgn.system.errors import CheckError
from mgn.weights import checkpoints

LEAVES = ("weight", "bias", "running_mean", "running_var")


def constants(graph_def):
    values = (node for node in graph_def.node if node.op == "Const")
    return {node.name: tensor_util.MakeNdarray(node.attr["value"].tensor) for node in values}


@pytest.fixture(scope="module")
def folded(small_checkpoint):
    with closing(load_embedder(small_checkpoint)) as source:
        return folding.frozen_network(source.session, "float32")


def test_kernels_and_biases_are_what_the_definition_says(folded, small_arrays):
    found = constants(folded)
    for convolution, norm in (
        ("p2/layer4/0/conv2", "p2/layer4/0/bn2"),
        ("backbone/conv1", "backbone/bn1"),
        ("p1/layer4/0/downsample/0", "p1/layer4/0/downsample/1"),
        ("reduction_6/0", "reduction_6/1"),
    ):
        weight, bias, mean, variance = (
            small_arrays[f"{norm}/{leaf}"].astype(np.float64)
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + 1e-5)
        kernel = (small_arrays[f"{convolution}/weight"] * scale).astype(np.float32)
        assert relative(found[f"{convolution}/weight"], kernel) <= 1e-7
        assert relative(found[f"{convolution}/Conv2D/bias"], bias - mean * scale) <= 1e-6


def test_nothing_is_left_but_convolutions_and_biases(folded):
    kinds = Counter(node.op for node in folded.node)
    assert kinds["Conv2D"] == kinds["BiasAdd"] == 111 and kinds["Const"] == 238
    assert not kinds.keys() & {"FusedBatchNormV3", "StridedSlice", "Switch", "ReadVariableOp"}
    assert kinds["Identity"] == 1  # the name of the output


@pytest.fixture(scope="module", params=["v0.1.1", "LUPerson"])
def of_variant(request, tmp_path_factory):
    """A seeded checkpoint of a variant, and its values by variable."""
    variant = {"v0.1.1": "fastreid-v0.1", "LUPerson": "luperson"}[request.param]
    options = NetworkOptions(0, height=96, width=32, variant=variant, **VARIANTS[variant])
    prefix = tmp_path_factory.mktemp("variant") / variant
    arrays = weights.from_pytorch(fast_reid(request.param))
    write_checkpoint(prefix, arrays, options)
    return prefix, arrays


def test_what_folds_of_a_variant_and_what_does_not(of_variant):
    """IBN-a's second half goes into its convolution; a batch norm behind a ReLU does not."""
    prefix, arrays = of_variant
    with closing(load_embedder(checkpoints.find(prefix))) as source:
        found = constants(folding.frozen_network(source.session, "float32"))
    norms = {name.removesuffix("/running_var") for name in arrays if name.endswith("running_var")}
    values = {
        norm: [arrays[f"{norm}/{leaf}"].astype(np.float64) for leaf in LEAVES] for norm in norms
    }
    folded = {}
    for norm, (weight, bias, mean, variance) in values.items():
        scale = weight / np.sqrt(variance + 1e-5)
        folded[norm] = scale, bias - mean * scale
    unfolded = {norm for norm in norms if "extra_bn" in norm or "neck" in norm}
    for norm in unfolded:
        name = f"{norm}/FusedBatchNormV3"
        assert relative(found[f"{name}/scale"], folded[norm][0]) <= 1e-6
        assert relative(found[f"{name}/bias"], folded[norm][1]) <= 1e-6
    assert len(unfolded) == (8 if "fastreid" in prefix.name else 3)
    halves = [norm for norm in norms if norm.endswith("/BN")]
    assert len(halves) == (23 if "fastreid" in prefix.name else 0)  # 3 + 4 + 1 + 3 × 5 blocks
    for norm in halves:
        convolution = norm.replace("bn1/BN", "conv1")
        kernel, made = arrays[f"{convolution}/weight"], found[f"{convolution}/weight"]
        half = kernel.shape[-1] // 2
        assert np.array_equal(made[..., :half], kernel[..., :half])
        assert relative(made[..., half:], kernel[..., half:] * folded[norm][0]) <= 1e-6
        bias = found[f"{convolution}/Conv2D/bias"]
        assert not bias[:half].any() and relative(bias[half:], folded[norm][1]) <= 1e-6


@pytest.fixture(scope="module", params=["fastreid-v0.1", "luperson"])
def shallow_variant(request, tmp_path_factory):
    """A checkpoint of a small network of a variant."""
    options = NetworkOptions(
        0, height=96, width=32, variant=request.param, **VARIANTS[request.param]
    )
    prefix = tmp_path_factory.mktemp("shallow") / request.param
    with shallow.patched():
        write_checkpoint(prefix, shallow.arrays(options), options)
    return prefix


@pytest.mark.usefixtures("shallow_here")
@pytest.mark.parametrize(
    "options",
    [(PLAIN, "float32", "float32"), (PLAIN, "float32", "float16"), (PRE_POST, "uint8", "bfloat16")],
    ids=lambda options: "-".join(map(str, options)),
)
def test_exports_of_a_variant_are_its_checkpoint(shallow_variant, tmp_path, options):
    prefix = shallow_variant
    found = freezing.export_pb(prefix, tmp_path / "x.pb", *options)
    print(f"{prefix.name}, {options}: {found}")
    about = describe(tmp_path / "x.pb")
    assert about.description["variant"] == prefix.name
    graph_def = exported.read_graph_def(tmp_path / "x.pb")
    exact = [n for n in graph_def.node if "/gem" in n.name and n.op == "Exp"]
    assert len(exact) == 16 and all(n.attr["T"].type == tf.float32.as_datatype_enum for n in exact)
    assert not any(node.op == "FusedBatchNormV3" for node in graph_def.node)


def test_a_batch_norm_that_feeds_two_and_a_kernel_of_its_own():
    """A network of two layers, small enough to compute by hand."""
    rng = np.random.default_rng(0)
    kernels = rng.standard_normal((2, 1, 1, 3, 3)).astype(np.float32)
    statistics = rng.uniform(0.5, 2, (2, 4, 3)).astype(np.float32)  # weight, bias, mean, variance
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 2, 2, 3], name="images")
        for kernel, (weight, bias, mean, variance) in zip(kernels, statistics, strict=True):
            y = tf.nn.conv2d(x, tf.constant(kernel), 1, "SAME")
            y = tf.nn.fused_batch_norm(y, weight, bias, mean, variance, 1e-3, is_training=False)[0]
            x = tf.nn.relu(y) + y
        tf.identity(x, "embedding")
        given = rng.standard_normal((1, 2, 2, 3)).astype(np.float32)
        expected = session.run("embedding:0", {"images:0": given})
        made = folding.fold_batch_norms(graph.as_graph_def())
    with exported.session_of(made, "folded", rewrite=False) as session:
        assert relative(session.run("embedding:0", {"images:0": given}), expected) <= 1e-6
    by_hand = given
    for kernel, (weight, bias, mean, variance) in zip(
        kernels, statistics.astype(np.float64), strict=True
    ):
        y = (by_hand @ kernel[0, 0] - mean) / np.sqrt(variance + 1e-3) * weight + bias
        by_hand = np.maximum(y, 0) + y
    assert relative(expected, by_hand) <= 1e-6


@pytest.mark.usefixtures("shallow_here")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_smaller_types_are_half_as_large_and_near(shallow_checkpoint, tmp_path, precision):
    found = freezing.export_pb(shallow_checkpoint, tmp_path / "x.pb", PLAIN, precision=precision)
    print(f"{precision}: {found}")
    assert found.cosine >= 0.999 and 1e-5 < found.difference < 0.05 and found.distance_change < 0.05
    graph_def = exported.read_graph_def(tmp_path / "x.pb")
    weights = sum(array.size for array in shallow.arrays(NetworkOptions(10)).values())
    assert (tmp_path / "x.pb").stat().st_size == pytest.approx(2 * weights, rel=0.03)
    assert exported.metadata_of(graph_def.node)["precision"] == precision
    kind = DTYPES[precision].as_datatype_enum
    assert {n.attr["T"].type for n in graph_def.node if n.op in ("Conv2D", "BiasAdd", "Relu")} == {
        kind
    }
    with exported.session_of(graph_def, "", rewrite=False) as session:
        tensors = [
            session.graph.get_tensor_by_name(f"{n}:0") for n in ("image_tensor", "person_embedding")
        ]
        assert [tensor.dtype for tensor in tensors] == [tf.float32, tf.float32]


@pytest.mark.usefixtures("shallow_here")
def test_a_smaller_type_that_is_too_far_is_not_kept(shallow_checkpoint, tmp_path, monkeypatch):
    honest = folding.in_type

    def blunted(graph_def, dtype):
        made = honest(graph_def, dtype)
        for node in made.node:
            if node.op == "Const" and node.name.endswith("/0/weight") and "reduction_" in node.name:
                value = tensor_util.MakeNdarray(node.attr["value"].tensor).astype(np.float32)
                rounded = np.sign(value).astype(dtype.as_numpy_dtype)
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(rounded, dtype))
        return made

    monkeypatch.setattr(folding, "in_type", blunted)
    with pytest.raises(
        CheckError, match=r"have cosine 0\.\d+, less than 0\.999; nothing was written"
    ):
        freezing.export_pb(shallow_checkpoint, tmp_path / "x.pb", PLAIN, precision="bfloat16")
    assert list(tmp_path.iterdir()) == []


class Given:
    """Embeddings made up, as a model's."""

    def __init__(self, change):
        self.change = change

    def original(self, images):
        rows = [np.linspace(1, 2, 2048) * (1 + i) for i, _ in enumerate(images)]
        return self.change(np.array(rows, np.float32))

    def __call__(self, images):
        rows = self.original(images)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_what_a_comparison_says():
    same = Given(lambda rows: rows)
    found = compare(same, Given(lambda rows: rows), "x")
    assert (found.difference, found.distance_change) == (0, 0) and found.cosine == pytest.approx(1)
    found = compare(same, Given(lambda rows: rows * np.float32(1.001)), "x", exact=False)
    assert found.difference == pytest.approx(1e-3, rel=1e-2) and found.distance_change < 1e-6

    def spoilt_in_batches(rows):
        return rows * np.float32(np.nan if len(rows) > 1 else 1)

    def spoilt(rows):
        return rows * np.float32(np.nan)

    for change in (lambda rows: rows * np.float32(1.001), spoilt, spoilt_in_batches):
        with pytest.raises(CheckError, match="differs by"):
            compare(same, Given(change), "x")
    for change in (lambda rows: rows[:, ::-1], spoilt, spoilt_in_batches):
        with pytest.raises(CheckError, match="have cosine"):
            compare(same, Given(change), "x", exact=False)


SAME_BYTES = """
import sys
import pytest, shallow
from mgn.export import freezing
from mgn.weights import checkpoints
shallow.patch(pytest.MonkeyPatch())
checkpoint = checkpoints.find(sys.argv[1])
made = freezing.freeze(checkpoint, sys.argv[2], "jpeg", "bfloat16", winograd=True)
assert len(made.library.function) > 0  # of decoding
assert any("/winograd/" in node.name for node in made.node)
open(sys.argv[3], "wb").write(made.SerializeToString(deterministic=True))
"""


def test_the_same_bytes_from_two_fresh_processes(shallow_checkpoint, tmp_path):
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "tests")])
    command = [sys.executable, "-c", SAME_BYTES, shallow_checkpoint, PRE_POST]
    environment = {**os.environ, "PYTHONPATH": path}
    started = [
        subprocess.Popen([*command, tmp_path / name], env=environment) for name in ("a", "b")
    ]
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_source_is_another_graph_than_what_is_compared(small_checkpoint):
    with load_embedder(small_checkpoint).session as session:
        assert len(session.graph.get_operations()) > 1000
