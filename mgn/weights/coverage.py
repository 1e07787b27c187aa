"""Which weight of a checkpoint goes where: what is mapped, missing, left over or passed over."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from mgn.network import HEADS
from mgn.network.layers import GEM
from mgn.system.errors import CheckError
from mgn.weights.families import PIXELS, Family, recognise, to_tf_layout, torch_shape
from mgn.weights.options import is_wide, options_in
from mgn.weights.variables import variable_shapes

_WIDE = "classifiers of whole maps take the pooled 2048 numbers; so all classifiers are dropped"
_COPIES = "copies of the one power of all heads"

_BESIDE = (  # (pattern of keys beside a network of any family, what they are)
    (r".*num_batches_tracked$", "counters of batches"),
    (r"(.*\.)?n_averaged$", "a counter of averaged weights"),
    (r"\w*(criterion|loss)\w*\.", "of a loss"),
    (r"encoder_k\.|queue", "MoCo's encoder of keys and its queue"),
    (rf"({'|'.join(PIXELS)})$", "mean and deviation of images: options, not weights"),
)


class Coverage(NamedTuple):
    """What becomes of a checkpoint's weights."""

    family: Family
    order: str | None  # of the reductions, "pytorch" or "mgn-reid"
    keys: dict[str, str]  # variable -> the key that it takes its value from
    missing: list[str]  # keys that are not there
    initial: list[str]  # variables that keep their initial value: their keys may be missing
    allowed: list[str]  # those keys, and all classifiers' if none is there
    extra: list[str]  # keys that have no place
    passed_over: dict[str, list[str]]  # why -> keys that need no place
    wrong: list[str]  # keys of another shape than the network's, or no value for it; with both
    not_finite: list[str]  # keys with NaN or infinity among their values, with how many
    shapes: dict[str, tuple[int, ...]]  # of all keys that are mapped, as they are in the file

    def check(self) -> None:
        """Raise `CheckError` unless every weight is mapped and none is left over; all are named."""
        problems, flags = [], []
        if self.missing:
            problems.append(f"{len(self.missing)} missing ({', '.join(self.missing)})")
            flags.append("--allow_missing PATTERN")
        if self.extra:
            problems.append(f"{len(self.extra)} left over ({', '.join(self.extra)})")
            flags.append("--allow_extra PATTERN")
        if problems:
            problem = f"not a complete {self.family.name} checkpoint: {'; '.join(problems)}"
            raise CheckError(f"{problem}; to convert it anyway, add {' and '.join(flags)}")
        if self.wrong:
            problem = f"{len(self.wrong)} weights of another shape, type or kind than the network's"
            raise CheckError(f"{problem}: {', '.join(self.wrong[:10])}; convert another file")
        check_finite(self.not_finite)


def cover(
    state_dict: Mapping[str, np.ndarray],
    family: Family,
    variables: Mapping[str, tuple[int, ...]],
    order: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_extra: Sequence[str] = (),
) -> Coverage:
    """Say for every weight where it goes.

    Args:
        state_dict: {key: array} in PyTorch's layout.
        family: what it is of.
        variables: {name: shape} of the network, with the options that `options.options_in` found.
        order: of the reductions' numbers; None: the family's.
        allow_missing: patterns (as of a shell) of keys that may be missing.
        allow_extra: patterns of keys that may be left over.
    """
    order = (order or family.order) if family.order else None

    # Which key each variable takes its value from.
    wanted = {name: key for name in variables if (key := family.key(name, order))}
    keys = {name: key for name, key in wanted.items() if key in state_dict}
    missing = {key for key in wanted.values() if key not in state_dict}

    # Without a usable classifier, all are dropped, or missing.
    passed_over: dict[str, list[str]] = {}
    classifiers = _classifier_keys(family)
    if family.kind == "mgn" and not classifiers & set(wanted.values()):
        if is_wide(state_dict, family):
            passed_over[_WIDE] = sorted(classifiers & set(state_dict))
        else:
            missing |= classifiers
    copies = [key for key in family.copies if key not in wanted.values()]
    missing |= set(copies) - set(state_dict)
    if copies:
        passed_over[_COPIES] = sorted(set(copies) & set(state_dict))
    allowed = {key for key in missing if _matches(key, allow_missing)}

    # What is left of the file: passed over for a reason, or left over.
    placed = {*wanted.values(), *passed_over.get(_WIDE, ()), *copies}
    extra = []
    for key in sorted(set(state_dict) - placed):
        why = _why_unused(key, family, allow_extra)
        if why:
            passed_over.setdefault(why, []).append(key)
        else:
            extra.append(key)

    mapped = {key: state_dict[key] for key in keys.values()}
    return Coverage(
        family=family,
        order=order,
        keys=keys,
        missing=sorted(missing - allowed),
        initial=[name for name, key in wanted.items() if key in allowed],
        allowed=sorted(allowed),
        extra=extra,
        passed_over=passed_over,
        wrong=[
            *_wrong_shapes(state_dict, keys, variables),
            *_wrong_powers(state_dict, family, keys),
        ],
        not_finite=not_finite(mapped),
        shapes={key: value.shape for key, value in mapped.items()},
    )


def _classifier_keys(family: Family) -> set[str]:
    weights = {family.key_of(f"{head.classifier}/weight") for head in HEADS}
    biases = {family.key_of(f"{head.classifier}/bias") for head in HEADS}
    return (weights | biases) - {None}


def not_finite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Names of arrays with NaN or infinity, each with how many: their training diverged."""
    found = []
    for name, value in arrays.items():
        bad = int(np.sum(~np.isfinite(value))) if value.dtype.kind == "f" else 0
        if bad:
            found.append(f"{name} ({bad} of {value.size})")
    return found


def check_finite(bad: Sequence[str]) -> None:
    """Raise `CheckError` if `not_finite` found any."""
    if bad:
        listed = ", ".join(bad[:10]) + (", ..." if len(bad) > 10 else "")
        problem = f"{len(bad)} weights hold NaN or infinity: {listed}"
        raise CheckError(f"{problem}; the training diverged: use an earlier checkpoint")


def _matches(key: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _why_unused(key: str, family: Family, allow_extra: Sequence[str]) -> str | None:
    for pattern, what in (*_BESIDE, *family.unused):
        if re.match(pattern, key):
            return what
    return "left over, as allowed" if _matches(key, allow_extra) else None


def _wrong_shapes(state_dict: Mapping, keys: Mapping[str, str], variables: Mapping) -> list[str]:
    shapes, types = [], []
    for name, key in keys.items():
        value = state_dict[key]
        wanted = torch_shape(variables[name])
        if value.shape != wanted:
            shapes.append(f"{key} {value.shape} instead of {wanted}")
        if value.dtype.kind != "f":
            types.append(f"{key} {value.dtype} instead of float")
    return list(dict.fromkeys([*shapes, *types]))  # a ResNet's key is in three branches


def _wrong_powers(state_dict: Mapping, family: Family, keys: Mapping[str, str]) -> list[str]:
    """Powers of GeM that are none, and copies of one that differ from it."""
    wrong = []
    for name, key in keys.items():
        if name.endswith(f"{GEM}/p") and not (np.asarray(state_dict[key]) > 0).all():
            wrong.append(f"{key} {state_dict[key]}, which must be above 0")
    for key in set(family.copies[1:]) & set(state_dict):
        first = family.copies[0]
        if first in state_dict and not np.array_equal(state_dict[key], state_dict[first]):
            wrong.append(f"{key} {state_dict[key]}, but {first} {state_dict[first]}")
    return sorted(wrong)


def from_pytorch(
    state_dict: Mapping[str, np.ndarray], *, coverage: Coverage | None = None
) -> dict[str, np.ndarray]:
    """Turn a bare PyTorch state dict into float32 {variable name: array in TensorFlow's layout}.

    Args:
        state_dict: {key: array}, of one of `families.FAMILIES`; a ResNet-50's layers go into all
            three branches.
        coverage: of `cover`, checked by the caller; None: recognised and covered strictly here.

    Raises:
        InputError: another network's weights.
        CheckError: a key is missing or left over, or a shape is not the network's; all are named.
    """
    if coverage is None:
        family = recognise(state_dict)
        # No variable depends on what a family's keys do not tell.
        options = options_in(state_dict, family, {"stem_padding": 1} if family.asks else {})
        coverage = cover(state_dict, family, variable_shapes(options))
        coverage.check()
    return {name: to_tf_layout(state_dict[key]) for name, key in coverage.keys.items()}
