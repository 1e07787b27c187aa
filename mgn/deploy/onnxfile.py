"""A graph as an ONNX file, and its values in ONNX Runtime."""

import logging
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.deploy.packages import needed
from mgn.deploy.source import FEATURES, IMAGES
from mgn.inference.exported import METADATA
from mgn.system.errors import InputError

ONNX_PACKAGES = "onnx", "tf2onnx.convert", "onnxruntime"
OPSET = 17
BATCH = "batch"  # the name of the dimension that is free
_KERNEL = 4  # dimensions of a convolution's weights


def write_onnx(graph_def: tf.GraphDef, path: Path, described: str) -> None:
    """Write `images` to `features` of a graph as ONNX, of any batch size, and check the file.

    `described` is what the file says of itself, as its metadata `mgn_metadata`.

    tf2onnx copies weights many times over, which would take 20 GB. It needs the kernels' shapes
    only, so they stay outside, and join the converted graph in ONNX's own order of axes.
    """
    onnx, tf2onnx = needed("onnx"), needed("tf2onnx.convert")
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)  # else it prints what it optimised
    bare, kernels = _without_kernels(graph_def)
    names = [f"{IMAGES}:0", *kernels]
    model, _ = tf2onnx.from_graph_def(
        bare, input_names=names, output_names=[f"{FEATURES}:0"], opset=OPSET
    )
    graph = model.graph
    transposed = _transposed(graph, kernels)
    helper = onnx.numpy_helper
    graph.initializer.extend(helper.from_array(value, name) for name, value in transposed.items())
    del graph.input[1:]
    _rename(graph, {f"{IMAGES}:0": IMAGES, f"{FEATURES}:0": FEATURES})
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    onnx.helper.set_model_props(model, {METADATA: described})
    onnx.checker.check_model(model, full_check=True)
    Path(path).write_bytes(model.SerializeToString(deterministic=True))


def _without_kernels(graph_def: tf.GraphDef) -> tuple[tf.GraphDef, dict[str, np.ndarray]]:
    """The graph with inputs instead of kernels, and the kernels by the names of those."""
    bare = tf.GraphDef()
    bare.CopyFrom(graph_def)
    kernels = {}
    for node in bare.node:
        if node.op != "Const":
            continue
        value = node.attr["value"].tensor
        if len(value.tensor_shape.dim) == _KERNEL:
            kernels[f"{node.name}:0"] = tf.make_ndarray(value)
            node.op = "Placeholder"
            node.attr["shape"].shape.CopyFrom(value.tensor_shape)
            del node.attr["value"]
    return bare, kernels


def _transposed(graph: object, kernels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Kernels as convolutions take them: the graph's transpositions of them, done once here."""
    done = {}
    for node in [node for node in graph.node if node.op_type == "Transpose"]:
        if node.input[0] in kernels:
            (order,) = (list(a.ints) for a in node.attribute if a.name == "perm")
            done[node.output[0]] = np.ascontiguousarray(kernels[node.input[0]].transpose(order))
            graph.node.remove(node)
    still_read = {name for node in graph.node for name in node.input}
    done |= {name: value for name, value in kernels.items() if name in still_read}
    return done


def _rename(graph: object, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


def run_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of images [N, 3, H, W]: float32 [N, 2048].

    Raises:
        InputError: it does not take such images.
    """
    runtime = needed("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    try:
        (features,) = session.run([FEATURES], {IMAGES: images})
    except runtime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
        raise InputError(f"{path}: {error}") from None
    return features
