"""A checkpoint frozen into a `.pb`, compared with its source before it is put in place."""

import gc
from contextlib import closing, nullcontext
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.config.options import Int8, Reduce
from mgn.export import folding, reducing
from mgn.export.assembly import whole_graph
from mgn.export.comparison import Comparison, compare
from mgn.export.int8 import export_int8
from mgn.export.price import Price
from mgn.inference.embedder import Embedder, load_embedder, open_exported
from mgn.metrics.reduction import Reduction
from mgn.system.errors import InputError
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
    input_size: tuple[int, int] | None = None,
    int8: Int8 | None = None,
    reduce: Reduce | None = None,
    **options: object,
) -> Comparison | Price:
    """Freeze a checkpoint into one file; returns how its embeddings differ from the checkpoint's.

    Args:
        path: train_dir or checkpoint prefix.
        pb_path: file to make.
        form: "plain" or "pre_post".
        input_type: of a pre_post graph's `image_tensor`, one of `config.EXPORT_INPUTS`.
        precision: "float32", "bfloat16" or "float16", of the weights and of what flows between;
            or "int8", see `int8.export_int8`. Input and output stay float32.
        winograd: 3×3 convolutions by fewer multiplications; see `folding.with_winograd`.
        overwrite: replace `pb_path`.
        input_size: height and width of the images that a pre_post graph takes; None: any.
        int8: how the whole numbers of "int8" are chosen.
        reduce: which smaller vectors it gives; None: whole ones.
        options: of the network, for a checkpoint without `.json`.

    Raises:
        InputError: not a checkpoint of a whole network, `pb_path` exists, or a reduction that
            there is not, or that was made for another model.
        CheckError: the file differs by more than `comparison` allows; it is not kept.
    """
    if precision == "int8":
        if winograd:
            raise InputError("winograd: not with int8, which has integer convolutions; choose one")
        how = int8, overwrite, input_size, reduce
        return export_int8(path, pb_path, form, input_type, *how, **options)
    refuse_existing(pb_path, overwrite)
    reduction = reducing.chosen(reduce)
    checkpoint = checkpoints.find(path, **options)
    what = f"{pb_path} against {checkpoint.prefix}{reducing.named(reduction)}"
    with closing(load_embedder(checkpoint)) as source, atomic_write(pb_path, overwrite) as file:
        expected = reducing.expected(reduce, reduction, checkpoint, source)
        how = input_type, precision, winograd, source, input_size, reduction
        graph_def = freeze(checkpoint, form, *how)
        file.write_bytes(graph_def.SerializeToString(deterministic=True))
        # Both graphs hold all weights, in cycles that Python would leave for long.
        del graph_def
        gc.collect()
        with closing(open_exported(file, rewrite=False)) as made:
            return compare(expected, made, what, precision == "float32", input_size)


def freeze(
    checkpoint: checkpoints.Checkpoint,
    form: str,
    input_type: str,
    precision: str = "float32",
    winograd: bool = False,
    source: Embedder | None = None,
    input_size: tuple[int, int] | None = None,
    reduction: Reduction | None = None,
) -> tf.GraphDef:
    """The inference graph with the checkpoint's weights as constants, and its own description.

    `source` is the checkpoint loaded; without it, it is loaded here. `reduction` makes its vectors
    smaller. For the rest see `export_pb`.
    """
    with nullcontext(source) if source else closing(load_embedder(checkpoint)) as loaded:
        network = folding.frozen_network(loaded.session, precision, winograd)
    details = {"precision": precision, "winograd": winograd}
    return whole_graph(checkpoint, network, form, input_type, input_size, details, reduction)
