"""A checkpoint frozen into a `.pb`, compared with its source before it is put in place."""

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import tensorflow.compat.v1 as tf
from tensorflow.core.framework.attr_value_pb2 import NameAttrList
from tensorflow.core.framework.function_pb2 import FunctionDef

from mgn.config.options import DECODING, EXPORT_MAX_PIXELS
from mgn.export import folding
from mgn.export.comparison import Comparison, compare
from mgn.inference.embedder import Embedder, load_embedder, open_exported
from mgn.inference.exported import METADATA
from mgn.inference.graph import NETWORK_INPUT, NETWORK_OUTPUT, OUTPUTS, build
from mgn.system.files import atomic_write, refuse_existing
from mgn.system.session import new_graph
from mgn.weights import checkpoints

_DIGITS = 16  # of a hash in a function's name


def export_pb(
    path: Path,
    pb_path: Path,
    form: str,
    input_type: str = "float32",
    precision: str = "float32",
    winograd: bool = False,
    overwrite: bool = False,
    input_size: tuple[int, int] | None = None,
    **options: object,
) -> Comparison:
    """Freeze a checkpoint into one file; returns how its embeddings differ from the checkpoint's.

    Args:
        path: train_dir or checkpoint prefix.
        pb_path: file to make.
        form: "plain" or "pre_post".
        input_type: of a pre_post graph's `image_tensor`, one of `config.EXPORT_INPUTS`.
        precision: "float32", "bfloat16" or "float16", of the weights and of what flows between.
            Input and output stay float32.
        winograd: 3×3 convolutions by fewer multiplications; see `folding.with_winograd`.
        overwrite: replace `pb_path`.
        input_size: height and width of the images that a pre_post graph takes; None: any.
        options: of the network, for a checkpoint without `.json`.

    Raises:
        InputError: not a checkpoint of a whole network, or `pb_path` exists.
        CheckError: the file differs by more than `comparison` allows; it is not kept.
    """
    refuse_existing(pb_path, overwrite)
    checkpoint = checkpoints.find(path, **options)
    what = f"{pb_path} against {checkpoint.prefix}"
    with closing(load_embedder(checkpoint)) as source, atomic_write(pb_path, overwrite) as file:
        how = input_type, precision, winograd, source, input_size
        graph_def = freeze(checkpoint, form, *how)
        file.write_bytes(graph_def.SerializeToString(deterministic=True))
        # Both graphs hold all weights, in cycles that Python would leave for long.
        del graph_def
        gc.collect()
        with closing(open_exported(file, rewrite=False)) as made:
            return compare(source, made, what, precision == "float32", input_size)


def freeze(
    checkpoint: checkpoints.Checkpoint,
    form: str,
    input_type: str,
    precision: str = "float32",
    winograd: bool = False,
    source: Embedder | None = None,
    input_size: tuple[int, int] | None = None,
) -> tf.GraphDef:
    """The inference graph with the checkpoint's weights as constants, and its own description.

    `source` is the checkpoint loaded; without it, it is loaded here. For the rest see `export_pb`.
    """
    description = checkpoints.describe(checkpoint.options)
    description |= {"form": form, "input": input_type, "precision": precision, "winograd": winograd}
    description |= {"source_sha256": checkpoints.sha256(checkpoint.prefix)}
    description |= {"tensorflow": tf.__version__}
    if input_size:
        description["input_size"] = list(input_size)
    if input_type == "jpeg":
        description |= {"decoding": DECODING, "largest_picture": EXPORT_MAX_PIXELS}
    with nullcontext(source) if source else closing(load_embedder(checkpoint)) as loaded:
        frozen = folding.frozen_network(loaded.session, precision, winograd)

    def network(images: tf.Tensor) -> tf.Tensor:
        given = {NETWORK_INPUT: images}
        (embedding,) = tf.import_graph_def(frozen, given, [f"{NETWORK_OUTPUT}:0"], name="network")
        return embedding

    with new_graph().as_default() as graph:
        build(form, checkpoint.options, input_type, network, input_size)
        tf.constant(json.dumps(description, sort_keys=True), name=METADATA)
    made = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [OUTPUTS[form], METADATA])
    rename_functions(made)
    return made


def rename_functions(graph_def: tf.GraphDef) -> None:
    """Name the functions (of loops and conditions) by what they hold, in place.

    TensorFlow numbers them by what the process built before, and lists them in no order. Functions
    of one name must be the same in a whole graph and in a whole process of TensorFlow 2: with
    names by their contents, several exports can be there together.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    names = {}  # of functions: old -> new

    def rename_calls(nodes: Iterable[tf.NodeDef]) -> None:
        for call in _calls(nodes):
            if call.name not in names:
                function = library[call.name]
                rename_calls(function.node_def)  # first, as their names are part of its contents
                names[call.name] = _rename_function(function)
            call.name = names[call.name]

    rename_calls(graph_def.node)
    unique = {new: library[old] for old, new in names.items()}
    del graph_def.library.function[:]
    graph_def.library.function.extend(unique.values())


def _calls(nodes: Iterable[tf.NodeDef]) -> Iterator[NameAttrList]:
    """The attributes that name a function, node by node and sorted by the attribute's name."""
    for node in nodes:
        for _, value in sorted(node.attr.items()):
            if value.func.name:
                yield value.func
            yield from value.list.func


def _rename_function(function: FunctionDef) -> str:
    """Name a function, and its arguments, which may be called after it; returns its name."""
    arguments = {}  # old name -> new name
    for i, argument in enumerate(function.signature.input_arg):
        arguments[argument.name] = f"argument_{i}"
        argument.name = f"argument_{i}"
    for node in function.node_def:
        node.input[:] = [arguments.get(given, given) for given in node.input]
    for result, given in list(function.ret.items()):
        function.ret[result] = arguments.get(given, given)
    function.signature.name = ""
    contents = hashlib.sha256(function.SerializeToString(deterministic=True)).hexdigest()
    function.signature.name = f"function_{contents[:_DIGITS]}"
    return function.signature.name
