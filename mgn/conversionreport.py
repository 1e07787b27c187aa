"""What a conversion says of itself, to people and to scripts."""

import dataclasses

from mgn.config import POOLS, REDUCTION_ORDERS
from mgn.conversion import Conversion, Source
from mgn.covertable import groups, notes, table, totals
from mgn.parity import largest
from mgn.parity import record as difference_record
from mgn.parity import table as parity_table

_TOLD_APART = {  # what a family's name leaves open
    "ResNet-50 of torchvision or torchreid": "torchvision's v1 and v2 have the same keys and shapes",
}


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
    said = "as given" if pool_given else f"the authors', as the file does not tell; else --pool {other}"
    classes = "no classifiers" if not options.num_classes else f"{options.num_classes} classes (sorted ids)"
    return f"{classes}, {options.reduction} heads, {options.pool} pooling ({said})"


def _order_line(done: Conversion) -> str | None:
    order, evidence = done.source.coverage.order, done.evidence
    if not order:
        return None
    if not evidence:
        return f"reduction order: {order} (not verified; --verify PICTURES judges it by pictures)"
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
        f" {near:.3f}, {other} {far:.3f}). Pictures like those of the training tell more; or the training was"
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
            name: {"key": key, "shape": list(coverage.shapes[key])} for name, key in coverage.keys.items()
        },
        "notes": notes(coverage),
    }
    if done and done.evidence:
        made["evidence"] = done.evidence.record()
    if done:
        made["differences"] = difference_record(done.differences)
    return {**made, **more}
