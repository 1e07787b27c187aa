"""What a conversion says of itself, for readers and for scripts."""

import dataclasses
from collections.abc import Mapping, Sequence
from posixpath import commonpath
from typing import NamedTuple

import numpy as np

from mgn.config.options import POOLS, REDUCTION_ORDERS
from mgn.conversion.parity import largest
from mgn.conversion.parity import record as difference_record
from mgn.conversion.parity import table as parity_table
from mgn.conversion.to_tensorflow import Conversion, Source
from mgn.network import HEADS
from mgn.network.architecture import BODIES
from mgn.weights.coverage import Coverage

_TOLD_APART = {  # what a family's name leaves open
    "ResNet-50 of torchvision or torchreid": "torchvision's v1 and v2 have the same keys and shapes"
}
_PARTS = (
    *(("stem" if body == "backbone" else body, (body,)) for body in BODIES),
    *((head.name, (head.reduction, head.classifier)) for head in HEADS),
)
_SHOWN = 4  # names in a note


def coverage_text(source: Source) -> str:
    """What was recognised, and where each weight goes."""
    name = source.coverage.family.name
    remark = f" ({_TOLD_APART[name]})" if name in _TOLD_APART else ""
    return f"{source.path}: {name}{remark}\n{table(source.coverage)}"


def proof_text(done: Conversion, pool_given: bool) -> str:
    """The options, the order of the heads and why, and the differences between the networks."""
    source, lines = done.source, []
    if source.coverage.family.kind == "mgn":
        lines += [_options_line(source, pool_given), _order_line(done)]
    lines.append("largest difference between PyTorch and TensorFlow, over the largest value:")
    lines.append(parity_table(done.differences))
    lines.append(f"all heads: {largest(done.differences):.1e} at most")
    return "\n".join(line for line in lines if line)


def _options_line(source: Source, pool_given: bool) -> str:
    options = source.options
    other = next(pool for pool in POOLS if pool != options.pool)
    said = (
        "as given"
        if pool_given
        else f"the authors', as the file does not tell; else --pool {other}"
    )
    classes = (
        "no classifiers"
        if not options.num_classes
        else f"{options.num_classes} classes (sorted ids)"
    )
    return f"{classes}, {options.reduction} heads, {options.pool} pooling ({said})"


def _order_line(done: Conversion) -> str | None:
    order, evidence = done.source.coverage.order, done.evidence
    if not order:
        return None
    if not evidence:
        return f"reduction order: {order} (not verified; --verify IMAGES judges it by images)"
    other = next(name for name in REDUCTION_ORDERS if name != order)
    near, far = evidence.distances[order], evidence.distances[other]
    if evidence.order:
        return (
            f"reduction order: {order}, judged by {evidence.basis}: {near:.3f} deviations off, {other}"
            f" {far:.3f}, {evidence.margin:.1f} times as far"
        )
    taken = done.source.options
    return (
        f"reduction order: {order}, not verified: {evidence.basis} cannot tell (deviations off: {order}"
        f" {near:.3f}, {other} {far:.3f}). Images like those of the training tell more; or the training was"
        f" other than --height {taken.height} --width {taken.width} --pool {taken.pool}, taken here"
    )


def use_text(source: Source, prefix: object) -> str:
    """What the checkpoint at `prefix` is good for."""
    if source.coverage.family.kind != "mgn":
        return f"{prefix}: a start for train.py --init_checkpoint"
    fresh = "" if source.options.num_classes else " (with --fresh_classifier)"
    return f"{prefix}: evaluate, export or train from it{fresh}"


def record(source: Source, done: Conversion | None = None, **more: object) -> dict:
    """All of it as JSON values; `more` is added."""
    coverage = source.coverage
    made = {
        "file": str(source.path),
        "family": coverage.family.name,
        "kind": coverage.family.kind,
        "options": dataclasses.asdict(source.options),
        "reduction_order": coverage.order,
        "groups": [group._asdict() for group in groups(coverage)],
        "totals": totals(coverage),
        "tensors": {
            name: {"key": key, "shape": list(coverage.shapes[key])}
            for name, key in coverage.keys.items()
        },
        "notes": notes(coverage),
    }
    if done and done.evidence:
        made["evidence"] = done.evidence.record()
    if done:
        made["differences"] = difference_record(done.differences)
    return {**made, **more}


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
    return "\n".join(
        lines + [f"{what}: {_shortened(names)}" for what, names in notes(coverage).items()]
    )


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
    return (
        f"{len(names)} ({', '.join([*names[:_SHOWN], *(['...'] if len(names) > _SHOWN else [])])})"
    )
