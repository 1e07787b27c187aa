"""Whether a written PyTorch file is the network that was meant, when it is converted again."""

from collections.abc import Mapping

import numpy as np

from mgn.config import NetworkOptions
from mgn.config.variants import FIELDS, shown_value
from mgn.system.errors import CheckError, InputError
from mgn.weights.coverage import cover
from mgn.weights.families import Family, recognise
from mgn.weights.options import options_in

_NO_CLASSIFIERS = "fc_id_*"  # keys of MGN-pytorch that may be missing
_USUAL = NetworkOptions(0)


def check(
    state_dict: Mapping[str, np.ndarray],
    keys: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    options: NetworkOptions,
    family: Family,
) -> dict[str, object]:
    """Read a file's network from its keys, as a conversion does, and compare it with the one meant.

    Args:
        state_dict: {key: array}, as read from the file.
        keys: {variable: key} of what was written.
        shapes: {variable: shape} of the same.
        options: of the network that was written.
        family: whose keys they are.

    Returns:
        What has to be said to convert the file again: {option: value}.

    Raises:
        InputError: files of this family cannot hold the network: they have no place for an option.
    """
    without = not any(name.startswith("fc_") for name in keys)
    try:
        known = recognise(state_dict)
        flags = _needed(known, options, without)
        patterns = [flags["allow_missing"]] if "allow_missing" in flags else []
        given = {name: value for name, value in flags.items() if name != "allow_missing"}
        found = options_in(state_dict, known, given)
        coverage = cover(state_dict, known, shapes, allow_missing=patterns)
        coverage.check()
        differing = _differing(found, options)
        if coverage.keys != dict(keys) and not differing:
            differing = ["weights at other places"]
    except (InputError, CheckError) as error:
        differing = [str(error)]
    if differing:
        problem = f"a file of {family.name} cannot hold this network: {'; '.join(differing)}"
        raise InputError(f"{problem}; use an export, by export_pb.py")
    return flags


def _needed(family: Family, options: NetworkOptions, without: bool) -> dict[str, object]:
    """What the family's keys do not tell of this network."""
    flags = {}
    for name in ("height", "width"):
        if getattr(options, name) != getattr(_USUAL, name):
            flags[name] = getattr(options, name)
    if family.asks:
        flags[family.asks] = getattr(options, family.asks)
    if family.variant == "mgn-pytorch":
        if options.pool in ("avg", "max"):
            flags["pool"] = options.pool
        if without:
            flags["allow_missing"] = _NO_CLASSIFIERS
    return flags


def _differing(found: NetworkOptions, meant: NetworkOptions) -> list[str]:
    """Options that would come back otherwise."""
    differing = []
    for name in FIELDS:
        there, ours = getattr(found, name), getattr(meant, name)
        if _as_stored(there) != _as_stored(ours):
            differing.append(f"{name} {shown_value(ours)} would be {shown_value(there)}")
    return differing


def _as_stored(value: object) -> object:
    """Means and deviations are float32 in files; the rest is as it is."""
    return list(np.float32(value)) if isinstance(value, tuple) else value
