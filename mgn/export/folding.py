"""The network frozen for speed: batch norm folded into convolutions, Winograd, smaller types."""

import re

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import tensor_util

from mgn.inference.graph import IMAGE_TENSOR, NETWORK_INPUT, NETWORK_OUTPUT, OUTPUTS, PLAIN
from mgn.network.architecture import DTYPES
from mgn.network.layers import GEM, INSTANCE_NORM
from mgn.network.winograd import CHANNELS, convolve_transformed, transform
from mgn.system.session import new_graph

_BATCH_NORM = "FusedBatchNormV3"
_FLOAT32 = tf.float32.as_datatype_enum
_REPLACED = {"strides": [1] * 4, "dilations": [1] * 4, "padding": b"SAME"}  # by Winograd's
_RENAMED = {IMAGE_TENSOR: NETWORK_INPUT, OUTPUTS[PLAIN]: NETWORK_OUTPUT}


def frozen_network(session: tf.Session, precision: str, winograd: bool = False) -> tf.GraphDef:
    """The network with constant weights, from `images`, normalised, to `embedding`, both float32.

    Args:
        session: of a plain inference graph with its weights; see `inference.graph.build`.
        precision: "float32", "bfloat16" or "float16", of the weights and of what flows between.
        winograd: see `with_winograd`.
    """
    graph_def = session.graph.as_graph_def()
    network = tf.graph_util.convert_variables_to_constants(session, graph_def, [OUTPUTS[PLAIN]])
    for node in network.node:
        node.name = _RENAMED.get(node.name, node.name)
        node.input[:] = [_RENAMED.get(name, name) for name in node.input]
    network = fold_batch_norms(network)
    if winograd:
        network = with_winograd(network)
    return in_type(network, DTYPES[precision])


def fold_batch_norms(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Turn each convolution and the batch norm behind it into a convolution and a bias.

    The kernel is multiplied by weight / sqrt(running_var + epsilon), and the rest is the bias; in
    float64, rounded once. TensorFlow then computes convolution, bias, sum and ReLU in one kernel.

    IBN-a's batch norm is that of the second half of a convolution's channels; the first half stays
    as it is. A batch norm behind anything else becomes a product and a sum. Reading nodes
    (`Identity` of a constant) go.
    """
    nodes = {node.name: node for node in graph_def.node}
    reads = {}  # name of a reading node -> name of its constant
    for node in graph_def.node:
        if node.op == "Identity" and nodes[node.input[0]].op == "Const":
            reads[node.name] = node.input[0]
    instead = {}  # name of a batch norm -> the nodes in its place
    scales = {}  # name of a convolution's kernel -> what it is multiplied by
    halves = {}  # name of a split -> of the convolution with bias that it now takes
    passed = {}  # name of a batch norm that is gone -> of what stands for it
    # Batch norms become biases, or products and sums.
    for node in graph_def.node:
        if node.op != _BATCH_NORM:
            continue
        constants = [nodes[reads.get(name, name)] for name in node.input[1:]]
        scale, bias = _scale_and_bias(node, constants)
        behind = nodes[node.input[0].split(":")[0]]
        convolution = nodes[behind.input[1]] if behind.op == "Split" else behind
        if convolution.op != "Conv2D":
            instead[node.name] = _product_and_sum(node, scale, bias)
            continue
        name = node.name
        if behind.op == "Split":
            scale = np.concatenate([np.ones_like(scale), scale])
            bias = np.concatenate([np.zeros_like(bias), bias])
            name = f"{convolution.name}/BiasAdd"
            halves[behind.name] = name
            passed[node.name] = node.input[0]
        kernel = convolution.input[1]
        scales[reads.get(kernel, kernel)] = scale
        instead[node.name] = _bias_added(name, convolution.name, bias)
    # Other operations stay, and take constants directly.
    made = tf.GraphDef(versions=graph_def.versions)
    for node in graph_def.node:
        if node.name in instead:
            made.node.extend(instead[node.name])
        elif node.op != "Const" and node.name not in reads:
            kept = made.node.add()
            kept.CopyFrom(node)
            kept.input[:] = [passed.get(name, reads.get(name, name)) for name in node.input]
            if node.name in halves:
                kept.input[1] = halves[node.name]
    # Constants stay, kernels scaled. The last step drops those that nothing takes any more.
    for node in graph_def.node:
        if node.op == "Const" and node.name in scales:
            made.node.append(constant(node.name, value_of(node) * scales[node.name]))
        elif node.op == "Const":
            made.node.append(node)
    return tf.graph_util.extract_sub_graph(made, [NETWORK_OUTPUT])


def _scale_and_bias(norm: tf.NodeDef, constants: list) -> tuple[np.ndarray, np.ndarray]:
    weight, bias, mean, variance = (value_of(node).astype(np.float64) for node in constants)
    scale = weight / np.sqrt(variance + norm.attr["epsilon"].f)
    return scale, bias - mean * scale


def _bias_added(name: str, convolution: str, bias: np.ndarray) -> list[tf.NodeDef]:
    inputs = [convolution, f"{convolution}/bias"]
    added = tf.NodeDef(name=name, op="BiasAdd", input=inputs)
    added.attr["T"].type = _FLOAT32
    added.attr["data_format"].s = b"NHWC"
    return [constant(inputs[1], bias), added]


def _product_and_sum(norm: tf.NodeDef, scale: np.ndarray, bias: np.ndarray) -> list[tf.NodeDef]:
    names = [f"{norm.name}/{part}" for part in ("scale", "product", "bias")]
    product = tf.NodeDef(name=names[1], op="Mul", input=[norm.input[0], names[0]])
    total = tf.NodeDef(name=norm.name, op="AddV2", input=[names[1], names[2]])
    for node in (product, total):
        node.attr["T"].type = _FLOAT32
    return [constant(names[0], scale), product, constant(names[2], bias), total]


def value_of(constant: tf.NodeDef) -> np.ndarray:
    """The array that a constant holds."""
    return tensor_util.MakeNdarray(constant.attr["value"].tensor)


def constant(name: str, value: np.ndarray, dtype: tf.DType = tf.float32) -> tf.NodeDef:
    """A node that holds an array."""
    node = tf.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    value = value.astype(dtype.as_numpy_dtype)
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
    return node


def with_winograd(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Replace a folded network's 3×3 convolutions of many channels; see `network.winograd`."""
    replaced = {}  # name of a convolution -> of what computes the same
    with new_graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        for convolution in graph.get_operations():
            kernel = _kernel_to_replace(convolution)
            if kernel is not None:
                with tf.name_scope(f"{convolution.name}/winograd/"):
                    transformed = tf.constant(transform(kernel), tf.float32)
                    result = convolve_transformed(convolution.inputs[0], transformed)
                replaced[convolution.name] = result.op.name
    made = graph.as_graph_def()
    for node in made.node:
        node.input[:] = [replaced.get(name, name) for name in node.input]
    return tf.graph_util.extract_sub_graph(made, [NETWORK_OUTPUT])


def _kernel_to_replace(operation: tf.Operation) -> np.ndarray | None:
    if operation.type != "Conv2D":
        return None
    if any(operation.get_attr(name) != value for name, value in _REPLACED.items()):
        return None
    kernel = tensor_util.constant_value(operation.inputs[1])
    return kernel if kernel.shape[:2] == (3, 3) and kernel.shape[2] >= CHANNELS else None


def in_type(graph_def: tf.GraphDef, dtype: tf.DType) -> tf.GraphDef:
    """Let a folded network compute in `dtype`, between casts of its input and its output.

    What `layers` computes in float32 stays so, between casts of its own.
    """
    if dtype == tf.float32:
        return graph_def
    nodes = {node.name: node for node in graph_def.node}
    exact = {node.name for node in graph_def.node if _is_exact(node)}
    exact |= {NETWORK_INPUT}
    made = tf.GraphDef(versions=graph_def.versions)
    casts = {}  # name of a tensor -> of its cast to the other type

    def in_other(name: str) -> str:
        if name not in casts:
            source = NETWORK_INPUT if name == NETWORK_INPUT else name.replace(":", "/")
            casts[name] = f"{source}/cast"
            types = (tf.float32, dtype) if name.split(":")[0] in exact else (dtype, tf.float32)
            made.node.append(_cast(casts[name], name, *types))
        return casts[name]

    for node in graph_def.node:
        if node.name == NETWORK_OUTPUT:
            made.node.append(_cast(NETWORK_OUTPUT, node.input[0], dtype, tf.float32))
        elif node.op == "Const" and node.name not in exact and _is_float(node):
            made.node.append(constant(node.name, value_of(node), dtype))
        else:
            kept = made.node.add()
            kept.CopyFrom(node)
            is_exact = node.name in exact
            for i, name in enumerate(node.input):
                given = nodes[name.split(":")[0]]
                if _is_float(given) and (given.name in exact) != is_exact:
                    kept.input[i] = in_other(name)
            for name in () if is_exact else ("T", "Tparams"):
                if name in node.attr and node.attr[name].type == _FLOAT32:
                    kept.attr[name].type = dtype.as_datatype_enum
            if node.name == NETWORK_INPUT:
                in_other(node.name)
    return made


def _is_exact(node: tf.NodeDef) -> bool:
    """Whether it belongs to a layer that computes in float32."""
    scopes = [re.sub(r"_\d+$", "", part) for part in node.name.split("/")[:-1]]
    return GEM in scopes or INSTANCE_NORM in scopes


def _is_float(node: tf.NodeDef) -> bool:
    return node.attr["dtype" if node.op in ("Const", "Placeholder") else "T"].type == _FLOAT32


def _cast(name: str, source: str, old: tf.DType, new: tf.DType) -> tf.NodeDef:
    node = tf.NodeDef(name=name, op="Cast", input=[source])
    node.attr["SrcT"].type = old.as_datatype_enum
    node.attr["DstT"].type = new.as_datatype_enum
    return node
