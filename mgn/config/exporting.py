"""The flags of the four export scripts."""

import argparse
import dataclasses
from pathlib import Path

from mgn.config.options import (
    EXPORT_MAX_PIXELS,
    EXPORT_PRECISIONS,
    INT8,
    MOST_CALIBRATION_IMAGES,
    Int8,
    Reduce,
)
from mgn.config.parsing import add_network_options, network_options, number_flag, whole_number_flag
from mgn.system.cli import Parser, existing_path, model_path, positive_int
from mgn.system.errors import InputError
from mgn.system.files import refuse_existing


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Flags of both scripts that freeze a checkpoint."""
    parser.add_argument(
        "--checkpoint", type=model_path, required=True, help="train_dir, or prefix of a checkpoint"
    )
    parser.add_argument("--pb_path", type=Path, required=True, help="file to write (.pb)")
    parser.add_argument(
        "--precision",
        choices=EXPORT_PRECISIONS,
        default=EXPORT_PRECISIONS[0],
        help="type of the weights: bfloat16 for CPUs with AVX-512 BF16 or AMX and new GPUs,"
        " float16 for GPUs, int8 for CPUs with AVX-512 VNNI, AVX-VNNI or AMX",
    )
    parser.add_argument(
        "--winograd",
        action="store_true",
        help="3x3 convolutions of many channels by fewer multiplications: on CPUs 8 to 20 %% faster"
        " in batches of 8 or more, not for single images;"
        " the file is 2.2 times as large, and OpenCV does not load it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --pb_path")
    add_int8_options(parser, "--precision int8")
    _add_reduction_options(parser)
    add_network_options(parser)


def add_int8_options(parser: argparse.ArgumentParser, flag: str) -> None:
    """How an export in eight bits, asked for by this flag, chooses its whole numbers."""
    group = parser.add_argument_group(f"with {flag}")
    group.add_argument(
        "--calibration",
        type=existing_path,
        metavar="DIR_OR_LIST",
        help="images like those to come, from which the ranges of numbers are taken: a folder, or a"
        " .txt or .csv list (default: the training images of the run, else of the demo set)",
    )
    group.add_argument(
        "--calibration_images",
        type=whole_number_flag,
        metavar="N",
        help=f"number of them to take, and half as many to judge the export (default:"
        f" {Int8.calibration_images}; at most {MOST_CALIBRATION_IMAGES})",
    )
    group.add_argument(
        "--keep_float",
        type=whole_number_flag,
        metavar="N",
        help="number of convolutions to leave in float32, those that lose most (default: 0)",
    )
    group.add_argument(
        "--int8_bound",
        type=number_flag,
        metavar="COSINE",
        help="write the file only if the embeddings of each judging image have this cosine with the"
        f" checkpoint's (default: {Int8.int8_bound})",
    )


def _add_reduction_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("smaller vectors, inside the graph")
    group.add_argument(
        "--reduce_with",
        type=existing_path,
        metavar="FILE",
        help="reduction.npz of evaluate.py --sizes, made with this checkpoint",
    )
    group.add_argument(
        "--embedding_size",
        type=positive_int,
        metavar="N",
        help="size of the vectors, by PCA with whitening; it need not be in the table of --sizes",
    )
    group.add_argument(
        "--reduce_to",
        metavar="NAME",
        help="row of the table of --sizes, such as 'heads of whole maps' or 'PCA 256'",
    )


def parse_export(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse, and check what can be checked before TensorFlow is loaded."""
    flags = parser.parse_args(arguments)
    refuse_existing(flags.pb_path, flags.overwrite)
    if flags.pb_path.suffix != ".pb":
        raise InputError(f"--pb_path {flags.pb_path}: must end in .pb, as other tools expect")
    flags.int8 = parsed_int8(parser, flags, flags.precision == INT8, "--precision int8")
    if flags.winograd and flags.precision == INT8:
        parser.error("--winograd: not with --precision int8; choose one of them")
    flags.reduce = _reduction_asked(parser, flags)
    return flags


def export_options(flags: argparse.Namespace) -> dict:
    """What `freezing.export_pb` takes from these flags."""
    names = ("precision", "winograd", "overwrite", "int8", "reduce")
    return {name: getattr(flags, name) for name in names} | network_options(flags)


def _reduction_asked(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> Reduce | None:
    named = [name for name in ("embedding_size", "reduce_to") if getattr(flags, name) is not None]
    if len(named) > 1:
        parser.error("--embedding_size and --reduce_to: both choose the reduction; give one")
    if flags.reduce_with and not named:
        which = "--embedding_size N, or --reduce_to and a row of the table of evaluate.py --sizes"
        parser.error(f"--reduce_with {flags.reduce_with}: choose a reduction; add {which}")
    if not named:
        return None
    if not flags.reduce_with:
        file = "--reduce_with FILE, the reduction.npz of evaluate.py --sizes"
        parser.error(f"--{named[0]}: only with {file}")
    size = flags.embedding_size
    return Reduce(flags.reduce_with, flags.reduce_to if size is None else f"PCA {size}")


def parsed_int8(
    parser: argparse.ArgumentParser, flags: argparse.Namespace, wanted: bool, flag: str
) -> Int8 | None:
    """What was given of `Int8`; None if eight bits are not wanted, which this flag asks for."""
    named = {field.name: getattr(flags, field.name) for field in dataclasses.fields(Int8)}
    given = {name: value for name, value in named.items() if value is not None}
    if given and not wanted:
        parser.error(f"{', '.join(f'--{name}' for name in given)}: only with {flag}")
    return Int8(**given) if wanted else None


def parse_serving(description: str, arguments: list[str]) -> argparse.Namespace:
    """Flags of both scripts that wrap a `.pb` for TensorFlow Serving."""
    parser = Parser(description, "--pb_path mgn.pb --export_path served/mgn")
    parser.add_argument(
        "--pb_path", type=existing_path, required=True, help="frozen graph to serve"
    )
    parser.add_argument(
        "--export_path", type=Path, required=True, help="folder of versions, the server's base_path"
    )
    parser.add_argument(
        "--version", type=positive_int, help="version to write (default: one more than the highest)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace that version")
    parser.add_argument(
        "--warmup",
        type=_batch_sizes,
        default="1,8",
        metavar="N,N",
        help="sizes of the warm-up requests, in images; a size above the server's max_batch_size"
        " keeps it from becoming available",
    )
    flags = parser.parse_args(arguments)
    if flags.version:
        refuse_existing(flags.export_path / str(flags.version), flags.overwrite)
    return flags


def image_size(text: str) -> tuple[int, int]:
    """Height and width in pixels, such as 128x64."""
    parts = text.lower().split("x")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 128x64")
    height, width = (positive_int(part) for part in parts)
    if height * width > EXPORT_MAX_PIXELS:
        raise argparse.ArgumentTypeError(
            f"{text!r} has more than {EXPORT_MAX_PIXELS} pixels; give a smaller one"
        )
    return height, width


def _batch_sizes(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(positive_int(part.strip()) for part in text.split(",")))
