"""What an evaluation leaves in a folder: `metrics.json` and images."""

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn.evaluation import sheets
from mgn.evaluation.attention import draw_head_maps, head_maps
from mgn.evaluation.embedding import Embedded, Read
from mgn.evaluation.plots import draw_cmc, draw_distances, draw_roc
from mgn.evaluation.scoring import (
    CameraPair,
    Scores,
    camera_table,
    score_camera_pairs,
    table,
    worst_queries,
)
from mgn.metrics import verification
from mgn.system.errors import InputError
from mgn.system.files import write_json
from mgn.weights.checkpoints import Checkpoint

WORST, SAMPLE = 20, 10  # queries on the sheets
_TOP = 10  # gallery images beside each
_LOOKED_AT = 4  # queries, of the worst and of the others, whose heads are drawn
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Report:
    """All there is to say of one evaluation."""

    scores: Scores
    embedded: Embedded
    verified: verification.Verification | None  # None: there are no pairs to compare
    camera_pairs: list[CameraPair]
    worst: list[int]  # queries, the worst first
    sample: list[int]  # queries with a match, drawn at random
    model: str
    dataset: str


def examine(scores: Scores, embedded: Embedded, model: str, dataset: str) -> Report:
    """Compute what goes beyond the scores: verification, camera pairs, worst queries."""
    try:
        verified = verification.verify(
            embedded.query_features, embedded.gallery_features, *embedded.labels
        )
    except InputError as error:  # one person only, say: no reason to lose the scores
        log.warning(f"no threshold between same and different identities: {error}")
        verified = None
    pairs, worst = score_camera_pairs(embedded), worst_queries(scores, WORST)
    valid = np.flatnonzero(scores.plain.first_match >= 0)
    sample = np.random.default_rng(0).permutation(valid)[:SAMPLE].tolist()
    return Report(scores, embedded, verified, pairs, worst, sample, model, dataset)


def worst_rows(report: Report) -> list[tuple[str, float, int]]:
    """File, average precision and rank of the first match, from 1, of the worst queries."""
    plain, records = report.scores.plain, report.embedded.query.records
    return [
        (records[i].path, float(plain.average_precision[i]), int(plain.first_match[i]) + 1)
        for i in report.worst
    ]


def as_dict(report: Report) -> dict:
    """What `metrics.json` holds."""
    names = "query", "average_precision", "first_match_rank"
    pairs = [
        {k: v for k, v in dataclasses.asdict(pair).items() if v == v}  # NaN is no JSON
        for pair in report.camera_pairs
    ]
    return {
        **report.scores.as_dict(),
        "verification": report.verified.summary() if report.verified else None,
        "camera_pairs": pairs,
        "worst_queries": [dict(zip(names, row, strict=True)) for row in worst_rows(report)],
        "model": report.model,
        "dataset": report.dataset,
    }


def as_text(report: Report) -> str:
    """The tables for a terminal."""
    worst = [f"{ap:.4f} {rank:>6}  {path}" for path, ap, rank in worst_rows(report)]
    return "\n".join(
        [
            table(report.scores),
            "",
            *(_verification_lines(report.verified.summary()) if report.verified else []),
            camera_table(report.camera_pairs),
            "",
            f"the {len(worst)} worst queries: AP, rank of the first match",
            *worst,
        ]
    )


def _verification_lines(verified: dict) -> list[str]:
    found = ", ".join(
        f"{verified[f'tpr@fpr={rate}']:.1%} at {rate}" for rate in ("1e-2", "1e-3", "1e-4")
    )
    return [
        f"same or different person: distance below {verified['threshold']:.4f} takes"
        f" {verified['false_positive_rate']:.2%} of different pairs for the same and misses"
        f" {verified['false_negative_rate']:.1%} of the same",
        f"same pairs found, by share of different pairs taken for the same: {found};"
        f" equal error rate {verified['eer']:.2%} at distance {verified['eer_threshold']:.4f}",
        "",
    ]


def write(
    report: Report, folder: Path, read: Read, checkpoint: Checkpoint | None = None
) -> list[Path]:
    """Write `metrics.json`, the curves, the ranked sheets and, of a checkpoint, `heads.png`; returns paths.

    Args:
        report: from `examine`.
        folder: see `files.atomic_folder`.
        read: an image's path to uint8 RGB [H, W, 3].
        checkpoint: what was scored, if it is one.
    """
    scores, verified, made = (
        report.scores,
        report.verified,
        [folder / "metrics.json", folder / "cmc.png"],
    )
    write_json(made[0], as_dict(report))
    curves = {"plain": scores.plain.cmc} | (
        {"re-ranked": scores.reranked.cmc} if scores.reranked else {}
    )
    draw_cmc(curves, made[1])
    if verified:
        made += [folder / "distances.png", folder / "roc.png"]
        draw_distances(
            verified.edges, verified.same, verified.different, verified.threshold, made[2]
        )
        suggested = verified.false_positive_rate, 1 - verified.false_negative_rate
        draw_roc(*verified.roc(), suggested, made[3])
    for name, queries, how in (
        ("worst", report.worst, f"the {len(report.worst)} queries of least average precision"),
        ("sample", report.sample, f"{len(report.sample)} queries drawn at random"),
    ):
        made += sheets.write_sheets(ranked_rows(report, queries), how, folder, name, read)
    return made + (_write_heads(report, folder, read, checkpoint) if checkpoint else [])


def _write_heads(report: Report, folder: Path, read: Read, checkpoint: Checkpoint) -> list[Path]:
    """Draw where each head looks, on some of the worst queries and some others."""
    queries = list(dict.fromkeys([*report.worst[:_LOOKED_AT], *report.sample[:_LOOKED_AT]]))
    images = {}
    for path in (report.embedded.query.records[i].path for i in queries):
        with contextlib.suppress(InputError):  # features from a file, and an image damaged since
            images[Path(path).name] = read(path)
    if not images:
        return []
    maps = head_maps(checkpoint, list(images.values()))
    draw_head_maps(list(images.values()), list(images), maps, folder / "heads.png")
    return [folder / "heads.png"]


def ranked_rows(report: Report, queries: Sequence[int]) -> list[sheets.Row]:
    """The nearest gallery images of some queries."""
    e, precision = report.embedded, report.scores.plain.average_precision[queries]
    records, features = [e.query.records[i] for i in queries], e.query_features[queries]
    return sheets.ranked_rows(
        records, features, e.gallery.records, e.gallery_features, _TOP, precision
    )
