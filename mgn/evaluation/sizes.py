"""What smaller vectors cost: mAP and recall@10 by bytes a vector, as `sizes.json` and a picture."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mgn import metrics
from mgn.evaluation.featurefile import Embedded
from mgn.evaluation.plots import draw_sizes
from mgn.metrics import smaller
from mgn.metrics.distances import nearest
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.system.files import write_json

_FIRST = 100  # of a ranking by bits, ranked again by whole vectors


@dataclass(frozen=True)
class Size:
    """The scores of one kind of vectors."""

    name: str
    bytes: int  # of a stored vector; whole ones that rank again lie on a disk besides
    mAP: float
    rank1: float
    recall10: float  # share of each query's ten nearest by whole vectors that are among its ten


def measure(embedded: Embedded) -> list[Size]:
    """Score every way of `smaller.ways`, and bits ranked again, the largest first."""
    query, gallery = embedded.query_features, embedded.gallery_features
    if query.shape[1] != 256 * len(HEADS):
        raise InputError(f"--sizes: {query.shape[1]} numbers a feature, not those of MGN's heads")
    exact, _ = nearest(query, gallery, 10)
    found = []
    for way in smaller.ways(gallery, head_subsets()):
        small = way.make(query), way.make(gallery)
        result = metrics.evaluate(*small, *embedded.labels)
        ten = exact if way.name == "float32" else nearest(*small, 10)[0]
        found.append(_size(way.name, way.bytes, result, exact, ten))
    again = smaller.rerank_first(query, gallery, small, _FIRST)  # the last are bits
    result = metrics.evaluate_distances(again.distances, *embedded.labels)
    name = f"{way.name}, the first {_FIRST} again by float32"
    found.append(_size(name, way.bytes, result, exact, again.nearest))
    return sorted(found, key=lambda size: -size.bytes)


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


def write(embedded: Embedded, folder: Path) -> str:
    """Measure, write `sizes.json` and `sizes.png` into a folder; returns the table to print."""
    found = measure(embedded)
    write_json(folder / "sizes.json", {"sizes": [asdict(size) for size in found]})
    draw_sizes([(s.name, s.bytes, s.mAP, s.recall10) for s in found], folder / "sizes.png")
    return f"{as_text(found)}\nwritten: {folder / 'sizes.json'}, {folder / 'sizes.png'}"


def as_text(found: list[Size]) -> str:
    """A table, a row a size."""
    lines = [f"{'bytes':>6} {'mAP':>7} {'rank@1':>7} {'recall@10':>10}"]
    for size in found:
        figures = f"{size.bytes:>6} {size.mAP:>7.4f} {size.rank1:>7.4f} {size.recall10:>10.4f}"
        lines.append(f"{figures}  {size.name}")
    return "\n".join(lines)
