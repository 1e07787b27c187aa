"""The network against MGN-pytorch's outputs; names, counts and no dead operation."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import torch
from conftest import REFERENCE, fast_reid, relative, seeded_variables

from mgn import network, weights
from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.data.images import normalise
from mgn.network import architecture, layers
from mgn.network.architecture import Mode, backbone, branch, inference_network
from mgn.system.session import new_session
from mgn.weights.naming import mgn_pytorch_key
from mgn.weights.variables import variable_shapes


@pytest.mark.parametrize(
    ("keys", "pool", "reduction", "expected"),
    [
        ("seathiefwang", "avg", "relu", "forward_seathiefwang_avg"),
        ("seathiefwang", "max", "relu", "forward_seathiefwang_max"),
        ("lwplw_prelu", "avg", "prelu", "forward_lwplw_prelu_avg"),
    ],
)
def test_forward_is_mgn_pytorchs(keys, pool, reduction, expected):
    arrays = seeded_variables(keys)
    noise = (
        np.random.RandomState(7)
        .standard_normal((2, 3, 384, 128))
        .astype(np.float32)
        .transpose(0, 2, 3, 1)
    )
    images = tf.placeholder(tf.float32, [None, 384, 128, 3])
    outputs = network.mgn(images, 751, False, pool=pool, reduction=reduction)
    with new_session(images.graph, rewrite=False) as session:
        operations = len(session.graph.get_operations())
        weights.assign(session, arrays)
        assert len(session.graph.get_operations()) == operations  # weights arrive by feed alone
        embedding, features, logits = session.run(list(outputs), {images: noise})
        flipped = session.run(outputs.embedding, {images: noise[:, :, ::-1]})
    stored = np.load(REFERENCE / f"{expected}.npz")
    result = embedding + flipped
    result /= np.linalg.norm(result, axis=1, keepdims=True)
    differences = {
        "embedding": relative(embedding, stored["embedding"]),
        "flipped": relative(flipped, stored["flipped_embedding"]),
        "result": relative(result, stored["result_embedding"]),
        "logits": relative(logits, stored["logits"]),
    }
    print(f"{expected}: {differences}")
    assert max(differences.values()) <= 1e-5
    assert np.array_equal(np.concatenate(features, axis=1), embedding)


@pytest.mark.parametrize(
    ("reduction", "count", "values"), [("relu", 571, 70_484_792), ("prelu", 579, 70_486_840)]
)
def test_variables(reduction, count, values):
    """Values: every variable of `keys_*.txt` (running statistics included, counters not)."""
    shapes = variable_shapes(NetworkOptions(751, reduction=reduction))
    keys = REFERENCE / f"keys_{'seathiefwang' if reduction == 'relu' else 'lwplw_prelu'}.txt"
    listed = dict(line.split("\t") for line in keys.read_text().splitlines())
    wanted = {key for key in listed if not key.endswith("num_batches_tracked")}
    assert {mgn_pytorch_key(name) for name in shapes} == wanted
    assert len(shapes) == count
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == values


FAST_REID = {  # version of the weights: its outputs, variant
    "v0.1.1": ("v0.1.1", "fastreid-v0.1"),
    "ea06ead": ("HEAD", "fastreid-v1.0"),  # run with padding 0, v1.0.0 gave HEAD's very bytes
    "HEAD": ("HEAD", "fastreid"),
    "LUPerson": ("LUPerson", "luperson"),
}
OTHERS = {  # negative controls: what is otherwise than in the variant
    "stem_padding": lambda o: dataclasses.replace(o, stem_padding=1 - o.stem_padding),
    "p1_stride": lambda o: dataclasses.replace(o, p1_stride=2),
    "ReLU": lambda o: dataclasses.replace(o, reduction="relu"),
    "mean and std": lambda o: dataclasses.replace(o, mean=o.std, std=o.mean),
}


@pytest.mark.parametrize("version", FAST_REID)
def test_forward_is_fast_reids_and_no_other_variants(version):
    """Their images, embedding and trunk; each wrong variant moves the embedding by far more."""
    outputs, variant = FAST_REID[version]
    stored = np.load(REFERENCE / f"forward_fastreid_{outputs}.npz")
    options = NetworkOptions(0, **VARIANTS[variant])
    wrong = {name: change(options) for name, change in OTHERS.items()}
    if options.reduction == "neck":
        del wrong["ReLU"]  # without its batch norm it would be another set of variables
    if version == "ea06ead":  # as HEAD
        wrong = {"p1_stride": wrong["p1_stride"]}
    given = tf.placeholder(tf.float32, [None, 384, 128, 3])
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        trunk = backbone(
            images_of(given, options), Mode(False, ibn=options.ibn), options.stem_padding
        )
        right = inference_network(images_of(given, options), options).embedding
        made = {
            name: inference_network(images_of(given, o), o).embedding for name, o in wrong.items()
        }
        if options.ibn:
            with pytest.MonkeyPatch.context() as patches:
                patches.setattr(architecture, "instance_batch_norm", other_half_instance_norm)
                exchanged = inference_network(images_of(given, options), options).embedding
                made["halves of IBN-a"] = exchanged
    arrays = weights.from_pytorch(fast_reid(version))
    pictures = stored["pictures"].transpose(0, 2, 3, 1)
    with new_session(given.graph, rewrite=False) as session:
        weights.assign(session, arrays)
        got, maps, others = session.run([right, trunk, made], {given: pictures})
        if options.pool == "gem":
            first = arrays["reduction_0/gem/p"]
            one_power = {n: first if n.endswith("gem/p") else v for n, v in arrays.items()}
            weights.assign(session, one_power)
            others["one power"] = session.run(right, {given: pictures})
    differences = {name: relative(other, stored["embedding"]) for name, other in others.items()}
    found = relative(got, stored["embedding"])
    in_trunk = relative(maps[:, ::4, ::4].transpose(0, 3, 1, 2), stored["trunk"])
    print(f"{variant}: embedding {found:.1e}, trunk {in_trunk:.1e}; others {differences}")
    assert max(found, in_trunk) <= 1e-5
    assert min(differences.values()) > 1e-3


def images_of(given, options):
    return normalise(given, options.mean, options.std)


def other_half_instance_norm(x, name, training, synchronised):
    """IBN-a with its halves exchanged."""
    with tf.variable_scope(name):
        first, second = tf.split(x, 2, axis=3)
        first = layers.batch_norm(first, "BN", training, synchronised=synchronised)
        return tf.concat([first, layers.instance_norm(second, "IN")], axis=3)


def test_names_that_checkpoints_rely_on():
    shapes = variable_shapes(NetworkOptions(10, reduction="prelu"))
    assert shapes["backbone/conv1/weight"] == (7, 7, 3, 64)
    assert shapes["backbone/layer1/0/downsample/0/weight"] == (1, 1, 64, 256)
    assert shapes["backbone/layer3/0/bn2/running_var"] == (256,)
    assert shapes["p2/layer3/1/conv1/weight"] == (1, 1, 1024, 256)
    assert shapes["p3/layer4/2/conv3/weight"] == (1, 1, 512, 2048)
    assert shapes["reduction_4/0/weight"] == (1, 1, 2048, 256)
    assert shapes["reduction_7/2/weight"] == (256,)
    assert shapes["fc_id_256_2_1/weight"] == (256, 10)


def test_names_that_checkpoints_of_variants_rely_on():
    shapes = variable_shapes(NetworkOptions(0, **VARIANTS["fastreid-v0.1"]))
    assert shapes["backbone/layer1/0/bn1/IN/weight"] == (32,)
    assert shapes["p2/layer3/5/bn1/BN/running_var"] == (128,)
    assert shapes["p2/layer4/2/bn1/running_var"] == (512,)
    assert shapes["reduction_7/neck/running_mean"] == (256,)
    assert shapes["gem/p"] == (1,) and len(shapes) == 634
    shapes = variable_shapes(NetworkOptions(0, **VARIANTS["luperson"]))
    assert shapes["extra_bn_p3/running_mean"] == (2048,)
    assert shapes["reduction_7/gem/p"] == (1,) and len(shapes) == 575


@pytest.mark.parametrize("training", [True, False])
def test_no_operation_is_dead(training):
    images = tf.placeholder(tf.float32, [None, 96, 32, 3])
    outputs = network.mgn(images, 10, training, reduction="prelu")
    reached, queue = set(), [outputs.embedding.op, *(x.op for x in outputs.logits)]
    queue += tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    while queue:
        operation = queue.pop()
        if operation not in reached:
            reached.add(operation)
            queue += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    ends = (".*/Initializer/.*", ".*/Assign$", ".*/IsInitialized/.*", ".*/Read/ReadVariableOp$")
    dead = [op.name for op in images.graph.get_operations() if op not in reached]
    assert [name for name in dead if not re.fullmatch("|".join(ends), name)] == []


@pytest.mark.parametrize(("height", "width"), [(96, 32), (192, 64), (384, 128)])
def test_shapes_of_the_maps(height, width):
    images = tf.placeholder(tf.float32, [None, height, width, 3])
    trunk = backbone(images, Mode(training=False))
    assert trunk.shape.as_list() == [None, height // 16, width // 16, 1024]
    sizes = [branch(trunk, b, Mode(training=False)).shape.as_list() for b in network.BRANCHES]
    assert sizes == [[None, height // s, width // s, 2048] for s in (32, 16, 16)]


def test_blocks_start_as_the_identity_when_asked():
    images = tf.placeholder(tf.float32, [None, 96, 32, 3])
    network.mgn(images, 10, True, zero_init_residual=True)
    scales = {
        v.op.name: v
        for v in tf.global_variables()
        if v.op.name.endswith(("bn3/weight", "bn2/weight"))
    }
    with new_session(images.graph, rewrite=False) as session:
        session.run([v.initializer for v in scales.values()])
        values = session.run(scales)
    assert all(
        np.all(value == (0 if name.endswith("bn3/weight") else 1)) for name, value in values.items()
    )


@pytest.mark.parametrize("kernel_init", ["he", "uniform"])
def test_kernels_start_as_pytorchs(kernel_init):
    """He's values as torchvision's ResNet and MGN-pytorch's heads have, or those of its layers."""
    fans = {
        "backbone/conv1": "fan_out",
        "p1/layer4/0/downsample/0": "fan_out",
        "p3/layer4/2/conv2": "fan_out",
        "reduction_4/0": "fan_in",
    }
    network.mgn(tf.placeholder(tf.float32, [None, 96, 32, 3]), 10, True, kernel_init=kernel_init)
    kernels = {v.op.name.removesuffix("/weight"): v for v in tf.global_variables()}
    kernels = {name: kernels[name] for name in fans}
    with new_session(tf.get_default_graph(), rewrite=False) as session:
        session.run([v.initializer for v in kernels.values()])
        values = session.run(kernels)
    for name, value in values.items():
        size, _, channels, filters = value.shape
        twin = torch.nn.Conv2d(channels, filters, size, bias=False).weight
        if kernel_init == "he":
            torch.nn.init.kaiming_normal_(twin, mode=fans[name], nonlinearity="relu")
        expected = twin.detach().numpy()
        assert value.std() == pytest.approx(expected.std(), rel=0.03), name
        # A normal distribution has no bound: its largest value is only like the other's.
        close = 0.3 if kernel_init == "he" else 0.001
        assert np.abs(value).max() == pytest.approx(np.abs(expected).max(), rel=close), name


@pytest.mark.parametrize("size", [1, 3])
def test_the_gradient_of_a_kernel_in_bfloat16_is_that_of_float32(size):
    """Of enough channels for the products of matrices that compute it on CPUs."""
    rng = np.random.default_rng(0)
    images, upstream = (rng.standard_normal((2, 5, 4, 256)).astype(np.float32) for _ in range(2))
    kernel, made = rng.standard_normal((size, size, 256, 256)).astype(np.float32), {}
    for dtype in (tf.float32, tf.bfloat16):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            x = tf.constant(images)
            y = layers.conv2d(tf.cast(x, dtype), "conv", 256, size)
            (weight,) = tf.trainable_variables()
            gradients = tf.gradients(tf.reduce_sum(tf.cast(y, tf.float32) * upstream), [weight, x])
            session.run(weight.initializer, {weight.initial_value: kernel})
            made[dtype] = session.run(gradients)
            usual = any(
                operation.type == "Conv2DBackpropFilter" for operation in graph.get_operations()
            )
            assert usual == (dtype == tf.float32)
    for exact, rounded in zip(made[tf.float32], made[tf.bfloat16], strict=True):
        assert relative(rounded, exact) < 0.02
