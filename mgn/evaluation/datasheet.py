"""What the doctor found, as one HTML page with the images that are worth a look."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mgn.data.decoding import read_image
from mgn.data.findings import FIGURES, OK, PROBLEM, WARNING, Finding, Report
from mgn.data.suspects import Suspect
from mgn.evaluation import markup
from mgn.evaluation.verdicts import LIKE, MEANING, UNLIKE, Familiarity
from mgn.system.errors import InputError

_HEIGHT, _WIDTH = 160, 120  # pixels: the most that an image takes on the page
_EXAMPLES = 20  # of a finding
_QUALITY = 88


def write_page(report: Report, page: Path, familiarity: Familiarity | None = None) -> None:
    """Write the report of `inspection`, its suspicious images inside as thumbnails.

    With `familiarity`, the verdicts on the cameras come first.
    """
    parts = [f"<h1>{markup.text(Path(report.dataset).name)}</h1>"]
    parts.append(f"<p>data <code>{markup.text(report.dataset)}</code></p>")
    if familiarity:
        parts += ["<h2>Like training?</h2>", *_verdicts(familiarity)]
    if report.figures:
        parts += ["<h2>Figures</h2>", f'<div class="scroll">{_figures(report)}</div>']
    parts.append("<h2>Findings</h2>")
    for level in (PROBLEM, WARNING, OK):
        parts += [_finding(found) for found in report.findings if found.level == level]
    for title, suspects in report.suspects.items():
        if suspects:
            parts += [f"<h2>{markup.text(title)}</h2>", _row(suspects)]
    markup.write(page, f"Examination of {report.dataset}", parts)


def _verdicts(familiarity: Familiarity) -> list[str]:
    """A line for each camera: its mean colour beside that of training, verdict, what differs."""
    model = markup.text(familiarity.model)
    training = _swatch(familiarity.colour)
    parts = [f"<p>model <code>{model}</code>, mean colour of its training images {training}</p>"]
    for camera in familiarity.cameras:
        level = {LIKE: OK, UNLIKE: PROBLEM}.get(camera.verdict, WARNING)
        swatch = _swatch(camera.looks.colour) if camera.looks else ""
        name, line = markup.text(camera.name), markup.text(camera.line)
        parts.append(f'<p class="{level}">{swatch} <b>{name}</b>: {line}</p>')
        if camera.differs:
            reasons = "".join(f"<li>{markup.text(reason)}</li>" for reason in camera.differs)
            parts.append(f"<ul>{reasons}</ul>")
    return [*parts, f"<p>Shift: {markup.text(MEANING)}.</p>"]


def _swatch(colour: Sequence[float]) -> str:
    """A patch of a colour, RGB from 0 to 255."""
    rgb = ",".join(f"{value:.0f}" for value in colour)
    size = "display:inline-block;width:1.6em;height:1em;vertical-align:middle"
    return f'<span title="RGB {rgb}" style="{size};background:rgb({rgb})"></span>'


def _figures(report: Report) -> str:
    """A line for each split, and below it what is expected of one that looks like it."""
    rows = []
    for split, figures in report.figures.items():
        rows.append([split, *(f"{figures[name]:,}" for name in FIGURES)])
        expected = report.expected.get(split)
        if expected:
            cells = [f"{expected[name]:,}" if name in expected else "" for name in FIGURES]
            rows.append([f"{report.looks_like}'s {split}", *cells])
    sizes = [f"{name} {height}x{width}" for name, (height, width) in report.sizes.items()]
    return markup.table(["", *FIGURES], rows) + f"<p>height x width: {', '.join(sizes)}</p>"


def _finding(found: Finding) -> str:
    line = f'<p class="{found.level}">{markup.text(found.line)}</p>'
    if not found.examples:
        return line
    shown = "".join(f"<li><code>{markup.text(e)}</code></li>" for e in found.examples[:_EXAMPLES])
    return f"{line}<ul>{shown}</ul>"


def _row(suspects: Sequence[Suspect]) -> str:
    return f'<div class="figures">{"".join(_figure(suspect) for suspect in suspects)}</div>'


def _figure(suspect: Suspect) -> str:
    name = markup.text(Path(suspect.path).name)
    caption = f"<figcaption>{name}<br>{markup.text(suspect.note)}</figcaption>"
    return f"<figure>{_thumbnail(suspect.path)}{caption}</figure>"


def _thumbnail(path: str) -> str:
    try:
        image = Image.fromarray(read_image(path))
    except InputError:  # gone since it was examined
        return "<p>unreadable</p>"
    image.thumbnail((_WIDTH, _HEIGHT))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return markup.image(Path(path).name, stream.getvalue(), "jpeg")
