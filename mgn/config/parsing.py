"""Options as flags: those of a dataclass, and those that several scripts share."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgn.config.options import EXPORT_MAX_PIXELS, PRECISIONS, TrainConfig
from mgn.config.variants import ASKS_PADDING, POOLS, VARIANTS
from mgn.system.cli import Parser, existing_path, model_path, positive_int
from mgn.system.errors import InputError
from mgn.system.files import refuse_existing
from mgn.system.numbers import decimal_number, whole_number

_METAVARS = {
    float: "X",
    float | None: "X",
    bool: "true|false",
    tuple[int, ...]: "N,N",
    tuple[float, ...]: "R,G,B",
    tuple[str, ...]: "NAME,NAME",
}
# What `train.py` may have changed of a variant, beside those with a help text of their own.
_CHANGED = ("reduction", "p1_stride", "ibn", "extra_bn", "mean", "std")


def add_dataclass_options(
    parser: argparse.ArgumentParser, options: type, choices: Mapping[str, Sequence[str]]
) -> None:
    """One flag a field, with its name, type and help, in its group; absent where not given.

    Args:
        parser: gets the groups.
        options: dataclass whose fields have a group, a help text and what they may be.
        choices: of fields that do not know theirs.
    """
    groups = {}
    for field in dataclasses.fields(options):
        group = field.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        _add_field(groups[group], field, choices)


def _add_field(group: argparse._ArgumentGroup, field: dataclasses.Field, choices: Mapping) -> None:
    names = field.metadata["allowed"] if field.type is str else ()
    names = choices.get(field.name, names) or None
    flag = {"nargs": "?", "const": True} if field.type is bool else {"choices": names}
    group.add_argument(
        f"--{field.name}",
        type=_TYPES[field.type],
        default=argparse.SUPPRESS,
        help=field.metadata["help"],
        metavar=None if names else _METAVARS.get(field.type, "N"),
        **flag,
    )


def add_network_options(
    parser: argparse.ArgumentParser, when: str = "only for a checkpoint without its .json file"
) -> None:
    """Flags for what weights do not tell."""
    group = parser.add_argument_group(when)
    group.add_argument(
        "--pool", choices=POOLS, help="pooling of the heads, which weights do not tell"
    )
    group.add_argument("--height", type=positive_int, help="image height, pixels")
    group.add_argument("--width", type=positive_int, help="image width, pixels")
    group.add_argument("--variant", choices=tuple(VARIANTS), help="published network that it is")
    padding = f"zeros around the map that the stem pools, of {ASKS_PADDING}"
    group.add_argument("--stem_padding", type=int, choices=(0, 1), help=padding)
    for field in dataclasses.fields(TrainConfig):
        if field.name in _CHANGED:
            _add_field(group, field, {})


def network_options(flags: argparse.Namespace) -> dict:
    """The options of `add_network_options` that were given."""
    names = ("pool", "height", "width", "variant", "stem_padding", *_CHANGED)
    given = {name: getattr(flags, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Flags of both scripts that freeze a checkpoint."""
    parser.add_argument(
        "--checkpoint", type=model_path, required=True, help="train_dir, or prefix of a checkpoint"
    )
    parser.add_argument("--pb_path", type=Path, required=True, help="file to make")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="type of the weights: bfloat16 for CPUs with AVX-512 BF16 or AMX and new GPUs,"
        " float16 for GPUs",
    )
    parser.add_argument(
        "--winograd",
        action="store_true",
        help="3x3 convolutions of many channels by fewer multiplications: on CPUs 8 to 20 %% faster"
        " in batches of 8 or more, not for single images;"
        " the file is 2.2 times as large, and OpenCV does not load it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --pb_path")
    add_network_options(parser)


def parse_export(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse, and check what can be checked before TensorFlow is loaded."""
    flags = parser.parse_args(arguments)
    refuse_existing(flags.pb_path, flags.overwrite)
    if flags.pb_path.suffix != ".pb":
        raise InputError(f"--pb_path {flags.pb_path}: must end in .pb, as other tools expect")
    return flags


def export_options(flags: argparse.Namespace) -> dict:
    """What `freezing.export_pb` takes from these flags."""
    named = {name: getattr(flags, name) for name in ("precision", "winograd", "overwrite")}
    return named | network_options(flags)


def parse_serving(description: str, arguments: list[str]) -> argparse.Namespace:
    """Flags of both scripts that wrap a `.pb` for TensorFlow Serving."""
    parser = Parser(description)
    parser.add_argument(
        "--pb_path", type=existing_path, required=True, help="frozen graph to serve"
    )
    parser.add_argument(
        "--export_path", type=Path, required=True, help="folder of versions, the server's base_path"
    )
    parser.add_argument(
        "--version", type=positive_int, help="omitted: one more than the highest there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace that version")
    parser.add_argument(
        "--warmup",
        type=_batch_sizes,
        default="1,8",
        metavar="N,N",
        help="images in each request with which a server warms up; none may be above the server's"
        " max_batch_size, or it never becomes available",
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
        raise argparse.ArgumentTypeError(f"{text!r} has more than {EXPORT_MAX_PIXELS} pixels")
    return height, width


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _whole_number(text: str) -> int:
    try:
        return whole_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def _number(text: str) -> float:
    try:
        return decimal_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def _number_or_none(text: str) -> float | None:
    try:
        return None if text.lower() == "none" else decimal_number(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor none") from None


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(whole_number(part.strip()) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 40,60") from None


def _batch_sizes(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(positive_int(part.strip()) for part in text.split(",")))


def _decimals(text: str) -> tuple[float, ...]:
    try:
        return tuple(decimal_number(part.strip()) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 89.9,79.2,80") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


_TYPES = {  # of a field -> of its flag
    str: str,
    int: _whole_number,
    float: _number,
    bool: _boolean,
    float | None: _number_or_none,
    int | None: positive_int,
    tuple[int, ...]: _numbers,
    tuple[float, ...]: _decimals,
    tuple[str, ...]: _names,
}
