"""Scores of a model on a data set, as a record and as tables."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn import metrics
from mgn.data.records import check_matches, read_split
from mgn.evaluation.embedding import Embed, Embedded, embed_query_and_gallery
from mgn.metrics import ranking

_ROWS = ("mAP", "mAP_official", "mINP", "rank@1", "rank@3", "rank@5", "rank@10")


@dataclass(frozen=True)
class Scores:
    """Plain and, if asked for, re-ranked results of one pass over the images."""

    plain: metrics.Result
    reranked: metrics.Result | None
    queries: int
    gallery: int
    skipped: tuple[str, ...]  # unreadable images, left out

    def as_dict(self) -> dict:
        """What `metrics.json` holds of it."""
        counts = {
            "queries": self.queries,
            "valid_queries": self.plain.valid_queries,
            "gallery": self.gallery,
        }
        reranked = {"reranked": self.reranked.summary()} if self.reranked else {}
        return {**self.plain.summary(), **counts, "skipped": list(self.skipped), **reranked}


@dataclass(frozen=True)
class CameraPair:
    """Scores of the queries of one camera in the images of another; NaN where none has a match."""

    query_camera: int
    gallery_camera: int
    valid_queries: int
    mAP: float
    rank1: float


def evaluate(embed: Embed, dataset: Path) -> Scores:
    """Embed and score the query and gallery of a data set.

    Args:
        embed: list of uint8 RGB [H, W, 3] to float32 [N, 2048]; see `inference.load_embedder`.
        dataset: folder as `data.read_split` takes it.

    Raises:
        InputError: an empty split, an unreadable image, or no query with a match.
    """
    query, gallery = read_split(dataset, "query"), read_split(dataset, "gallery")
    check_matches(query, gallery)
    return score(embed_query_and_gallery(embed, query, gallery))


def score(embedded: Embedded, rerank: bool = False) -> Scores:
    """Score features; `rerank`: score k-reciprocal re-ranked distances (arXiv:1701.08398) too."""
    features = embedded.query_features, embedded.gallery_features
    plain = metrics.evaluate(*features, *embedded.labels)
    reranked = (
        metrics.evaluate_distances(ranking.rerank(*features), *embedded.labels) if rerank else None
    )
    return Scores(plain, reranked, *map(len, features), embedded.skipped)


def score_camera_pairs(embedded: Embedded) -> list[CameraPair]:
    """Score the queries of each camera in the gallery images of each other camera."""
    _, _, query_cameras, gallery_cameras = embedded.labels
    pairs = []
    for there in np.unique(gallery_cameras):
        gallery = gallery_cameras == there
        features = embedded.gallery_features[gallery]
        for here in np.unique(query_cameras[query_cameras != there]):
            query = query_cameras == here
            labels = [
                x[kept] for x, kept in zip(embedded.labels, (query, gallery) * 2, strict=True)
            ]
            if np.isin(labels[0], labels[1]).any():  # else none has a match there
                result = metrics.evaluate(embedded.query_features[query], features, *labels)
                figures = result.valid_queries, result.mAP, float(result.cmc[0])
            else:
                figures = 0, float("nan"), float("nan")
            pairs.append(CameraPair(int(here), int(there), *figures))
    return sorted(pairs, key=lambda pair: (pair.query_camera, pair.gallery_camera))


def worst_queries(scores: Scores, count: int) -> list[int]:
    """Indices of the `count` queries of least AP, the worst first; equal ones by index."""
    order = np.argsort(scores.plain.average_precision, kind="stable")  # NaN, no match, comes last
    return order[: min(count, scores.plain.valid_queries)].tolist()


def table(scores: Scores) -> str:
    """The results as text, both definitions of mAP labelled."""
    columns = {"plain": scores.plain.summary()}
    if scores.reranked:
        columns["re-ranked"] = scores.reranked.summary()
    notes = {
        "mAP": "  step AP, as scikit-learn and most papers",
        "mAP_official": "  trapezoid AP, Market-1501's own code",
    }
    lines = [f"{'':<14}" + "".join(f"{name:>12}" for name in columns)]
    for row in _ROWS:
        lines.append(
            f"{row:<14}"
            + "".join(f"{c[row]:>12.4f}" for c in columns.values())
            + notes.get(row, "")
        )
    left_out = scores.queries - scores.plain.valid_queries
    lines.append(
        f"{scores.plain.valid_queries} queries, {scores.gallery} gallery images"
        + (
            f"; {left_out} queries without a match in another camera are not counted"
            if left_out
            else ""
        )
        + (f"; {len(scores.skipped)} unreadable images are left out" if scores.skipped else "")
    )
    return "\n".join(lines)


def camera_table(pairs: list[CameraPair]) -> str:
    """MAP and rank@1 as text: a row a query camera, a column a gallery camera."""
    cameras = [
        sorted({getattr(p, side) for p in pairs}) for side in ("query_camera", "gallery_camera")
    ]
    found = {(p.query_camera, p.gallery_camera): p for p in pairs if p.valid_queries}
    lines = ["mAP / rank@1 of queries (rows) in the images of one camera (columns)"]
    lines.append(f"{'':<8}" + "".join(f"{f'camera {there}':>16}" for there in cameras[1]))
    for here in cameras[0]:
        row = [found.get((here, there)) for there in cameras[1]]
        cells = (f"{p.mAP:.3f} / {p.rank1:.3f}" if p else "-" for p in row)
        lines.append(f"{f'cam. {here}':<8}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def summary_line(scores: Scores) -> str:
    """The figures that are compared most, on one line."""
    figures = scores.plain.summary()
    return "  ".join(
        f"{name} {figures[name]:.4f}" for name in _ROWS if name not in ("mAP_official", "mINP")
    )
