"""Which weight of a checkpoint goes where: what is mapped, missing, left over, or passed over and why."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from mgn.network import HEADS
from mgn.system.errors import CheckError
from mgn.weights.families import Family, recognise, to_tf_layout, torch_shape
from mgn.weights.variables import variable_shapes

_WIDE = (
    "classifiers of whole maps that take the pooled 2048 numbers; so all classifiers are dropped"
)


class Coverage(NamedTuple):
    """What becomes of a checkpoint's weights."""

    family: Family
    order: str | None  # of the reductions, "pytorch" or "mgn-reid"
    keys: dict[str, str]  # variable -> the key that it takes its value from
    missing: list[str]  # keys that are not there
    initial: list[
        str
    ]  # variables that keep their initial value: their keys are missing, as allowed
    allowed: list[str]  # those keys, and all classifiers' if none is there
    extra: list[str]  # keys that have no place
    passed_over: dict[str, list[str]]  # why -> keys that need no place
    wrong: list[str]  # keys of another shape than the network's, with both shapes
    not_finite: list[str]  # keys with NaN or infinity among their values, with how many
    shapes: dict[str, tuple[int, ...]]  # of all keys that are mapped, as they are in the file

    def check(self) -> None:
        """Raise `CheckError` unless every weight is mapped and none is left over; all are named."""
        if self.missing or self.extra:
            parts = [("missing", self.missing), ("left over", self.extra)]
            told = "; ".join(
                f"{len(keys)} {what} ({', '.join(keys)})" for what, keys in parts if keys
            )
            raise CheckError(f"not a whole {self.family.name} checkpoint: {told}")
        if self.wrong:
            listed = ", ".join(self.wrong[:10])
            raise CheckError(
                f"{len(self.wrong)} weights of another shape or type than the network's: {listed}"
            )
        check_finite(self.not_finite)


def options_in(state_dict: Mapping[str, np.ndarray], family: Family) -> dict:
    """The options that weights tell: {"reduction", "num_classes"} (pooling they do not tell).

    `num_classes` is 0 where there is no classifier, or none that fits.
    """
    slopes = family.key(f"{HEADS[0].reduction}/2/weight", family.order)
    biases = [family.key_of(f"{head.classifier}/bias") for head in HEADS]
    counts = [len(state_dict[key]) for key in biases if np.ndim(state_dict.get(key, 0)) == 1]
    usable = family.kind == "mgn" and counts and not _is_wide(state_dict, family)
    return {
        "reduction": "prelu" if slopes in state_dict else "relu",
        "num_classes": counts[0] if usable else 0,
    }


def _is_wide(state_dict: Mapping[str, np.ndarray], family: Family) -> bool:
    """All classifiers of whole maps take 2048 numbers, and those of stripes, all there, 256."""
    shapes = [np.shape(state_dict.get(family.key_of(f"{h.classifier}/weight"), ())) for h in HEADS]
    taken = [shape[1] if len(shape) == 2 else 0 for shape in shapes]
    return taken == [2048 if h.stripe is None else 256 for h in HEADS]


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
        variables: {name: shape} of the network, with the options that `options_in` found.
        order: of the reductions' numbers; None: the family's.
        allow_missing: patterns (as of a shell) of keys that may be missing.
        allow_extra: patterns of keys that may be left over.
    """
    order = (order or family.order) if family.order else None
    wanted = {name: family.key(name, order) for name in variables}
    wanted = {name: key for name, key in wanted.items() if key}
    classifiers = {
        family.key_of(f"{h.classifier}/{leaf}") for h in HEADS for leaf in ("weight", "bias")
    }
    missing = {key for key in wanted.values() if key not in state_dict}
    passed_over: dict[str, list[str]] = {}
    if family.kind == "mgn" and not classifiers & set(wanted.values()):  # num_classes is 0
        if _is_wide(state_dict, family):
            passed_over[_WIDE] = sorted(classifiers & set(state_dict))
        else:
            missing |= classifiers
    needless = {key for key in missing if _matches(key, allow_missing)}
    placed = {*wanted.values(), *(key for keys in passed_over.values() for key in keys)}
    extra = []
    for key in sorted(set(state_dict) - placed):
        why = _why_unused(key, family, allow_extra)
        if why:
            passed_over.setdefault(why, []).append(key)
        else:
            extra.append(key)
    keys = {name: key for name, key in wanted.items() if key in state_dict}
    return Coverage(
        family,
        order,
        keys,
        sorted(missing - needless),
        [name for name, key in wanted.items() if key in needless],
        sorted(needless),
        extra,
        passed_over,
        _wrong_shapes(state_dict, keys, variables),
        not_finite({key: state_dict[key] for key in keys.values()}),
        {key: state_dict[key].shape for key in keys.values()},
    )


def not_finite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Names of those with NaN or infinity among their values, each with how many: a training diverged."""
    floats = {name: value for name, value in arrays.items() if value.dtype.kind == "f"}
    bad = {name: int(np.sum(~np.isfinite(value))) for name, value in floats.items()}
    return [f"{name} ({count} of {floats[name].size})" for name, count in bad.items() if count]


def check_finite(bad: Sequence[str]) -> None:
    """Raise `CheckError` if `not_finite` found any."""
    if bad:
        listed = ", ".join([*bad[:10], *(["..."] if len(bad) > 10 else [])])
        raise CheckError(
            f"{len(bad)} weights hold NaN or infinity: {listed}; their training diverged"
        )


def _matches(key: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _why_unused(key: str, family: Family, allow_extra: Sequence[str]) -> str | None:
    if key.endswith("num_batches_tracked"):
        return "counters of batches"
    named = (what for pattern, what in family.unused if re.match(pattern, key))
    return next(named, "left over, as allowed" if _matches(key, allow_extra) else None)


def _wrong_shapes(state_dict: Mapping, keys: Mapping[str, str], variables: Mapping) -> list[str]:
    pairs = {key: (state_dict[key], torch_shape(variables[name])) for name, key in keys.items()}
    wrong = [
        f"{key} {got.shape} instead of {want}"
        for key, (got, want) in pairs.items()
        if got.shape != want
    ]
    return wrong + [
        f"{key} {got.dtype} instead of float"
        for key, (got, _) in pairs.items()
        if got.dtype.kind != "f"
    ]


def from_pytorch(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn a bare PyTorch state dict into float32 {variable name: array in TensorFlow's layout}.

    Args:
        state_dict: {key: array}, of one of `families.FAMILIES`; a ResNet-50's layers go into all
            three branches. Counters `num_batches_tracked` are passed over.

    Raises:
        InputError: another network's weights.
        CheckError: a key is missing or left over, or a shape is not the network's; all are named.
    """
    family = recognise(state_dict)
    coverage = cover(state_dict, family, variable_shapes(**options_in(state_dict, family)))
    coverage.check()
    return {name: to_tf_layout(state_dict[key]) for name, key in coverage.keys.items()}
