"""What a conversion reports, to readers and to scripts."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mgn.config.options import REDUCTION_ORDERS
from mgn.config.variants import described, kept, shown_value
from mgn.conversion import parity
from mgn.conversion.to_pytorch import Written
from mgn.conversion.to_tensorflow import Conversion, Source
from mgn.network import BRANCHES, HEADS
from mgn.network.architecture import EXTRA_BN
from mgn.network.layers import GEM
from mgn.system.errors import MgnError
from mgn.weights.coverage import Coverage

_AMBIGUOUS = {  # what a family's name leaves open
    "ResNet-50 of torchvision or torchreid": "torchvision's v1 and v2 have the same keys and shapes"
}
_PARTS = {"stem": ("backbone",)}  # of the network: the scopes of each
_PARTS |= {branch.name: (branch.name, EXTRA_BN.format(branch.name)) for branch in BRANCHES}
_PARTS["powers"] = (GEM,)
_PARTS |= {head.name: (head.reduction, head.classifier) for head in HEADS}
_SHOWN = 4  # names in a note


def coverage_text(source: Source) -> str:
    """What was recognised, and where each weight goes."""
    name = source.coverage.family.name
    remark = f" ({_AMBIGUOUS[name]})" if name in _AMBIGUOUS else ""
    which = f", {source.key}" if source.key else ""
    return f"{source.path}{which}: {name}{remark}\n{table(source.coverage)}"


def proof_text(done: Conversion, pool_given: bool) -> str:
    """The options, the order of the heads and why, and the differences between the networks."""
    lines = []
    if done.source.coverage.family.kind == "mgn":
        lines.append(_options_line(done.source, pool_given))
    if done.source.coverage.order:
        lines.append(_order_line(done))
    lines.append("largest difference between PyTorch and TensorFlow, over the largest value:")
    lines.append(parity.table(done.differences))
    lines.append(f"all heads: {parity.largest(done.differences):.1e} at most")
    return "\n".join(lines)


def _options_line(source: Source, pool_given: bool) -> str:
    options = source.options
    count = options.num_classes
    classes = f"{count} classes (sorted ids)" if count else "no classifiers"
    if options.variant != "mgn-pytorch":
        return f"{classes}, network {described(options)}"
    other = "max" if options.pool == "avg" else "avg"
    chosen = f"the authors', as the file does not tell; else --pool {other}"
    origin = "as given" if pool_given else chosen
    return f"{classes}, {options.reduction} heads, {options.pool} pooling ({origin})"


def _order_line(done: Conversion) -> str:
    order = done.source.coverage.order
    line = f"reduction order: {order}"
    evidence = done.evidence
    if not evidence:
        return f"{line} (not verified; --verify IMAGES judges it by images)"
    other = next(name for name in REDUCTION_ORDERS if name != order)
    near, far = evidence.distances[order], evidence.distances[other]
    if evidence.order:
        judged = f"judged by {evidence.basis}: {near:.3f} deviations off, {other} {far:.3f}"
        return f"{line}, {judged}, {evidence.margin:.1f} times as far"
    distances = f"deviations off: {order} {near:.3f}, {other} {far:.3f}"
    options = done.source.options
    flags = f"--height {options.height} --width {options.width} --pool {options.pool}"
    return (
        f"{line}, not verified: {evidence.basis} cannot tell ({distances}). Images like those of"
        f" the training tell more; or the training was other than {flags}, taken here"
    )


def use_text(source: Source, prefix: object) -> str:
    """What the checkpoint at `prefix` is good for; None: nothing was written."""
    if not prefix:
        return "dry run: nothing was written"
    if source.coverage.family.kind != "mgn":
        return f"{prefix}: a start for train.py --init_checkpoint"
    fresh = "" if source.options.num_classes else " (with --fresh_classifier)"
    return f"{prefix}: evaluate, export or train from it{fresh}"


def way_back_text(done: Written, pt_path: object) -> str:
    """What `to_pytorch.convert` wrote, and its proof."""
    prefix, options = done.checkpoint.prefix, done.checkpoint.options
    size = f"{options.height}×{options.width}"
    needed = f"{size} images, {described(options)}"
    names = f"as {done.family.name} names them"
    flags = [f"--{name} {shlex.quote(shown_value(value))}" for name, value in done.flags.items()]
    again = f"; to convert it again, add {' '.join(flags)}" if flags else ""
    left_out = f"; left out {len(done.dropped)} of classifiers" if done.dropped else ""
    lines = (
        f"{prefix}: {done.tensors} tensors {names}, equal bit for bit{left_out}",
        "largest difference between TensorFlow and PyTorch, over the largest value:",
        parity.table(done.differences),
        f"{pt_path}: for {needed}{again}",
    )
    return "\n".join(lines)


def as_json(done: Conversion, written: object) -> str:
    """All that is known of a conversion; `written` is its prefix, None after a dry run."""
    made = _record(done.source)
    if done.evidence:
        made["evidence"] = done.evidence.record()
    made["differences"] = parity.record(done.differences)
    made["written"] = written
    return json.dumps(made, indent=2)


def failure_json(path: object, source: Source | None, error: MgnError) -> str:
    """What is known of a conversion that failed: its file, what was found in it, the reason."""
    known = _record(source) if source else {"file": str(path)}
    return json.dumps({**known, **error.details, "error": str(error), "written": None}, indent=2)


def _record(source: Source) -> dict:
    """What a file holds, as JSON values."""
    coverage = source.coverage
    tensors = {}
    for name, key in coverage.keys.items():
        tensors[name] = {"key": key, "shape": coverage.shapes[key]}
    return {
        "file": str(source.path),
        "key": source.key,
        "family": coverage.family.name,
        "kind": coverage.family.kind,
        "options": kept(source.options),
        "reduction_order": coverage.order,
        "groups": [group._asdict() for group in groups(coverage)],
        "totals": totals(coverage),
        "tensors": tensors,
        "notes": notes(coverage),
    }


class Group(NamedTuple):
    """A part of the network; it takes its weights from one place in the file, a head from two."""

    name: str
    tensors: int
    values: int
    shapes: list[tuple[int, ...]]  # of the largest tensor from each place, as it is in the file
    sources: list[str]  # what its keys begin with: `reduction_0.*`


def groups(coverage: Coverage) -> list[Group]:
    """The parts that got weights."""
    found = [_group(part, scopes, coverage) for part, scopes in _PARTS.items()]
    return [group for group in found if group.tensors]


def _group(part: str, scopes: Sequence[str], coverage: Coverage) -> Group:
    shapes, largest, sources = [], [], []
    for scope in scopes:
        keys = [key for name, key in coverage.keys.items() if name.split("/")[0] == scope]
        found = [coverage.shapes[key] for key in keys]
        if found:
            largest.append(max(found, key=np.prod))
        shapes += found
        sources += dict.fromkeys(map(_beginning, keys))  # each once
    values = sum(int(np.prod(shape)) for shape in shapes)
    return Group(part, len(shapes), values, largest, sources)


def _beginning(key: str) -> str:
    """The first component of a key, with the second where the first says nothing."""
    separator = "/" if "/" in key else "."
    parts = key.split(separator)
    count = 2 if parts[0] == "base" else 1
    return separator.join([*parts[:count], "*"])


def totals(coverage: Coverage) -> dict[str, int]:
    """Variables that got a weight, their values, and the tensors of the file that these are."""
    made = groups(coverage)
    return {
        "tensors": sum(group.tensors for group in made),
        "values": sum(group.values for group in made),
        "tensors_of_the_file": len(coverage.shapes),
    }


def table(coverage: Coverage) -> str:
    """All groups and their total, then what is missing, left over or passed over."""
    rows = [("part", "tensors", "values", "largest", "from")]
    for group in groups(coverage):
        shapes = ", ".join("×".join(map(str, shape)) for shape in group.shapes)
        sources = " ".join(group.sources)
        rows.append((group.name, str(group.tensors), f"{group.values:,}", shapes, sources))
    tensors, values, in_file = totals(coverage).values()
    rows.append(("total", str(tensors), f"{values:,}", "", f"{in_file} tensors of the file"))
    a, b, c, d, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"{r[0]:<{a}}  {r[1]:>{b}}  {r[2]:>{c}}  {r[3]:<{d}}  {r[4]}" for r in rows]
    for what, names in notes(coverage).items():
        more = ", ..." if len(names) > _SHOWN else ""
        lines.append(f"{what}: {len(names)} ({', '.join(names[:_SHOWN])}{more})")
    return "\n".join(lines)


def notes(coverage: Coverage) -> Mapping[str, list[str]]:
    """What was not mapped one to one: {what is the matter: names}."""
    found = {
        "missing": coverage.missing,
        "left over": coverage.extra,
        "of another shape": coverage.wrong,
        "with NaN or infinity": coverage.not_finite,
        "missing, as allowed, so at initial values, or without classifiers": coverage.allowed,
    }
    found |= {f"passed over, {why}": keys for why, keys in coverage.passed_over.items()}
    return {what: names for what, names in found.items() if names}
