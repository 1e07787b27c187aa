"""A frozen network with what is around it, and with its own description."""

import hashlib
import json
from collections.abc import Iterable, Iterator

import tensorflow.compat.v1 as tf
from tensorflow.core.framework.attr_value_pb2 import NameAttrList
from tensorflow.core.framework.function_pb2 import FunctionDef

from mgn.config.options import DECODING, EXPORT_MAX_PIXELS
from mgn.export.reducing import about, as_layer
from mgn.inference.exported import METADATA, metadata_of
from mgn.inference.graph import NETWORK_INPUT, NETWORK_OUTPUT, OUTPUTS, build
from mgn.metrics.reduction import Reduction
from mgn.system.session import new_graph
from mgn.weights import checkpoints

_DIGITS = 16  # of a hash in a function's name


def whole_graph(
    checkpoint: checkpoints.Checkpoint,
    network: tf.GraphDef,
    form: str,
    input_type: str,
    input_size: tuple[int, int] | None,
    details: dict,
    reduction: Reduction | None = None,
) -> tf.GraphDef:
    """Put a frozen network into the graph of a form, which describes itself.

    Args:
        checkpoint: that the network is of.
        network: from `images`, normalised, to `embedding`.
        form: see `freezing.export_pb`.
        input_type: likewise.
        input_size: likewise.
        details: of the network, for the description.
        reduction: smaller vectors to give; None: whole ones.
    """
    description = checkpoints.describe(checkpoint.options)
    description |= {"form": form, "input": input_type, **details, **about(reduction)}
    description |= {"source_sha256": checkpoints.sha256(checkpoint.prefix)}
    description |= {"tensorflow": tf.__version__}
    if input_size:
        description["input_size"] = list(input_size)
    if input_type == "jpeg":
        description |= {"decoding": DECODING, "largest_picture": EXPORT_MAX_PIXELS}

    def imported(images: tf.Tensor) -> tf.Tensor:
        given = {NETWORK_INPUT: images}
        (embedding,) = tf.import_graph_def(network, given, [f"{NETWORK_OUTPUT}:0"], name="network")
        return embedding

    with new_graph().as_default() as graph:
        how = input_type, imported, input_size, as_layer(reduction)
        build(form, checkpoint.options, *how)
        tf.constant(json.dumps(description, sort_keys=True), name=METADATA)
    made = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [OUTPUTS[form], METADATA])
    rename_functions(made)
    return made


def describe_further(graph_def: tf.GraphDef, details: dict) -> None:
    """Add to what a graph says of itself, or replace entries, in place."""
    for node in graph_def.node:
        if node.name == METADATA:
            description = metadata_of([node]) | details
            text = json.dumps(description, sort_keys=True)
            node.attr["value"].tensor.string_val[0] = text.encode()


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
