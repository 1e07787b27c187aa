"""An evaluation as one HTML page that can be mailed: no scripts, nothing from elsewhere."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2

from mgn.evaluation.report import Report, worst_rows
from mgn.evaluation.scoring import CameraPair, Scores, table
from mgn.metrics.verification import Verification

CURVES = ("cmc.png", "distances.png", "roc.png")
_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse } th, td { padding: .25rem .8rem; border-bottom: 1px solid #d8dde3;
  text-align: right } th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0 } p { max-width: 46rem }
.figures { display: flex; flex-wrap: wrap; gap: 1rem } .figures img { max-width: 34rem }
code { font-size: 13px; overflow-wrap: anywhere } .scroll { overflow-x: auto }"""


def write_page(report: Report, folder: Path, images: Sequence[Path]) -> Path:
    """Write `report.html` with the `images` (PNG files) inside."""
    page = Path(folder) / "report.html"
    figures = [p for p in images if p.name in CURVES]
    others = [p for p in images if p.suffix == ".png" and p not in figures]
    parts = [
        f"<h1>{_text(Path(report.model).name)} on {_text(Path(report.dataset).name)}</h1>",
        f"<p>model <code>{_text(report.model)}</code><br>data <code>{_text(report.dataset)}</code></p>",
        "<h2>Scores</h2>",
        _scores_table(report.scores),
        f"<p>{_text(table(report.scores).splitlines()[-1])}. mAP is the step AP of scikit-learn and most"
        " papers, mAP official the trapezoid AP of Market-1501's own code.</p>",
        f'<div class="figures">{"".join(_image(p) for p in figures)}</div>',
        *(
            ["<h2>Same or different?</h2>", _verification_table(report.verified)]
            if report.verified
            else []
        ),
        "<h2>From camera to camera</h2>",
        f'<div class="scroll">{_camera_table(report.camera_pairs)}</div>',
        f"<h2>The {len(report.worst)} worst queries</h2>",
        f'<div class="scroll">{_worst_table(report)}</div>',
        *(f"<h2>{_text(p.stem)}</h2>{_image(p, photographs=True)}" for p in others),
    ]
    head = f'<meta charset="utf-8"><title>Evaluation of {_text(report.model)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    text = f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'
    page.write_text(
        text, encoding="utf-8", errors="backslashreplace"
    )  # a file's name may be no text
    return page


def _text(value: object) -> str:
    return html.escape(str(value))


def _image(path: Path, photographs: bool = False) -> str:
    data, kind = path.read_bytes(), "png"
    if photographs:  # a fifth of the size
        data, kind = (
            cv2.imencode(".jpg", cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 88])[1],
            "jpeg",
        )
    return f'<img alt="{_text(path.stem)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def _table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{_text(cell)}</th>" for cell in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    return f"<table>\n<tr>{top}</tr>\n{body}</table>"


def _scores_table(scores: Scores) -> str:
    columns = {"plain": scores.plain.summary()}
    if scores.reranked:
        columns["re-ranked"] = scores.reranked.summary()
    rows = [[name, *(f"{c[name]:.4f}" for c in columns.values())] for name in columns["plain"]]
    return _table(["", *columns], rows)


def _verification_table(verified: Verification) -> str:
    rows = [
        [name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.5f}"]
        for name, value in verified.summary().items()
    ]
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
