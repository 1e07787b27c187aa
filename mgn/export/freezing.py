"""A checkpoint frozen into a `.pb`, compared with its source before it is put in place."""

import json
from contextlib import closing
from pathlib import Path

import tensorflow.compat.v1 as tf
from tensorflow.core.framework.function_pb2 import FunctionDef

from mgn.config.options import DECODING, EXPORT_MAX_PIXELS
from mgn.export import folding
from mgn.export.comparison import Comparison, compare
from mgn.inference import load_embedder
from mgn.inference.embedder import open_exported
from mgn.inference.exported import METADATA
from mgn.inference.graph import OUTPUTS, build
from mgn.system.files import atomic_write, refuse_existing
from mgn.weights import checkpoints


def export_pb(
    path: Path,
    pb_path: Path,
    form: str,
    input_type: str = "float32",
    precision: str = "float32",
    winograd: bool = False,
    overwrite: bool = False,
    **options: object,
) -> Comparison:
    """Freeze a checkpoint into one file.

    Args:
        path: train_dir or checkpoint prefix.
        pb_path: file to make.
        form: "plain" or "pre_post".
        input_type: of a pre_post graph's `image_tensor`, one of `config.EXPORT_INPUTS`.
        precision: "float32", "bfloat16" or "float16", of the weights and of what flows between
            them; input and output stay float32.
        winograd: 3×3 convolutions by fewer multiplications; see `folding.with_winograd`.
        overwrite: replace `pb_path`.
        options: `pool`, `height`, `width`, for a checkpoint without `.json`.

    Returns:
        how its embeddings differ from the checkpoint's.

    Raises:
        InputError: not a checkpoint of a whole network, or `pb_path` exists.
        CheckError: the file differs from the checkpoint by more than `comparison` allows; it is not
            kept.
    """
    refuse_existing(pb_path, overwrite)
    checkpoint = checkpoints.find(path, **options)
    checkpoint.check_whole()
    graph_def = freeze(checkpoint, form, input_type, precision, winograd)
    with atomic_write(pb_path, overwrite) as temporary:
        temporary.write_bytes(graph_def.SerializeToString(deterministic=True))
        with (
            closing(load_embedder(checkpoint.prefix, **options)) as source,
            closing(open_exported(temporary, rewrite=False)) as made,
        ):
            exact = precision == "float32"
            return compare(source, made, f"{pb_path} against {checkpoint.prefix}", exact)


def freeze(
    checkpoint: checkpoints.Checkpoint,
    form: str,
    input_type: str,
    precision: str = "float32",
    winograd: bool = False,
) -> tf.GraphDef:
    """The inference graph with the checkpoint's weights as constants, and its own description."""
    description = checkpoints.describe(checkpoint.options) | {
        "form": form,
        "input": input_type,
        "precision": precision,
        "winograd": winograd,
        "source_sha256": checkpoints.sha256(checkpoint.prefix),
        "tensorflow": tf.__version__,
    }
    if input_type == "jpeg":
        description |= {"decoding": DECODING, "largest_picture": EXPORT_MAX_PIXELS}
    frozen = folding.frozen_network(checkpoint, precision, winograd)

    def network(images: tf.Tensor) -> tf.Tensor:
        given = {folding.INPUT: images}
        (embedding,) = tf.import_graph_def(frozen, given, [f"{folding.OUTPUT}:0"], name="network")
        return embedding

    with tf.Graph().as_default() as graph:
        build(form, checkpoint.options, input_type, network)
        tf.constant(json.dumps(description, sort_keys=True), name=METADATA)
    made = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [OUTPUTS[form], METADATA])
    rename_functions(made)
    return made


def rename_functions(graph_def: tf.GraphDef) -> None:
    """Number the functions (of loops and conditions) as the graph calls them, in place.

    TensorFlow numbers them by what the process built before, and lists them in no order.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    names, queue = {}, [graph_def.node]
    for nodes in queue:
        for node in nodes:
            for _, value in sorted(node.attr.items()):
                if value.func.name and value.func.name not in names:
                    names[value.func.name] = f"function_{len(names)}"
                    queue.append(library[value.func.name].node_def)
    for nodes in queue:
        for value in (value for node in nodes for value in node.attr.values() if value.func.name):
            value.func.name = names[value.func.name]
    for name in names:
        _rename_function(library[name], names[name])
    ordered = [library[name] for name in names]
    del graph_def.library.function[:]
    graph_def.library.function.extend(ordered)


def _rename_function(function: FunctionDef, name: str) -> None:
    """Its arguments too, which may be called after it."""
    function.signature.name = name
    arguments = {
        argument.name: f"argument_{i}" for i, argument in enumerate(function.signature.input_arg)
    }
    for argument in function.signature.input_arg:
        argument.name = arguments[argument.name]
    for node in function.node_def:
        node.input[:] = [arguments.get(given, given) for given in node.input]
    for result, given in list(function.ret.items()):
        function.ret[result] = arguments.get(given, given)
