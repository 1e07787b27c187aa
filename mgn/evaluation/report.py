"""What an evaluation writes into a folder: `metrics.json` and pictures."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

import numpy as np

from mgn.evaluation import scoring, sheets
from mgn.evaluation.attention import draw_head_maps, head_maps
from mgn.evaluation.embedding import Read
from mgn.evaluation.featurefile import Embedded
from mgn.evaluation.plots import draw_cmc, draw_distances, draw_roc
from mgn.evaluation.scoring import CameraPair, Scores
from mgn.metrics import verification
from mgn.system.errors import CheckError, InputError, advice, first_line
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
    features = embedded.query_features, embedded.gallery_features
    try:
        verified = verification.verify(*features, *embedded.labels)
    except InputError as error:  # one person only, for example: no reason to lose the scores
        log.warning(f"warning: no threshold between same and different identities: {error}")
        verified = None
    pairs = scoring.score_camera_pairs(embedded)
    worst = scoring.worst_queries(scores, WORST)
    valid = np.flatnonzero(scores.plain.first_match >= 0)
    sample = np.random.default_rng(0).permutation(valid)[:SAMPLE].tolist()
    return Report(scores, embedded, verified, pairs, worst, sample, model, dataset)


def worst_rows(report: Report) -> list[tuple[str, float, int]]:
    """File, average precision and rank of the first match, from 1, of the worst queries."""
    plain = report.scores.plain
    rows = []
    for query in report.worst:
        path = report.embedded.query.records[query].path
        rank = int(plain.first_match[query]) + 1
        rows.append((path, float(plain.average_precision[query]), rank))
    return rows


def as_dict(report: Report) -> dict:
    """What `metrics.json` holds."""
    names = "query", "average_precision", "first_match_rank"
    pairs = []
    for pair in report.camera_pairs:
        figures = dataclasses.asdict(pair).items()
        pairs.append({name: value for name, value in figures if value == value})  # NaN is no JSON
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
    lines = [scoring.table(report.scores), ""]
    if report.verified:
        lines += _verification_lines(report.verified.summary())
    lines += [scoring.camera_table(report.camera_pairs), ""]
    worst = worst_rows(report)
    lines.append(f"the {len(worst)} worst queries: AP, rank of the first match")
    lines += [f"{ap:.4f} {rank:>6}  {path}" for path, ap, rank in worst]
    return "\n".join(lines)


def _verification_lines(verified: dict) -> list[str]:
    rates = ("1e-2", "1e-3", "1e-4")
    found = ", ".join(f"{verified[f'tpr@fpr={rate}']:.1%} at {rate}" for rate in rates)
    return [
        f"same or different person: distance below {verified['threshold']:.4f} takes"
        f" {verified['false_positive_rate']:.2%} of different pairs for the same and misses"
        f" {verified['false_negative_rate']:.1%} of the same",
        f"same pairs found, by share of different pairs taken for the same: {found};"
        f" equal error rate {verified['eer']:.2%} at distance {verified['eer_threshold']:.4f}",
        "",
    ]


def write_scores(report: Report, folder: Path) -> Path:
    """Write `metrics.json`; returns its path."""
    path = Path(folder) / "metrics.json"
    write_json(path, as_dict(report))
    return path


class Drawings:
    """What is drawn into a folder: `paths`, and in `failed` what could not be, and why.

    A drawing that fails costs no other, whatever the reason: libraries draw.
    """

    def __init__(self, folder: Path):
        """Take the folder."""
        self.folder = folder
        self.paths: list[Path] = []
        self.failed: list[str] = []

    def attempt(self, what: str, draw: Callable[[], Sequence[Path]]) -> None:
        """Call `draw`, which returns the paths of what it made."""
        try:
            self.paths += draw()
        except Exception as error:
            log.debug(f"{what} could not be drawn", exc_info=True)
            self.failed.append(f"{what} ({advice(error) or first_line(error) or repr(error)})")
            for half_done in set(self.folder.iterdir()) - set(self.paths):
                half_done.unlink()

    def check(self, scores: Path) -> None:
        """Raise `CheckError` if something could not be drawn; it says where the scores are."""
        if self.failed:
            problem = f"could not be drawn: {', '.join(self.failed)}"
            raise CheckError(f"{problem}; the scores are in {scores}")


def draw_pictures(
    report: Report, folder: Path, read: Read, checkpoint: Checkpoint | None = None
) -> Drawings:
    """Draw curves, ranked sheets and, of a checkpoint, `heads.png`.

    Args:
        report: from `examine`.
        folder: see `files.atomic_folder`.
        read: an image's path to uint8 RGB [H, W, 3].
        checkpoint: what was scored, if it is one.
    """
    drawings = Drawings(folder)
    drawings.attempt("curves", lambda: _draw_curves(report, folder))
    worst = f"the {len(report.worst)} queries of least average precision"
    sample = f"{len(report.sample)} queries drawn at random"
    for name, queries, title in (("worst", report.worst, worst), ("sample", report.sample, sample)):
        rows = ranked_rows(report, queries)
        drawn = partial(sheets.write_sheets, rows, title, folder, name, read)
        drawings.attempt(f"{name}-*.png", drawn)
    if checkpoint:
        drawings.attempt("heads.png", lambda: _draw_heads(report, folder, read, checkpoint))
    return drawings


def _draw_curves(report: Report, folder: Path) -> list[Path]:
    scores, verified = report.scores, report.verified
    curves = {"plain": scores.plain.cmc}
    if scores.reranked:
        curves["re-ranked"] = scores.reranked.cmc
    draw_cmc(curves, folder / "cmc.png")
    if not verified:
        return [folder / "cmc.png"]
    histograms = verified.edges, verified.same, verified.different
    draw_distances(*histograms, verified.threshold, folder / "distances.png")
    suggested = verified.false_positive_rate, 1 - verified.false_negative_rate
    draw_roc(*verified.roc(), suggested, folder / "roc.png")
    return [folder / name for name in ("cmc.png", "distances.png", "roc.png")]


def _draw_heads(report: Report, folder: Path, read: Read, checkpoint: Checkpoint) -> list[Path]:
    """Draw where each head looks, on some of the worst queries and some others."""
    images = {}
    for query in [*report.worst[:_LOOKED_AT], *report.sample[:_LOOKED_AT]]:
        path = report.embedded.query.records[query].path
        with contextlib.suppress(InputError):  # features from a file, and an image damaged since
            images[path] = read(path)
    if not images:
        return []
    maps = head_maps(checkpoint, list(images.values()))
    titles = short_names(list(images))
    draw_head_maps(list(images.values()), titles, maps, folder / "heads.png")
    return [folder / "heads.png"]


def short_names(paths: Sequence[str]) -> list[str]:
    """The names of files, with as many of their folders as it takes to tell them apart."""
    parts = [PurePath(path).parts for path in paths]
    for count in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)


def ranked_rows(report: Report, queries: Sequence[int]) -> list[sheets.Row]:
    """The nearest gallery images of some queries."""
    query = [report.embedded.query.records[i] for i in queries]
    gallery = report.embedded.gallery.records
    features = report.embedded.query_features[queries], report.embedded.gallery_features
    precision = report.scores.plain.average_precision[queries]
    return sheets.ranked_rows(query, features[0], gallery, features[1], _TOP, precision)
