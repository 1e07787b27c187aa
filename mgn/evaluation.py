"""Embed the query and gallery of a data set with any `embed`, score it, and write what a reader needs."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn import metrics
from mgn.data import Split, check_matches, read_split
from mgn.files import replacing, write_json
from mgn.images import PictureReader
from mgn.progress import Progress

_BATCH = 32  # pictures read ahead of the network
_READERS = 4  # threads that decode
_ROWS = ("mAP", "mAP_official", "mINP", "rank@1", "rank@3", "rank@5", "rank@10")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """Plain and, if asked for, re-ranked results of one pass over the pictures."""

    plain: metrics.Result
    reranked: metrics.Result | None
    queries: int
    gallery: int

    def as_dict(self) -> dict:
        """What `metrics.json` holds."""
        counts = {"queries": self.queries, "valid_queries": self.plain.valid_queries, "gallery": self.gallery}
        reranked = {"reranked": self.reranked.summary()} if self.reranked else {}
        return {**self.plain.summary(), **counts, **reranked}


def evaluate(embed: Callable[[list], np.ndarray], dataset: Path, rerank: bool = False) -> Scores:
    """Score a model on the query and gallery folders of a Market-1501 data set.

    Args:
        embed: list of uint8 RGB [H, W, 3] to float32 [N, 2048]; see `inference.load_embedder`.
        dataset: folder that holds `query` and `bounding_box_test`.
        rerank: score k-reciprocal re-ranked distances (arXiv:1701.08398) too.

    Raises:
        InputError: an empty split, an unreadable picture, or no query with a match.
    """
    query, gallery = read_split(dataset, "query"), read_split(dataset, "gallery")
    log.info(
        f"query: {len(query.records)} pictures; gallery: {len(gallery.records)}, without {gallery.junk} junk;"
        f" {query.ignored + gallery.ignored} other files ignored"
    )
    check_matches(query, gallery)
    with closing(PictureReader()) as reader:
        query_features = embed_split(embed, query, reader, "query")
        gallery_features = embed_split(embed, gallery, reader, "gallery")
    labels = query.persons, gallery.persons, query.cameras, gallery.cameras
    plain = metrics.evaluate(query_features, gallery_features, *labels)
    reranked = None
    if rerank:
        distances = metrics.rerank(query_features, gallery_features)
        reranked = metrics.evaluate_distances(distances, *labels)
    return Scores(plain, reranked, len(query.records), len(gallery.records))


def embed_split(
    embed: Callable[[list], np.ndarray], split: Split, read: Callable[[str], np.ndarray], what: str
) -> np.ndarray:
    """Embed every picture of a split, in its order: float32 [N, 2048]."""
    paths = split.paths
    starts = range(0, len(paths), _BATCH)
    features = []
    with (
        ThreadPoolExecutor(_READERS) as pool,
        Progress(len(paths), f"embedding {what}", "pictures") as progress,
    ):
        ahead = [pool.submit(read, path) for path in paths[:_BATCH]]
        for start in starts:
            pictures = [future.result() for future in ahead]
            ahead = [pool.submit(read, path) for path in paths[start + _BATCH : start + 2 * _BATCH]]
            features.append(embed(pictures))
            progress.advance(len(pictures))
    return np.concatenate(features)


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
            f"{row:<14}" + "".join(f"{c[row]:>12.4f}" for c in columns.values()) + notes.get(row, "")
        )
    left_out = scores.queries - scores.plain.valid_queries
    lines.append(
        f"{scores.plain.valid_queries} queries, {scores.gallery} gallery pictures"
        + (f"; {left_out} queries without a match in another camera are not counted" if left_out else "")
    )
    return "\n".join(lines)


def summary_line(scores: Scores) -> str:
    """The figures most people compare, on one line."""
    figures = scores.plain.summary()
    return "  ".join(f"{name} {figures[name]:.4f}" for name in _ROWS if name not in ("mAP_official", "mINP"))


def write(scores: Scores, output_dir: Path, model: str, dataset: str, overwrite: bool = False) -> list[Path]:
    """Write `metrics.json` and `cmc.png`; returns their paths."""
    from mgn.plots import draw_cmc  # matplotlib is slow to import, and only needed here

    record, picture = Path(output_dir) / "metrics.json", Path(output_dir) / "cmc.png"
    write_json(record, {**scores.as_dict(), "model": model, "dataset": dataset}, overwrite)
    curves = {"plain": scores.plain.cmc} | ({"re-ranked": scores.reranked.cmc} if scores.reranked else {})
    with replacing(picture, overwrite) as temporary:
        draw_cmc(curves, temporary)
    return [record, picture]
