"""The coverage of a conversion as a table: a row for the stem, each branch and each head."""

from collections.abc import Mapping, Sequence
from posixpath import commonpath
from typing import NamedTuple

import numpy as np

from mgn.coverage import Coverage
from mgn.families import BODIES
from mgn.network import HEADS

_PARTS = (
    *(("stem" if body == "backbone" else body, (body,)) for body in BODIES),
    *((head.name, (head.reduction, head.classifier)) for head in HEADS),
)
_SHOWN = 4  # names in a note


class Group(NamedTuple):
    """A part of the network; it takes its weights from one place in the file, a head from two."""

    name: str
    tensors: int
    values: int
    shapes: list[tuple[int, ...]]  # of the largest tensor from each place, as it is in the file
    sources: list[str]  # patterns of keys: `reduction_0.*`


def groups(coverage: Coverage) -> list[Group]:
    """The parts that got weights."""
    found = [_group(name, scopes, coverage) for name, scopes in _PARTS]
    return [group for group in found if group.tensors]


def _group(name: str, scopes: Sequence[str], coverage: Coverage) -> Group:
    places = [[k for v, k in coverage.keys.items() if v.split("/")[0] == scope] for scope in scopes]
    places = [keys for keys in places if keys]
    shapes = [[coverage.shapes[key] for key in keys] for keys in places]
    return Group(
        name,
        sum(map(len, places)),
        sum(int(np.prod(shape)) for place in shapes for shape in place),
        [max(place, key=np.prod) for place in shapes],
        [pattern for keys in places for pattern in _patterns(keys)],
    )


def _patterns(keys: Sequence[str]) -> list[str]:
    """What keys begin with: one pattern if that says where they are, else one for each next component."""
    separator = "/" if "/" in keys[0] else "."
    above = ["/".join(key.split(separator)[:-1]) for key in keys]
    common = commonpath(above).replace("/", separator)
    if common and common != "base":
        return [f"{common}{separator}*"]
    start = f"{common}{separator}" if common else ""
    following = dict.fromkeys(key.removeprefix(start).split(separator)[0] for key in keys)
    return [f"{start}{part}{separator}*" for part in following]


def totals(coverage: Coverage) -> dict[str, int]:
    """Of all parts: variables that got a weight, their values, and tensors of the file that these are."""
    made = groups(coverage)
    return {
        "tensors": sum(group.tensors for group in made),
        "values": sum(group.values for group in made),
        "tensors_of_the_file": len(coverage.shapes),
    }


def table(coverage: Coverage) -> str:
    """All groups and their total, then what is missing, left over or passed over."""
    rows = [("part", "tensors", "values", "largest", "from")]
    for g in groups(coverage):
        shapes = ", ".join("×".join(map(str, shape)) for shape in g.shapes)
        rows.append((g.name, str(g.tensors), f"{g.values:,}", shapes, " ".join(g.sources)))
    tensors, values, in_file = totals(coverage).values()
    rows.append(("total", str(tensors), f"{values:,}", "", f"{in_file} tensors of the file"))
    a, b, c, d = (max(len(row[i]) for row in rows) for i in range(4))
    lines = [f"{r[0]:<{a}}  {r[1]:>{b}}  {r[2]:>{c}}  {r[3]:<{d}}  {r[4]}" for r in rows]
    return "\n".join(lines + [f"{what}: {_shortened(names)}" for what, names in notes(coverage).items()])


def notes(coverage: Coverage) -> Mapping[str, list[str]]:
    """What was not mapped one to one: {what is the matter: names}."""
    told = {
        "missing": coverage.missing,
        "left over": coverage.extra,
        "of another shape": coverage.wrong,
        "with NaN or infinity": coverage.not_finite,
        "missing, as allowed, so at initial values, or without classifiers": coverage.allowed,
        **{f"passed over, {why}": keys for why, keys in coverage.passed_over.items()},
    }
    return {what: names for what, names in told.items() if names}


def _shortened(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join([*names[:_SHOWN], *(['...'] if len(names) > _SHOWN else [])])})"
