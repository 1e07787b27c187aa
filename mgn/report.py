"""What an evaluation leaves in a folder: `metrics.json` and pictures."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn import sheets, verification
from mgn.attention import draw_head_maps, head_maps
from mgn.checkpoints import Checkpoint
from mgn.embedding import Embedded, Read
from mgn.evaluation import CameraPair, Scores, camera_table, score_camera_pairs, table, worst_queries
from mgn.files import replacing, write_json
from mgn.plots import draw_cmc, draw_distances, draw_roc

WORST, SAMPLE = 20, 10  # queries on the sheets
_TOP = 10  # gallery pictures beside each
_LOOKED_AT = 4  # queries, of the worst and of the others, whose heads are drawn


@dataclass(frozen=True, eq=False)
class Report:
    """All there is to say of one evaluation."""

    scores: Scores
    embedded: Embedded
    verified: verification.Verification
    camera_pairs: list[CameraPair]
    worst: list[int]  # queries, the worst first
    sample: list[int]  # queries with a match, drawn at random
    model: str
    dataset: str


def examine(scores: Scores, embedded: Embedded, model: str, dataset: str) -> Report:
    """Compute what goes beyond the scores: verification, camera pairs, worst queries."""
    verified = verification.verify(embedded.query_features, embedded.gallery_features, *embedded.labels)
    pairs, worst = score_camera_pairs(embedded), worst_queries(scores, WORST)
    valid = np.flatnonzero(scores.plain.first_match >= 0)
    sample = np.random.default_rng(0).permutation(valid)[:SAMPLE].tolist()
    return Report(scores, embedded, verified, pairs, worst, sample, model, dataset)


def as_dict(report: Report) -> dict:
    """What `metrics.json` holds."""
    plain, records = report.scores.plain, report.embedded.query.records
    worst = [
        {
            "query": records[i].path,
            "average_precision": float(plain.average_precision[i]),
            "first_match_rank": int(plain.first_match[i]) + 1,
        }
        for i in report.worst
    ]
    pairs = [
        {k: v for k, v in dataclasses.asdict(pair).items() if v == v}  # NaN is no JSON
        for pair in report.camera_pairs
    ]
    return {
        **report.scores.as_dict(),
        "verification": report.verified.summary(),
        "camera_pairs": pairs,
        "worst_queries": worst,
        "model": report.model,
        "dataset": report.dataset,
    }


def as_text(report: Report) -> str:
    """The tables for a terminal."""
    verified, plain, records = report.verified.summary(), report.scores.plain, report.embedded.query.records
    return "\n".join(
        [
            table(report.scores),
            "",
            f"same or different person: distance below {verified['threshold']:.4f} takes"
            f" {verified['false_positive_rate']:.2%} of different pairs for the same and misses"
            f" {verified['false_negative_rate']:.1%} of the same; equal error rate {verified['eer']:.2%}"
            f" at {verified['eer_threshold']:.4f}",
            "",
            camera_table(report.camera_pairs),
            "",
            f"the {len(report.worst)} worst queries: AP, rank of the first match",
            *(
                f"{plain.average_precision[i]:.4f} {plain.first_match[i] + 1:>6}  {records[i].path}"
                for i in report.worst
            ),
        ]
    )


def write(report: Report, output_dir: Path, read: Read, overwrite: bool = False) -> list[Path]:
    """Write `metrics.json`, the curves and the ranked sheets; returns their paths.

    Args:
        report: from `examine`.
        output_dir: made if need be.
        read: a picture's path to uint8 RGB [H, W, 3].
        overwrite: replace what is there.

    Raises:
        InputError: a file exists and `overwrite` is not set.
    """
    folder, scores, verified = Path(output_dir), report.scores, report.verified
    curves = {"plain": scores.plain.cmc} | ({"re-ranked": scores.reranked.cmc} if scores.reranked else {})
    write_json(folder / "metrics.json", as_dict(report), overwrite)
    with replacing(folder / "cmc.png", overwrite) as temporary:
        draw_cmc(curves, temporary)
    with replacing(folder / "distances.png", overwrite) as temporary:
        draw_distances(verified.edges, verified.same, verified.different, verified.threshold, temporary)
    with replacing(folder / "roc.png", overwrite) as temporary:
        suggested = verified.false_positive_rate, 1 - verified.false_negative_rate
        draw_roc(*verified.roc(), suggested, temporary)
    made = [folder / name for name in ("metrics.json", "cmc.png", "distances.png", "roc.png")]
    return [*made, *write_ranked_sheets(report, folder, read, overwrite)]


def write_ranked_sheets(report: Report, folder: Path, read: Read, overwrite: bool) -> list[Path]:
    """Draw the worst queries and a random sample, each with its nearest gallery pictures."""
    made = []
    for name, queries, how in (
        ("worst", report.worst, f"the {len(report.worst)} queries of least average precision"),
        ("sample", report.sample, f"{len(report.sample)} queries drawn at random"),
    ):
        made += sheets.write_sheets(
            ranked_rows(report, queries), how, folder, name, read, overwrite=overwrite
        )
    return made


def write_heads(
    report: Report, output_dir: Path, read: Read, checkpoint: Checkpoint, overwrite: bool = False
) -> Path:
    """Draw where each head looks, on some of the worst queries and some others: `heads.png`."""
    queries = list(dict.fromkeys([*report.worst[:_LOOKED_AT], *report.sample[:_LOOKED_AT]]))
    records = [report.embedded.query.records[i] for i in queries]
    pictures = [read(record.path) for record in records]
    path = Path(output_dir) / "heads.png"
    with replacing(path, overwrite) as temporary:
        titles = [Path(record.path).name for record in records]
        draw_head_maps(pictures, titles, head_maps(checkpoint, pictures), temporary)
    return path


def ranked_rows(report: Report, queries: Sequence[int]) -> list[sheets.Row]:
    """The nearest gallery pictures of some queries."""
    e = report.embedded
    indices, distances = sheets.nearest(e.query_features[queries], e.gallery_features, _TOP)
    precision = report.scores.plain.average_precision[queries]
    rows = []
    for query, ap, near, far in zip(queries, precision, indices, distances, strict=True):
        entries = [(e.gallery.records[i], float(d)) for i, d in zip(near, far, strict=True)]
        rows.append(sheets.Row(e.query.records[query], float(ap), entries))
    return rows
