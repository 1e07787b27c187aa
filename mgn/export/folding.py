"""The network frozen for speed: batch norm folded into convolutions, Winograd, weights in a smaller type."""

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import tensor_util

from mgn.network.architecture import DTYPES, inference_network
from mgn.network.winograd import CHANNELS, convolve_transformed, transform
from mgn.system.session import new_session
from mgn.weights import checkpoints

INPUT, OUTPUT = "images", "embedding"
_BATCH_NORM = "FusedBatchNormV3"


def frozen_network(
    checkpoint: checkpoints.Checkpoint, precision: str, winograd: bool = False
) -> tf.GraphDef:
    """The network from `images` float32 [N, height, width, 3], normalised, to `embedding` float32 [N, 2048].

    Args:
        checkpoint: a whole network.
        precision: "float32", "bfloat16" or "float16": of its weights and of what flows between
            them.
        winograd: see `with_winograd`.
    """
    options = checkpoint.options
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, options.height, options.width, 3], name=INPUT)
        tf.identity(inference_network(images, options).embedding, OUTPUT)
        variables = tf.global_variables()
    with new_session(graph, rewrite=False) as session:
        checkpoints.restore(session, checkpoint, variables)
        frozen = tf.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [OUTPUT]
        )
    folded = fold_batch_norms(frozen)
    return in_type(with_winograd(folded) if winograd else folded, DTYPES[precision])


def fold_batch_norms(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Turn each convolution and the batch norm behind it into a convolution and a bias.

    The kernel is multiplied by weight / sqrt(running_var + epsilon), and the rest is the bias; in
    float64, rounded once. TensorFlow then computes convolution, bias, sum and ReLU in one kernel.

    Args:
        graph_def: frozen; every batch norm stands behind a convolution of its own. Reading nodes
            (`Identity` of a constant) go.
    """
    nodes = {node.name: node for node in graph_def.node}
    made = tf.GraphDef(versions=graph_def.versions)
    kernels = {}  # name of a convolution's kernel -> what it is multiplied by
    for node in graph_def.node:
        if node.op == _BATCH_NORM:
            scale, bias = _scale_and_bias(nodes, node)
            convolution = nodes[node.input[0]]
            kernels[_source(nodes, convolution.input[1]).name] = scale
            made.node.append(_constant(f"{convolution.name}/bias", bias))
            added = made.node.add(
                name=node.name, op="BiasAdd", input=[convolution.name, f"{convolution.name}/bias"]
            )
            added.attr["T"].type = tf.float32.as_datatype_enum
            added.attr["data_format"].s = b"NHWC"
        elif node.op != "Const" and not _reads_constant(nodes, node):
            kept = made.node.add()
            kept.CopyFrom(node)
            kept.input[:] = [
                _source(nodes, name).name if name in nodes else name for name in node.input
            ]
    for node in graph_def.node:
        if node.op == "Const" and node.name in kernels:
            kernel = tensor_util.MakeNdarray(node.attr["value"].tensor)
            made.node.append(_constant(node.name, kernel * kernels[node.name]))
        elif node.op == "Const":
            made.node.append(node)
    return tf.graph_util.extract_sub_graph(made, [OUTPUT])


def _scale_and_bias(nodes: dict, node: tf.NodeDef) -> tuple[np.ndarray, np.ndarray]:
    values = (_source(nodes, name).attr["value"].tensor for name in node.input[1:])
    weight, bias, mean, variance = (
        tensor_util.MakeNdarray(value).astype(np.float64) for value in values
    )
    scale = weight / np.sqrt(variance + node.attr["epsilon"].f)
    return scale, bias - mean * scale


def _source(nodes: dict, name: str) -> tf.NodeDef:
    """The constant behind a reading node; any other node itself."""
    node = nodes[name]
    return nodes[node.input[0]] if _reads_constant(nodes, node) else node


def _reads_constant(nodes: dict, node: tf.NodeDef) -> bool:
    return node.op == "Identity" and nodes[node.input[0]].op == "Const"


def _constant(name: str, value: np.ndarray) -> tf.NodeDef:
    node = tf.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.astype(np.float32)))
    return node


def with_winograd(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Replace the 3×3 convolutions of stride 1 and many channels, in a folded network; see `mgn.winograd`."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        replaced = {}
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
    return tf.graph_util.extract_sub_graph(made, [OUTPUT])


def _kernel_to_replace(operation: tf.Operation) -> np.ndarray | None:
    plain = {"strides": [1] * 4, "dilations": [1] * 4, "padding": b"SAME"}
    if operation.type != "Conv2D" or any(
        operation.get_attr(name) != value for name, value in plain.items()
    ):
        return None
    kernel = tensor_util.constant_value(operation.inputs[1])
    return kernel if kernel.shape[:2] == (3, 3) and kernel.shape[2] >= CHANNELS else None


def in_type(graph_def: tf.GraphDef, dtype: tf.DType) -> tf.GraphDef:
    """Let a folded network compute in `dtype`, behind a cast of its input and before one of its output."""
    if dtype == tf.float32:
        return graph_def
    made = tf.GraphDef(versions=graph_def.versions)
    for node in graph_def.node:
        kept = made.node.add()
        kept.CopyFrom(node)
        if node.op == "Placeholder":
            _add_cast(made, f"{INPUT}/cast", INPUT, tf.float32, dtype)
        elif node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            value = tensor_util.MakeNdarray(node.attr["value"].tensor)
            kept.attr["dtype"].type = dtype.as_datatype_enum
            kept.attr["value"].tensor.CopyFrom(
                tf.make_tensor_proto(value.astype(dtype.as_numpy_dtype), dtype)
            )
        elif node.name == OUTPUT:
            kept.CopyFrom(_cast(OUTPUT, node.input[0], dtype, tf.float32))
        else:
            kept.input[:] = [f"{INPUT}/cast" if name == INPUT else name for name in node.input]
            for name in ("T", "Tparams"):
                if name in node.attr and node.attr[name].type == tf.float32.as_datatype_enum:
                    kept.attr[name].type = dtype.as_datatype_enum
    return made


def _add_cast(graph_def: tf.GraphDef, name: str, source: str, old: tf.DType, new: tf.DType) -> None:
    graph_def.node.append(_cast(name, source, old, new))


def _cast(name: str, source: str, old: tf.DType, new: tf.DType) -> tf.NodeDef:
    node = tf.NodeDef(name=name, op="Cast", input=[source])
    node.attr["SrcT"].type, node.attr["DstT"].type = old.as_datatype_enum, new.as_datatype_enum
    return node
