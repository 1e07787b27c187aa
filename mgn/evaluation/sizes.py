"""What smaller vectors cost: mAP and recall@10 by bytes a vector; and the file to export one."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mgn import metrics
from mgn.config.options import EMBEDDING_SIZE
from mgn.evaluation.featurefile import Embedded
from mgn.evaluation.plots import draw_sizes
from mgn.metrics import smaller
from mgn.metrics.distances import nearest
from mgn.metrics.reduction import Origin, Reductions, write_reductions
from mgn.metrics.smaller import Axes
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.system.files import write_json

REDUCTION = "reduction.npz"
_FIRST = 100  # of a ranking by bits, ranked again by whole vectors


@dataclass(frozen=True)
class Size:
    """The scores of one kind of vectors."""

    name: str
    bytes: int  # of a stored vector; whole ones that rank again lie on a disk besides
    mAP: float
    rank1: float
    recall10: float  # share of each query's ten nearest by whole vectors that are among its ten


def measure(embedded: Embedded) -> tuple[list[Size], Axes]:
    """Score every way of `smaller.ways`, and bits ranked again, the largest first.

    The principal axes of the gallery, as many as were tried at most, come with them.
    """
    query, gallery = embedded.query_features, embedded.gallery_features
    if query.shape[1] != EMBEDDING_SIZE:
        problem = f"{query.shape[1]} numbers a feature, not the {EMBEDDING_SIZE} of MGN's heads"
        raise InputError(f"--sizes: {problem}; use the features of a checkpoint")
    exact, _ = nearest(query, gallery, 10)
    found = []
    fitted = smaller.principal_axes(gallery)
    for way in smaller.ways(gallery, head_subsets(), fitted):
        small = way.make(query), way.make(gallery)
        result = metrics.evaluate(*small, *embedded.labels)
        ten = exact if way.name == "float32" else nearest(*small, 10)[0]
        found.append(_size(way.name, way.bytes, result, exact, ten))
    again = smaller.rerank_first(query, gallery, small, _FIRST)  # the last are bits
    result = metrics.evaluate_distances(again.distances, *embedded.labels)
    name = f"{way.name}, the first {_FIRST} again by float32"
    found.append(_size(name, way.bytes, result, exact, again.nearest))
    most = smaller.first_axes(fitted, max(smaller.COUNTS))
    return sorted(found, key=lambda size: -size.bytes), most


def head_subsets() -> dict[str, list[int]]:
    """Subsets of the heads by what they see: {name: numbers of heads}."""
    whole = [i for i, head in enumerate(HEADS) if head.stripe is None]
    subsets = {"heads of whole maps": whole}
    subsets["heads of parts"] = [i for i in range(len(HEADS)) if i not in whole]
    for branch in ("p1", "p2", "p3"):
        subsets[f"branch {branch}"] = [i for i, head in enumerate(HEADS) if head.branch == branch]
    return subsets


def _size(
    name: str, count: int, result: metrics.Result, exact: np.ndarray, ten: np.ndarray
) -> Size:
    shared = [len(np.intersect1d(*rows)) for rows in zip(exact, ten, strict=True)]
    recall = float(np.mean(shared) / exact.shape[1])
    return Size(name, count, float(result.mAP), float(result.cmc[0]), recall)


def write(embedded: Embedded, dataset: str, folder: Path) -> str:
    """Measure; write `sizes.json`, `sizes.png` and, for exports, `reduction.npz` into a folder.

    Returns the table to print.
    """
    found, fitted = measure(embedded)
    rows = [asdict(size) for size in found]
    write_json(folder / "sizes.json", {"sizes": rows})
    draw_sizes([(s.name, s.bytes, s.mAP, s.recall10) for s in found], folder / "sizes.png")
    lines = [as_text(found)]
    written = [folder / "sizes.json", folder / "sizes.png"]
    problem = _not_of_a_model(embedded)
    if problem:
        lines.append(f"no {REDUCTION}: {problem}")
    else:
        probe = np.zeros(0) if embedded.probe is None else embedded.probe
        about = embedded.flip, dataset, len(embedded.gallery.records)
        origin = Origin(embedded.made_by, probe, *about)
        scores = {row.pop("name"): row for row in rows}
        written.append(folder / REDUCTION)
        made = Reductions(origin, fitted, head_subsets(), scores)
        write_reductions(written[-1], made)
    return "\n".join([*lines, f"written: {', '.join(map(str, written))}"])


def _not_of_a_model(embedded: Embedded) -> str | None:
    """Why no export of a model gives these features, made smaller; None: one does."""
    if embedded.in_parts:
        return "made with --normalise parts, which only evaluate.py has"
    if embedded.mapped_from:
        return "the features are mapped from another model's"
    return None if embedded.made_by else "it is not known which model made the features"


def as_text(found: list[Size]) -> str:
    """A table, a row a size."""
    lines = [f"{'bytes':>6} {'mAP':>7} {'rank@1':>7} {'recall@10':>10}"]
    for size in found:
        figures = f"{size.bytes:>6} {size.mAP:>7.4f} {size.rank1:>7.4f} {size.recall10:>10.4f}"
        lines.append(f"{figures}  {size.name}")
    return "\n".join(lines)
