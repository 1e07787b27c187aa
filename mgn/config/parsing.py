"""Options as flags: those of a dataclass, and those that several scripts share."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence

from mgn.config.options import TrainConfig
from mgn.config.variants import ASKS_PADDING, POOLS, VARIANTS
from mgn.system.cli import positive_int
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
    parser: argparse.ArgumentParser, when: str = "network of a checkpoint without its .json file"
) -> None:
    """Flags for what weights alone do not show."""
    group = parser.add_argument_group(when)
    group.add_argument(
        "--pool", choices=POOLS, help="pooling of the heads; weights alone do not show it"
    )
    group.add_argument("--height", type=positive_int, help="image height in pixels")
    group.add_argument("--width", type=positive_int, help="image width in pixels")
    group.add_argument("--variant", choices=tuple(VARIANTS), help="published network")
    padding = f"padding of the first max pooling (for {ASKS_PADDING})"
    group.add_argument("--stem_padding", type=int, choices=(0, 1), help=padding)
    for field in dataclasses.fields(TrainConfig):
        if field.name in _CHANGED:
            _add_field(group, field, {})


def network_options(flags: argparse.Namespace) -> dict:
    """The options of `add_network_options` that were given."""
    names = ("pool", "height", "width", "variant", "stem_padding", *_CHANGED)
    given = {name: getattr(flags, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def whole_number_flag(text: str) -> int:
    """`numbers.whole_number`, as a type of a flag."""
    try:
        return whole_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def number_flag(text: str) -> float:
    """`numbers.decimal_number`, as a type of a flag."""
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


def _decimals(text: str) -> tuple[float, ...]:
    try:
        return tuple(decimal_number(part.strip()) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 89.9,79.2,80") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


_TYPES = {  # of a field -> of its flag
    str: str,
    int: whole_number_flag,
    float: number_flag,
    bool: _boolean,
    float | None: _number_or_none,
    int | None: positive_int,
    tuple[int, ...]: _numbers,
    tuple[float, ...]: _decimals,
    tuple[str, ...]: _names,
}
