"""A checkpoint frozen into a `.pb` of eight-bit convolutions, with its price in accuracy."""

import gc
from contextlib import closing
from pathlib import Path

import numpy as np

from mgn.config.options import Int8, Reduce
from mgn.export import calibration, folding, price, reducing
from mgn.export.assembly import describe_further, whole_graph
from mgn.export.integers import with_integers
from mgn.export.pooling import with_pools
from mgn.export.quantising import quantise
from mgn.export.units import units_in
from mgn.inference.embedder import load_embedder, open_exported
from mgn.inference.integers import check_kernels
from mgn.system.errors import CheckError, InputError
from mgn.system.files import atomic_write, refuse_existing
from mgn.weights import checkpoints


def export_int8(
    path: Path,
    pb_path: Path,
    form: str,
    input_type: str = "float32",
    how: Int8 | None = None,
    overwrite: bool = False,
    input_size: tuple[int, int] | None = None,
    reduce: Reduce | None = None,
    **options: object,
) -> price.Price:
    """Freeze a checkpoint into one file whose residual blocks compute in eight bits.

    Stem and heads stay float32. The same checkpoint, images and options give the same file.

    Args:
        path: train_dir or checkpoint prefix.
        pb_path: file to make.
        form: "plain" or "pre_post".
        input_type: see `freezing.export_pb`.
        how: None: as `Int8()`.
        overwrite: replace `pb_path`.
        input_size: see `freezing.export_pb`.
        reduce: likewise.
        **options: likewise.

    Returns:
        how its embeddings differ from the checkpoint's; the file holds it too.

    Raises:
        InputError: see `freezing.export_pb` and `calibration.read`; or no convolution is left to
            be of integers, or this TensorFlow has none such.
        CheckError: an image's cosine is below the bound; the file is not kept.
    """
    how = how or Int8()
    refuse_existing(pb_path, overwrite)
    check_kernels(pb_path)
    reduction = reducing.chosen(reduce)
    checkpoint = checkpoints.find(path, **options)
    images = calibration.read(how.calibration, path, how.calibration_images)
    what = f"{pb_path} against {checkpoint.prefix}{reducing.named(reduction)}"
    with closing(load_embedder(checkpoint)) as source, atomic_write(pb_path, overwrite) as file:
        expected = reducing.expected(reduce, reduction, checkpoint, source)
        network = with_pools(folding.frozen_network(source.session, "float32"))
        units = units_in(network)
        _check_some_left(how.keep_float, len(units))
        try:
            prepared = np.stack(source.prepare(images.choosing))
            chosen = quantise(network, units, prepared, how.keep_float)
        except CheckError as error:
            raise CheckError(f"{checkpoint.prefix}: {error}") from None
        del prepared
        network = with_integers(network, units, chosen)
        kept = sorted(unit.name for unit in units if unit.name not in chosen.kernels)
        about = {"calibration": images.told, "choosing": len(images.choosing), "float": kept}
        details = {"precision": "int8", "winograd": False, "int8": about}
        given = form, input_type, input_size, details, reduction
        graph_def = whole_graph(checkpoint, network, *given)
        file.write_bytes(graph_def.SerializeToString(deterministic=True))
        del network, chosen
        gc.collect()  # as in `freezing.export_pb`
        with closing(open_exported(file, rewrite=False)) as made:
            found = price.price(expected, made, images.held_back, input_size)
        price.check(found, how.int8_bound, what)
        describe_further(graph_def, {"int8": about | found._asdict()})
        file.write_bytes(graph_def.SerializeToString(deterministic=True))
        return found


def _check_some_left(keep_float: int, convolutions: int) -> None:
    if keep_float >= convolutions:
        problem = f"this network has {convolutions} convolutions, so none would be int8"
        raise InputError(
            f"--keep_float {keep_float}: {problem}; use a smaller one, or --precision float32"
        )
