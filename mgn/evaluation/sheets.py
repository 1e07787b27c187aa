"""Ranked sheets: queries with the nearest gallery images beside them, marked right, wrong or ignored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from mgn.data.records import DISTRACTOR, JUNK, UNNAMED, Record
from mgn.metrics.distances import nearest
from mgn.system.errors import InputError

RIGHT, WRONG, IGNORED, UNKNOWN = "right", "wrong", "ignored", "unknown"
Reader = Callable[
    [str], np.ndarray
]  # path of an image to uint8 RGB [H, W, 3] of any size, or `InputError`
# Colours are RGB. White text has a contrast of 4.5 or more on those of the marks.
_PAPER, _INK, _FAINT, _EMPTY = (255, 255, 255), (31, 41, 55), (92, 101, 112), (232, 235, 238)
_MARKS = {
    RIGHT: ("✓", (14, 124, 74), "right: the query's person, another camera"),
    WRONG: ("✗", (205, 43, 49), "wrong: not the query's person"),
    IGNORED: ("–", (110, 117, 124), "ignored: the query's person and camera, or junk"),
    UNKNOWN: ("?", (62, 84, 140), "unknown: file names do not say who it is"),
}
_WIDTH, _HEIGHT = (
    96,
    192,
)  # pixels, as all lengths here: of an image; those of Market-1501 are 64 x 128
_FRAME, _BAND = 4, 20  # the frame's border, and below the image the part of it that carries text
_MARGIN, _HEAD = 24, 112  # around everything; title, legend and column numbers
_STEP_X, _STEP_Y = _WIDTH + 2 * _FRAME + 12, _HEIGHT + _FRAME + _BAND + 52
_ASIDE = 36  # between a query and its gallery images: its file name needs the room
_DPI, _FONT = (
    64,
    "DejaVu Sans",
)  # pixels to inches and back without rounding; what comes with matplotlib


@dataclass(frozen=True)
class Row:
    """A query and what was found for it."""

    query: Record
    ap: (
        float | None
    )  # average precision of the query; NaN: there is no match to find; None: not scored
    entries: Sequence[tuple[Record, float]]  # nearest first: gallery image, distance


def verdict(query: Record, entry: Record) -> str:
    """What a gallery image is to a query by the Market-1501 protocol, or `UNKNOWN` without their names."""
    if UNNAMED in (query.person, entry.person):
        return UNKNOWN
    if entry.person == JUNK:
        return IGNORED
    if entry.person != query.person or entry.person == DISTRACTOR:
        return WRONG
    return IGNORED if entry.camera == query.camera else RIGHT


def ranked_rows(
    queries: Sequence[Record],
    query_features: np.ndarray,
    gallery: Sequence[Record],
    gallery_features: np.ndarray,
    count: int,
    precision: Sequence[float] | None = None,
) -> list[Row]:
    """A row a query with its `count` nearest; `precision` [Q] is their AP, where they were scored."""
    indices, distances = nearest(query_features, gallery_features, count)
    aps = [None] * len(queries) if precision is None else map(float, precision)
    return [
        Row(query, ap, [(gallery[i], float(d)) for i, d in zip(near, far, strict=True)])
        for query, ap, near, far in zip(queries, aps, indices, distances, strict=True)
    ]


def write_sheets(
    rows: Sequence[Row], title: str, folder: Path, name: str, read: Reader, rows_per_sheet: int = 10
) -> list[Path]:
    """Draw rows into folder/name-1.png, folder/name-2.png and so on; returns these. See `draw_sheet`."""
    parts = [rows[i : i + rows_per_sheet] for i in range(0, len(rows), rows_per_sheet)]
    paths = [Path(folder) / f"{name}-{n}.png" for n in range(1, len(parts) + 1)]
    for n, (part, path) in enumerate(zip(parts, paths, strict=True), start=1):
        draw_sheet(part, f"{title} ({n} of {len(parts)})" if len(parts) > 1 else title, path, read)
    return paths


def draw_sheet(rows: Sequence[Row], title: str, path: Path, read: Reader) -> None:
    """Draw one row a query into a PNG; `title` is one line: what the rows are and how they were chosen."""
    columns = range(
        1 + max([10, *(len(row.entries) for row in rows)])
    )  # 10: the legend needs the room
    lefts = [_MARGIN + (column > 0) * _ASIDE + column * _STEP_X for column in columns]
    canvas = np.full(
        (_HEAD + len(rows) * _STEP_Y, lefts[-1] + _STEP_X + _MARGIN, 3), _PAPER, np.uint8
    )
    figure = Figure(figsize=(canvas.shape[1] / _DPI, canvas.shape[0] / _DPI), dpi=_DPI)
    verdicts = {verdict(row.query, entry) for row in rows for entry, _ in row.entries}
    _draw_head(canvas, figure, title, lefts, verdicts)
    for y, row in zip(range(_HEAD, len(canvas), _STEP_Y), rows, strict=True):
        ap = "" if row.ap is None else "no match" if np.isnan(row.ap) else f"AP {row.ap:.2f}"
        _draw_image(canvas, figure, (_MARGIN, y), row.query, _INK, (ap, ""), read)
        if row.query.person != UNNAMED:  # else its name is there already
            _write(
                figure, _MARGIN, y + _STEP_Y - 23, Path(row.query.path).name, 10, _FAINT, most=23
            )
        for x, (entry, distance) in zip(lefts[1:], row.entries, strict=False):
            sign, colour, _ = _MARKS[verdict(row.query, entry)]
            _draw_image(canvas, figure, (x, y), entry, colour, (sign, f"{distance:.3f}"), read)
    figure.figimage(canvas)
    # Not `savefig`: a user's matplotlibrc may make it cut the margins off. Compressing more is
    # slow.
    FigureCanvasAgg(figure).print_png(path, pil_kwargs={"compress_level": 1})


def _draw_head(
    canvas: np.ndarray, figure: Figure, title: str, lefts: list[int], verdicts: set[str]
) -> None:
    """Title, legend, and what each column is."""
    _write(figure, _MARGIN, 38, title, 17, most=canvas.shape[1] // 11, weight="bold")
    x = _MARGIN
    for sign, colour, meaning in (mark for name, mark in _MARKS.items() if name in verdicts):
        canvas[54:72, x : x + 26] = colour
        _write(figure, x + 13, 68, sign, 13, _PAPER, weight="bold", ha="center")
        _write(figure, x + 34, 68, meaning, 12)
        x += 62 + round(6.3 * len(meaning))
    _write(figure, x, 68, "number: distance to the query", 12)
    for n, left in enumerate(lefts):
        _write(figure, left, _HEAD - 8, str(n) if n else "query", 11, _FAINT)


def _draw_image(canvas, figure, corner, record, colour, band, read) -> None:
    """An image, letterboxed in its frame; in the frame's lower band two texts, below it who and where."""
    x, y, right, bottom = *corner, corner[0] + _FRAME + _WIDTH, corner[1] + _FRAME + _HEIGHT
    canvas[y : bottom + _BAND, x : right + _FRAME] = colour
    cell = canvas[y + _FRAME : bottom, x + _FRAME : right]
    cell[:] = _EMPTY
    try:
        _letterbox(cell, read(record.path))
    except InputError:  # one bad file is not to cost the others
        _write(
            figure,
            (x + right + _FRAME) // 2,
            y + _HEIGHT // 2,
            "unreadable",
            11,
            _FAINT,
            ha="center",
        )
    _write(figure, x + _FRAME + 1, bottom + 15, band[0], 13, _PAPER, weight="bold")
    _write(figure, right - 1, bottom + 15, band[1], 12, _PAPER, weight="bold", ha="right")
    person = {JUNK: "junk", DISTRACTOR: "distractor"}.get(
        record.person, f"person {record.person:04}"
    )
    label = Path(record.path).name if record.person == UNNAMED else f"{person}  c{record.camera}"
    _write(figure, x, bottom + _BAND + 14, label, 11, most=18)


def _letterbox(cell: np.ndarray, image: np.ndarray) -> None:
    """Put an image into the middle of `cell`, as large as fits; both are uint8 [any height, width, 3]."""
    scale = min(cell.shape[0] / image.shape[0], cell.shape[1] / image.shape[1])
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    top, left = (cell.shape[0] - height) // 2, (cell.shape[1] - width) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cell[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=method
    )


def _write(
    figure: Figure, x: int, y: int, text: str, size: int, colour=_INK, most=99, **style
) -> None:
    """Write from `x` on the line `y` (pixels from the top), `size` pixels high, `most` letters or fewer."""
    text = text if len(text) <= most else f"{text[: (most - 1) // 2]}…{text[-(most // 2) :]}"
    font = get_font(findfont(_FONT))  # cached; a letter that it lacks becomes "?"
    text = "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in text)
    style |= {"fontfamily": _FONT, "fontsize": size * 72 / _DPI, "color": np.divide(colour, 255)}
    # No transform: pixels. No mathematics: a $ is a $.
    figure.text(x, round(figure.bbox.height) - y, text, transform=None, parse_math=False, **style)
