"""Scores of a model on a data set, as a record and as tables."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn import metrics
from mgn.config.options import EMBEDDING_SIZE
from mgn.data.formats.table import DataSet
from mgn.data.records import check_matches, read_split
from mgn.evaluation.embedding import Embed, embed_query_and_gallery
from mgn.evaluation.featurefile import Embedded
from mgn.metrics.distances import normalise_parts
from mgn.metrics.single_shot import Draws, random_gallery, single_gallery_shot
from mgn.network import HEADS
from mgn.system.errors import InputError

_DRAWS = 10  # of random galleries, where a data set's protocol is that
_ROWS = ("mAP", "mAP_official", "mINP", "rank@1", "rank@3", "rank@5", "rank@10")
_NOTES = {
    "mAP": "  step AP, as scikit-learn and most papers",
    "mAP_official": "  trapezoid AP, Market-1501's own code",
}


@dataclass(frozen=True)
class Scores:
    """Plain and, if asked for, re-ranked results of one pass over the images."""

    plain: metrics.Result
    reranked: metrics.Result | None
    queries: int
    gallery: int
    skipped: tuple[str, ...]  # unreadable images, left out
    drawn: Draws | None = None  # of galleries with one image of each identity
    in_parts: bool = False  # each head's feature was normalised by itself
    mapped_from: str | None = None  # hash of the model whose features were mapped; None: not mapped

    def as_dict(self) -> dict:
        """What `metrics.json` holds of it."""
        counts = {
            "queries": self.queries,
            "valid_queries": self.plain.valid_queries,
            "gallery": self.gallery,
        }
        reranked = {"reranked": self.reranked.summary()} if self.reranked else {}
        drawn = {"single_gallery_shot": self.drawn.summary()} if self.drawn else {}
        how = {"normalise": "parts"} if self.in_parts else {}
        how |= {"mapped_from": self.mapped_from} if self.mapped_from else {}
        others = {"skipped": list(self.skipped)} | reranked | drawn | how
        return {**self.plain.summary(), **counts, **others}


@dataclass(frozen=True)
class CameraPair:
    """Scores of the queries of one camera in the images of another; NaN where none has a match."""

    query_camera: int
    gallery_camera: int
    valid_queries: int
    mAP: float
    rank1: float


def normalised(embedded: Embedded, how: str) -> Embedded:
    """Features as embedded ("whole": of length 1), or each head's of one length ("parts")."""
    if how == "whole":
        return embedded
    query, gallery = embedded.query_features, embedded.gallery_features
    if query.shape[1] != EMBEDDING_SIZE:
        problem = f"features of {query.shape[1]} numbers are not those of {len(HEADS)} heads"
        raise InputError(f"--normalise {how}: {problem}; leave it out")
    return dataclasses.replace(
        embedded,
        query_features=normalise_parts(query, len(HEADS)),
        gallery_features=normalise_parts(gallery, len(HEADS)),
        in_parts=True,
    )


def evaluate(embed: Embed, dataset: DataSet | Path) -> Scores:
    """Embed and score the query and gallery of a data set.

    Args:
        embed: list of uint8 RGB [H, W, 3] to float32 [N, 2048]; see `inference.load_embedder`.
        dataset: as `data.records.read_split` takes it.

    Raises:
        InputError: an empty split, an unreadable image, or no query with a match.
    """
    query = read_split(dataset, "query")
    gallery = read_split(dataset, "gallery")
    check_matches(query, gallery)
    return score(embed_query_and_gallery(embed, query, gallery))


def score(
    embedded: Embedded, rerank: bool = False, draws: int | None = None, pooled: bool = False
) -> Scores:
    """Score features; `rerank`: score k-reciprocal re-ranked distances (arXiv:1701.08398) too.

    With `draws`, galleries of one image of each identity are drawn as often and scored too; with
    `pooled` they are, from query and gallery together.
    """
    features = embedded.query_features, embedded.gallery_features
    plain = metrics.evaluate(*features, *embedded.labels)
    reranked = None
    if rerank:
        reranked = metrics.evaluate_distances(metrics.rerank(*features), *embedded.labels)
    drawn = score_draws(embedded, draws or _DRAWS, pooled) if draws or pooled else None
    counts = map(len, features)
    how = embedded.in_parts, embedded.mapped_from
    return Scores(plain, reranked, *counts, embedded.skipped, drawn, *how)


def score_draws(embedded: Embedded, draws: int, pooled: bool) -> Draws:
    """Score galleries of one image of each identity: see `score`."""
    query, gallery = embedded.query_features, embedded.gallery_features
    if pooled:
        ids = np.append(embedded.query.persons, embedded.gallery.persons)
        return random_gallery(np.concatenate([query, gallery]), ids, draws)
    return single_gallery_shot(query, gallery, *embedded.labels, draws=draws)


def score_camera_pairs(embedded: Embedded) -> list[CameraPair]:
    """Score the queries of each camera in the gallery images of each other camera."""
    query_ids, gallery_ids, query_cameras, gallery_cameras = embedded.labels
    pairs = []
    for there in np.unique(gallery_cameras):
        gallery = gallery_cameras == there
        features = embedded.gallery_features[gallery]  # a copy, made once a camera
        for here in np.unique(query_cameras[query_cameras != there]):
            query = query_cameras == here
            ids = query_ids[query], gallery_ids[gallery]
            cameras = query_cameras[query], gallery_cameras[gallery]
            figures = 0, float("nan"), float("nan")
            if np.isin(*ids).any():  # else no query has a match there
                result = metrics.evaluate(embedded.query_features[query], features, *ids, *cameras)
                figures = result.valid_queries, result.mAP, float(result.cmc[0])
            pairs.append(CameraPair(int(here), int(there), *figures))
    return sorted(pairs, key=lambda pair: (pair.query_camera, pair.gallery_camera))


def worst_queries(scores: Scores, count: int) -> list[int]:
    """Indices of the `count` queries of least AP, the worst first; equal ones by index."""
    order = np.argsort(scores.plain.average_precision, kind="stable")  # NaN, no match, comes last
    return order[: min(count, scores.plain.valid_queries)].tolist()


def summaries(scores: Scores) -> dict[str, dict[str, float]]:
    """The headline figures, plain and re-ranked: a column each."""
    columns = {"plain": scores.plain.summary()}
    if scores.reranked:
        columns["re-ranked"] = scores.reranked.summary()
    return columns


def table(scores: Scores) -> str:
    """The results as text, both definitions of mAP labelled."""
    columns = summaries(scores)
    lines = [f"{'':<14}" + "".join(f"{name:>12}" for name in columns)]
    for row in _ROWS:
        cells = "".join(f"{figures[row]:>12.4f}" for figures in columns.values())
        lines.append(f"{row:<14}{cells}{_NOTES.get(row, '')}")
    lines.append(counts_line(scores))
    if scores.drawn:
        lines.append(draws_line(scores.drawn))
    return "\n".join(lines)


def draws_line(drawn: Draws) -> str:
    """The means over random galleries, on one line."""
    figures = drawn.summary()
    ranks = ", ".join(f"rank@{k} {figures[f'rank@{k}']:.4f}" for k in (1, 5, 10, 20))
    of = f"one gallery image of each of {drawn.identities} identities, mean of {drawn.draws} draws"
    return f"{of}: {ranks} (rank@1 +- {drawn.spread:.4f}), mAP {drawn.mAP:.4f}"


def counts_line(scores: Scores) -> str:
    """How many queries and gallery images there are, and what is left out."""
    parts = [f"{scores.plain.valid_queries} queries, {scores.gallery} gallery images"]
    left_out = scores.queries - scores.plain.valid_queries
    if left_out:
        parts.append(f"{left_out} queries without a match in another camera are not counted")
    if scores.skipped:
        parts.append(f"{len(scores.skipped)} unreadable images are left out")
    if scores.in_parts:
        parts.append("each head's feature normalised by itself")
    if scores.mapped_from:
        parts.append(f"query and gallery features mapped from model {scores.mapped_from[:12]}")
    return "; ".join(parts)


def camera_table(pairs: list[CameraPair]) -> str:
    """MAP and rank@1 as text: a row a query camera, a column a gallery camera."""
    here_cameras = sorted({pair.query_camera for pair in pairs})
    there_cameras = sorted({pair.gallery_camera for pair in pairs})
    cells = {}
    for pair in pairs:
        if pair.valid_queries:
            figures = f"{pair.mAP:.3f} / {pair.rank1:.3f}"
            cells[pair.query_camera, pair.gallery_camera] = figures
    lines = ["mAP / rank@1 of queries (rows) in the images of one camera (columns)"]
    lines.append(f"{'':<8}" + "".join(f"{f'camera {there}':>16}" for there in there_cameras))
    for here in here_cameras:
        row = "".join(f"{cells.get((here, there), '-'):>16}" for there in there_cameras)
        lines.append(f"{f'cam. {here}':<8}{row}")
    return "\n".join(lines)


def summary_line(scores: Scores) -> str:
    """The figures that are compared most, on one line."""
    figures = scores.plain.summary()
    names = [name for name in _ROWS if name not in ("mAP_official", "mINP")]
    return "  ".join(f"{name} {figures[name]:.4f}" for name in names)
