"""An evaluation as one HTML page that can be mailed: no scripts, nothing from elsewhere."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2

from mgn.evaluation.report import Report, worst_rows
from mgn.evaluation.scoring import CameraPair, Scores, counts_line, summaries
from mgn.metrics.verification import Verification

CURVES = ("cmc.png", "distances.png", "roc.png")
_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #d8dde3; text-align: right }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0 } p { max-width: 46rem }
.figures { display: flex; flex-wrap: wrap; gap: 1rem } .figures img { max-width: 34rem }
code { font-size: 13px; overflow-wrap: anywhere } .scroll { overflow-x: auto }"""


def write_page(report: Report, folder: Path, images: Sequence[Path]) -> Path:
    """Write `report.html` with the `images` (PNG files) inside."""
    page = Path(folder) / "report.html"
    model, dataset = _text(report.model), _text(report.dataset)
    figures = [path for path in images if path.name in CURVES]
    others = [path for path in images if path.suffix == ".png" and path not in figures]
    title = f"{_text(Path(report.model).name)} on {_text(Path(report.dataset).name)}"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>model <code>{model}</code><br>data <code>{dataset}</code></p>",
        "<h2>Scores</h2>",
        _scores_table(report.scores),
        f"<p>{_text(counts_line(report.scores))}. mAP is the step AP of scikit-learn and most"
        " papers, mAP official the trapezoid AP of Market-1501's own code.</p>",
        f'<div class="figures">{"".join(map(_image, figures))}</div>',
    ]
    if report.verified:
        parts += ["<h2>Same or different?</h2>", _verification_table(report.verified)]
    parts += [
        "<h2>From camera to camera</h2>",
        f'<div class="scroll">{_camera_table(report.camera_pairs)}</div>',
        f"<h2>The {len(report.worst)} worst queries</h2>",
        f'<div class="scroll">{_worst_table(report)}</div>',
    ]
    parts += [f"<h2>{_text(path.stem)}</h2>{_photographs(path)}" for path in others]
    title = f"<title>Evaluation of {model}</title>"
    head = f'<head><meta charset="utf-8">{title}<style>{_STYLE}</style></head>'
    body = "\n".join(parts)
    text = f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{body}\n</body>\n</html>\n'
    page.write_text(text, encoding="utf-8", errors="backslashreplace")  # a name may be no text
    return page


def _text(value: object) -> str:
    return html.escape(str(value))


def _image(path: Path) -> str:
    return _embedded(path, path.read_bytes(), "png")


def _photographs(path: Path) -> str:
    """As JPEG, a fifth of the size."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    return _embedded(path, cv2.imencode(".jpg", cv2.imread(str(path)), quality)[1], "jpeg")


def _embedded(path: Path, data: bytes, kind: str) -> str:
    encoded = base64.b64encode(data).decode()
    return f'<img alt="{_text(path.stem)}" src="data:image/{kind};base64,{encoded}">'


def _table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [_row("th", heads), *(_row("td", row) for row in rows)]
    return "<table>\n" + "".join(f"{line}\n" for line in lines) + "</table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_text(cell)}</{tag}>' for cell in cells)}</tr>"


def _scores_table(scores: Scores) -> str:
    columns = summaries(scores)
    rows = []
    for name in columns["plain"]:
        rows.append([name, *(f"{figures[name]:.4f}" for figures in columns.values())])
    return _table(["", *columns], rows)


def _verification_table(verified: Verification) -> str:
    rows = []
    for name, value in verified.summary().items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.5f}"
        rows.append([name.replace("_", " "), shown])
    return _table(["pairs of images, by the distance of their embeddings", ""], rows)


def _camera_table(pairs: Sequence[CameraPair]) -> str:
    rows = [
        [p.query_camera, p.gallery_camera, p.valid_queries, f"{p.mAP:.4f}", f"{p.rank1:.4f}"]
        for p in pairs
        if p.valid_queries
    ]
    return _table(["query camera", "gallery camera", "queries", "mAP", "rank@1"], rows)


def _worst_table(report: Report) -> str:
    rows = [[Path(path).name, f"{ap:.4f}", rank] for path, ap, rank in worst_rows(report)]
    return _table(["query", "AP", "rank of the first match"], rows)
