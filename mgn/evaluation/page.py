"""An evaluation as one HTML page."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mgn.evaluation import markup
from mgn.evaluation.embedding import Read
from mgn.evaluation.report import Drawings, Report, draw_pictures, short_names, worst_rows
from mgn.evaluation.scoring import CameraPair, Scores, counts_line, draws_line, summaries
from mgn.metrics.verification import Verification
from mgn.weights.checkpoints import Checkpoint

CURVES = ("cmc.png", "distances.png", "roc.png")


def draw(report: Report, folder: Path, read: Read, checkpoint: Checkpoint | None) -> Drawings:
    """Draw `report.draw_pictures`, and the page of them."""
    drawings = draw_pictures(report, folder, read, checkpoint)
    drawings.attempt("report.html", lambda: [write_page(report, folder, drawings.paths)])
    return drawings


def write_page(report: Report, folder: Path, images: Sequence[Path]) -> Path:
    """Write `report.html` with the `images` (PNG files) inside."""
    page = Path(folder) / "report.html"
    model, dataset = markup.text(report.model), markup.text(report.dataset)
    curves = {path.name: _image(path) for path in images if path.name in CURVES}
    others = [path for path in images if path.suffix == ".png" and path.name not in CURVES]
    title = f"{markup.text(Path(report.model).name)} on {markup.text(Path(report.dataset).name)}"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>model <code>{model}</code><br>data <code>{dataset}</code></p>",
        "<h2>Scores</h2>",
        _side_by_side(_scores_table(report.scores), curves.pop("cmc.png", "")),
        f"<p>{markup.text(counts_line(report.scores))}. mAP is the step AP of scikit-learn and most"
        " papers, mAP official the trapezoid AP of Market-1501's own code.</p>",
    ]
    if report.scores.drawn:
        parts.append(f"<p>{markup.text(draws_line(report.scores.drawn))}</p>")
    if report.verified:
        parts += ["<h2>Same or different?</h2>", _verification_table(report.verified)]
    parts.append(_side_by_side(*curves.values()))
    parts += [
        "<h2>From camera to camera</h2>",
        f'<div class="scroll">{_camera_table(report.camera_pairs)}</div>',
        f"<h2>The {len(report.worst)} worst queries</h2>",
        f'<div class="scroll">{_worst_table(report)}</div>',
    ]
    parts += [f"<h2>{markup.text(path.stem)}</h2>{_photographs(path)}" for path in others]
    markup.write(page, f"Evaluation of {report.model}", parts)
    return page


def _side_by_side(*parts: str) -> str:
    """Beside each other where the window is wide enough."""
    return f'<div class="figures">{"".join(parts)}</div>'


def _image(path: Path) -> str:
    return markup.image(path.stem, path.read_bytes(), "png")


def _photographs(path: Path) -> str:
    """As JPEG, a fifth of the size."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)  # whatever its name
    return markup.image(path.stem, cv2.imencode(".jpg", image, quality)[1], "jpeg")


def _scores_table(scores: Scores) -> str:
    columns = summaries(scores)
    rows = []
    for name in columns["plain"]:
        rows.append([name, *(f"{figures[name]:.4f}" for figures in columns.values())])
    return markup.table(["", *columns], rows)


def _verification_table(verified: Verification) -> str:
    rows = []
    for name, value in verified.summary().items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.5f}"
        rows.append([name.replace("_", " "), shown])
    return markup.table(["pairs of images, by the distance of their embeddings", ""], rows)


def _camera_table(pairs: Sequence[CameraPair]) -> str:
    rows = [
        [p.query_camera, p.gallery_camera, p.valid_queries, f"{p.mAP:.4f}", f"{p.rank1:.4f}"]
        for p in pairs
        if p.valid_queries
    ]
    return markup.table(["query camera", "gallery camera", "queries", "mAP", "rank@1"], rows)


def _worst_table(report: Report) -> str:
    worst = worst_rows(report)
    names = short_names([path for path, *_ in worst])
    rows = []
    for name, (_, ap, rank) in zip(names, worst, strict=True):
        rows.append([name, f"{ap:.4f}", rank])
    return markup.table(["query", "AP", "rank of the first match"], rows)
