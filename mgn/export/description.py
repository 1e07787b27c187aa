"""What an exported file is, told from the file alone."""

import itertools
import textwrap
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.config.signatures import INPUT_IMAGE, REID_EMBEDDING
from mgn.config.variants import HEIGHT, WIDTH, described, options_in
from mgn.export.price import Price
from mgn.inference.embedder import open_exported
from mgn.inference.exported import METADATA, metadata_of, saved_model_folder
from mgn.inference.graph import RESIZED
from mgn.inference.integers import CONVOLUTION
from mgn.system.errors import InputError
from mgn.system.session import new_graph


class Artefact(NamedTuple):
    """An exported file; `description` is empty in files that others made."""

    path: Path
    kind: str  # "frozen graph" or "SavedModel"
    form: str  # "plain" or "pre_post"
    inputs: dict[str, str]  # name -> type and shape
    outputs: dict[str, str]
    megabytes: float
    operations: dict[str, int]  # kind -> how many, most first
    weights: dict[str, int]  # type -> how many numbers
    gigaflops: float | None  # multiplications and additions of one image; None: not to be told
    description: dict


def describe(path: Path) -> Artefact:
    """Describe a `.pb`, or a SavedModel folder or folder of versions (its newest).

    Raises:
        InputError: neither, damaged, or not of this network.
    """
    path = Path(path)
    folder = None if path.suffix == ".pb" else saved_model_folder(path)
    if path.is_dir() and not folder:
        raise InputError(f"{path}: a folder without a SavedModel; name a .pb or a SavedModel")
    with closing(open_exported(folder or path, rewrite=False)) as embedder:
        given = embedder.input
        result = embedder.result
        graph_def = given.graph.as_graph_def()
        functions = (function.node_def for function in graph_def.library.function)
        nodes = itertools.chain(graph_def.node, *functions)
        kinds = Counter(node.op for node in nodes if node.name != METADATA)
        names = (INPUT_IMAGE, REID_EMBEDDING) if folder else (given.op.name, result.op.name)
        files = [p for p in folder.rglob("*") if p.is_file()] if folder else [path]
        return Artefact(
            path=folder or path,
            kind="SavedModel" if folder else "frozen graph",
            form=embedder.form,
            inputs={names[0]: _shown(given)},
            outputs={names[1]: _shown(result)},
            megabytes=sum(file.stat().st_size for file in files) / 1e6,
            operations=dict(kinds.most_common()),
            weights=_weights(graph_def),
            gigaflops=_gigaflops(graph_def, given, result),
            description=metadata_of(graph_def.node),
        )


def _shown(tensor: tf.Tensor) -> str:
    """Type and shape, such as "uint8 [N, any, any, 3]"."""
    first, *others = tensor.shape.as_list()
    sizes = ["N" if first is None else str(first)]
    sizes += ["any" if size is None else str(size) for size in others]
    return f"{tensor.dtype.name} [{', '.join(sizes)}]"


def _weights(graph_def: tf.GraphDef) -> dict[str, int]:
    """How many numbers of each type the constants hold; few are no weights."""
    counts: Counter = Counter()
    for node in graph_def.node:
        if node.op == "Const":
            value = node.attr["value"].tensor
            shape = tf.TensorShape(value.tensor_shape)
            counts[tf.as_dtype(value.dtype).name] += shape.num_elements()
    return {name: count for name, count in counts.most_common() if count > 1000}


def _gigaflops(graph_def: tf.GraphDef, given: tf.Tensor, result: tf.Tensor) -> float | None:
    """Of one image, as TensorFlow's profiler counts; without decoding it."""
    if given.dtype == tf.string:
        try:
            given = given.graph.get_tensor_by_name(f"{RESIZED}:0")
        except KeyError:  # of another program
            return None
    height, width = given.shape[1:3].as_list()
    with new_graph().as_default() as graph:
        one = tf.placeholder(given.dtype, [1, height or HEIGHT, width or WIDTH, 3])
        tf.import_graph_def(graph_def, {given.name: one}, [result.name], name="one")
        builder = tf.profiler.ProfileOptionBuilder
        options = builder(builder.float_operation()).with_empty_output().build()
        counted = tf.profiler.profile(graph, options=options).total_float_ops
        return (counted + _of_integers(graph)) / 1e9


def _of_integers(graph: tf.Graph) -> int:
    """Multiplications and additions of whole numbers, which the profiler does not count."""
    total = 0
    for operation in graph.get_operations():
        if operation.type.startswith(CONVOLUTION):
            height, width, channels, _ = operation.inputs[1].shape.as_list()
            results = operation.outputs[0].shape.num_elements()
            total += 2 * results * height * width * channels
    return total


def _int8_lines(about: dict) -> list[str]:
    told = f"float32 too: {', '.join(about['float'])}"
    kept = textwrap.wrap(told, 92, break_on_hyphens=False) if about["float"] else []
    price = Price(*(about[name] for name in Price._fields))
    return [
        "int8    the residual blocks; stem and heads in float32",
        *(f"        {line}" for line in kept),
        f"        ranges from {about['choosing']} images ({about['calibration']})",
        f"price   {price}",
    ]


def as_text(artefact: Artefact) -> str:
    """A few lines for readers."""
    about = artefact.description
    weights = ", ".join(f"{count / 1e6:.1f} M {name}" for name, count in artefact.weights.items())
    most = list(artefact.operations.items())[:6]
    operations = ", ".join(f"{count} {name}" for name, count in most)
    lines = [
        f"{artefact.path}: {artefact.kind}, {artefact.form}, {artefact.megabytes:.1f} MB",
        *(f"input   {name}: {shown}" for name, shown in artefact.inputs.items()),
        *(f"output  {name}: {shown}" for name, shown in artefact.outputs.items()),
        f"weights {weights}",
        f"work    {artefact.gigaflops or float('nan'):.1f} GFLOP an image",
        f"graph   {sum(artefact.operations.values())} operations: {operations}, ...",
    ]
    if not about:
        return "\n".join([*lines, "no description inside: made by another program"])
    if "decoding" in about:
        lines.append(f"decoder {about['decoding']}; at most {about['largest_picture']} pixels")
    return "\n".join([*lines, *network_lines(about)])


def network_lines(about: dict) -> list[str]:
    """What a file's description says of its network."""
    size = f"{about['height']}×{about['width']}"
    kind = about["precision"] + (", Winograd convolutions" if about.get("winograd") else "")
    whole = _int8_lines(about["int8"]) if "int8" in about else []
    return [
        *whole,
        f"network {described(options_in(about))}",
        f"        {size} images, {about['num_classes']} classes in training, {kind}",
        f"order   {' '.join(about['embedding_order'])}",
        f"before  {about['preprocessing']['steps']}",
        f"source  sha256 {about['source_sha256']}, by TensorFlow {about['tensorflow']}",
    ]
