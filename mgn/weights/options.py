"""The options of another program's network: by its family, its keys and the command line."""

from collections.abc import Mapping, Sequence

import numpy as np

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS, check_pixels
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.weights.families import PIXELS, Family
from mgn.weights.told import check_agrees, check_possible, possible


def options_in(
    state_dict: Mapping[str, np.ndarray], family: Family, given: Mapping[str, object]
) -> NetworkOptions:
    """The options of a network in PyTorch's file: of its family, its keys, and the command line.

    `num_classes` is 0 where there is no classifier, or none that fits.

    Args:
        state_dict: {key: array}.
        family: what it is of.
        given: `height`, `width`, and of the rest what neither family nor keys tell: `p1_stride`;
            `mean` and `std` that the file does not have; `pool` and `reduction` of MGN-pytorch's
            kin; `stem_padding` of the family that asks for it.

    Raises:
        InputError: an option that the family or its keys contradict, or one that has to be given.
    """

    def shape_of(variable: str) -> tuple[int, ...] | None:
        key = family.key(variable, family.order)
        return np.shape(state_dict[key]) if key in state_dict else None

    values = dict(VARIANTS[family.variant])
    plain = family.variant == "mgn-pytorch"
    if plain:
        values["pool"] = family.pool
    told = possible(shape_of)
    del told["classifier"]  # a bias that is missing is missing
    for name in told if plain else ("ibn",):
        if values.get(name) not in told[name]:
            values[name] = told[name][0]
    values["num_classes"] = _count_classes(state_dict, family)
    there = [key for key in PIXELS if key in state_dict and family.kind == "mgn"]
    if len(there) == 1:
        raise InputError(f"{family.name}: has only {there[0]} of {' and '.join(PIXELS)}; save both")
    if there:
        for name, key in zip(("mean", "std"), PIXELS, strict=True):
            values[name] = _pixel_values(key, state_dict[key], values[name])

    # What the command line alone can tell; the rest of it must agree.
    if family.asks and family.asks not in given:
        when = "1 before 2020-11-06, 0 after it, and in v1.2, whose files are known by classifiers"
        problem = f"{family.name}: its keys do not tell how the stem is padded"
        raise InputError(f"{problem}; add --stem_padding 0 or 1 ({when})")
    free = {"height", "width", "p1_stride", family.asks}
    if not there:
        free |= {"mean", "std"}
    untold = {name: told[name] for name in ("pool", "reduction") if plain and len(told[name]) > 1}
    values |= {name: value for name, value in given.items() if name in {*free, *untold}}
    options = NetworkOptions(**values, variant=family.variant)
    if plain:  # others' powers are keys that may not be missing
        check_possible(options, {"pool": told["pool"]} | untold, family.name)
    # Of pools that weights do not tell, a variant's is that of its authors alone.
    agreeing = {"pool": options.pool} if "pool" in untold else {}
    check_agrees(options, {**given, **agreeing}, f"{family.name} has")
    return options


def _count_classes(state_dict: Mapping[str, np.ndarray], family: Family) -> int:
    if family.kind != "mgn" or is_wide(state_dict, family):
        return 0
    biases = [family.key_of(f"{head.classifier}/bias") for head in HEADS]
    counts = [len(state_dict[key]) for key in biases if np.ndim(state_dict.get(key, 0)) == 1]
    return counts[0] if counts else 0


def is_wide(state_dict: Mapping[str, np.ndarray], family: Family) -> bool:
    """All classifiers of whole maps take 2048 numbers, and those of stripes, all there, 256."""
    for head in HEADS:
        weight = state_dict.get(family.key_of(f"{head.classifier}/weight"))
        inputs = 2048 if head.stripe is None else 256
        if np.ndim(weight) != 2 or weight.shape[1] != inputs:
            return False
    return True


def _pixel_values(key: str, value: np.ndarray, usual: Sequence[float]) -> Sequence[float]:
    """Three numbers as people write them: 89.896, not the nearest float32's 89.89600372.

    What a file in float16 has of the `usual` ones stands for them.
    """
    if np.size(value) != 3 or not np.isfinite(value).all():
        problem = f"{key} has shape {np.shape(value)}"
        raise InputError(f"{problem}: must be three finite numbers, for R, G and B")
    if np.array_equal(np.float16(usual), value.ravel()):
        return usual
    numbers = tuple(float(str(number)) for number in np.float32(value).ravel())
    check_pixels(key, numbers, divides=key == PIXELS[1])
    return numbers
