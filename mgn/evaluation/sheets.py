"""Ranked sheets: queries with the nearest gallery images, marked right, wrong or ignored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mgn.data.names import DISTRACTOR, JUNK
from mgn.data.records import UNNAMED, Record
from mgn.evaluation.embedding import Read
from mgn.evaluation.plots import AS_IT_IS, drawable
from mgn.metrics.distances import nearest
from mgn.system.errors import InputError

RIGHT, WRONG, IGNORED, UNKNOWN = "right", "wrong", "ignored", "unknown"
# Colours are RGB. White text has a contrast of 4.5 or more on those of the marks.
_PAPER, _INK, _FAINT, _EMPTY = (255, 255, 255), (31, 41, 55), (92, 101, 112), (232, 235, 238)
_MARKS = {
    RIGHT: ("✓", (14, 124, 74), "right: the query's person, another camera"),
    WRONG: ("✗", (205, 43, 49), "wrong: not the query's person"),
    IGNORED: ("–", (110, 117, 124), "ignored: the query's person and camera, or junk"),
    UNKNOWN: ("?", (62, 84, 140), "unknown: file names do not say who it is"),
}
# All lengths are pixels. Images of Market-1501 are 64 wide and 128 high.
_WIDTH, _HEIGHT = 96, 192  # of an image on the sheet
_FRAME, _BAND = 4, 20  # the frame's border, and below the image the part of it that carries text
_MARGIN, _HEAD = 24, 112  # around everything; title, legend and column numbers
_STEP_X, _STEP_Y = _WIDTH + 2 * _FRAME + 12, _HEIGHT + _FRAME + _BAND + 52
_ASIDE = 36  # between a query and its gallery images: its file name needs the room
_FEWEST = 10  # columns of gallery images: the legend needs the room
_DPI = 64  # pixels to inches and back without rounding


@dataclass(frozen=True)
class Row:
    """A query and what was found for it."""

    query: Record
    ap: float | None  # its average precision; NaN: there is no match to find; None: not scored
    entries: Sequence[tuple[Record, float]]  # nearest first: gallery image, distance


def verdict(query: Record, entry: Record) -> str:
    """What a gallery image is to a query by the Market-1501 protocol; `UNKNOWN` if unnamed."""
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
    """A row a query with its `count` nearest; `precision` [Q] is the queries' AP, if scored."""
    indices, distances = nearest(query_features, gallery_features, count)
    rows = []
    for i, query in enumerate(queries):
        ap = None if precision is None else float(precision[i])
        images = [gallery[j] for j in indices[i]]
        rows.append(Row(query, ap, list(zip(images, distances[i].tolist(), strict=True))))
    return rows


def write_sheets(
    rows: Sequence[Row], title: str, folder: Path, name: str, read: Read, rows_per_sheet: int = 10
) -> list[Path]:
    """Draw rows into folder/name-1.png, name-2.png and so on; returns these. See `draw_sheet`."""
    parts = [rows[i : i + rows_per_sheet] for i in range(0, len(rows), rows_per_sheet)]
    paths = []
    for number, part in enumerate(parts, start=1):
        of_several = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        path = Path(folder) / f"{name}-{number}.png"
        draw_sheet(part, title + of_several, path, read)
        paths.append(path)
    return paths


def draw_sheet(rows: Sequence[Row], title: str, path: Path, read: Read) -> None:
    """Draw one row a query into a PNG; `title` is one line: how the rows were chosen."""
    columns = max([_FEWEST, *(len(row.entries) for row in rows)])
    first = _MARGIN + _STEP_X + _ASIDE
    lefts = [first + column * _STEP_X for column in range(columns)]  # of the gallery images
    shape = (_HEAD + len(rows) * _STEP_Y, lefts[-1] + _STEP_X + _MARGIN, 3)
    sheet = _Sheet(np.full(shape, _PAPER, np.uint8), read)
    verdicts = {verdict(row.query, entry) for row in rows for entry, _ in row.entries}
    sheet.draw_head(title, lefts, verdicts)
    for i, row in enumerate(rows):
        sheet.draw_row(row, lefts, _HEAD + i * _STEP_Y)
    sheet.save(path)


class _Sheet:
    """A sheet in the making: a canvas for frames and images, over it a figure for the text."""

    def __init__(self, canvas: np.ndarray, read: Read):
        height, width = canvas.shape[:2]
        self.canvas = canvas
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        self.read = read

    def draw_head(self, title: str, lefts: list[int], verdicts: set[str]) -> None:
        """Draw the title, the legend, and what each column is."""
        most = self.canvas.shape[1] // 11
        self.write(_MARGIN, 38, title, 17, most=most, weight="bold")
        x = _MARGIN
        for name, (sign, colour, meaning) in _MARKS.items():
            if name in verdicts:
                self.canvas[54:72, x : x + 26] = colour
                self.write(x + 13, 68, sign, 13, _PAPER, weight="bold", ha="center")
                self.write(x + 34, 68, meaning, 12)
                x += 62 + round(6.3 * len(meaning))
        self.write(x, 68, "number: distance to the query", 12)
        self.write(_MARGIN, _HEAD - 8, "query", 11, _FAINT)
        for rank, left in enumerate(lefts, start=1):
            self.write(left, _HEAD - 8, str(rank), 11, _FAINT)

    def draw_row(self, row: Row, lefts: list[int], y: int) -> None:
        """Draw a query, and to the right of it what was found."""
        score = ""
        if row.ap is not None:
            score = "no match" if np.isnan(row.ap) else f"AP {row.ap:.2f}"
        self.draw_image(_MARGIN, y, row.query, _INK, score, "")
        if row.query.person != UNNAMED:  # else its name is there already
            name = Path(row.query.path).name
            self.write(_MARGIN, y + _STEP_Y - 23, name, 10, _FAINT, most=23)
        for x, (entry, distance) in zip(lefts, row.entries, strict=False):
            sign, colour, _ = _MARKS[verdict(row.query, entry)]
            self.draw_image(x, y, entry, colour, sign, f"{distance:.3f}")

    def draw_image(self, x, y, record, colour, left_text, right_text) -> None:
        """Draw an image in its frame, texts in the frame's band, and below it who and where."""
        right = x + _FRAME + _WIDTH
        bottom = y + _FRAME + _HEIGHT
        self.canvas[y : bottom + _BAND, x : right + _FRAME] = colour
        cell = self.canvas[y + _FRAME : bottom, x + _FRAME : right]
        cell[:] = _EMPTY
        try:
            _letterbox(cell, self.read(record.path))
        except InputError:  # one bad file is not to cost the others
            middle = (x + right + _FRAME) // 2
            self.write(middle, y + _HEIGHT // 2, "unreadable", 11, _FAINT, ha="center")
        text_line = bottom + 15
        self.write(x + _FRAME + 1, text_line, left_text, 13, _PAPER, weight="bold")
        self.write(right - 1, text_line, right_text, 12, _PAPER, weight="bold", ha="right")
        self.write(x, bottom + _BAND + 14, _label(record), 11, most=18)

    def write(self, x, y, text: str, size: int, colour=_INK, most=99, **style) -> None:
        """Write from `x` on the line `y`, `size` high, `most` letters or fewer."""
        if len(text) > most:
            text = f"{text[: (most - 1) // 2]}…{text[-(most // 2) :]}"
        style |= {"fontsize": size * 72 / _DPI, "color": np.divide(colour, 255)}
        style |= {"transform": None, **AS_IT_IS}  # x and y are pixels
        self.figure.text(x, self.canvas.shape[0] - y, drawable(text), **style)

    def save(self, path: Path) -> None:
        """Write the PNG."""
        self.figure.figimage(self.canvas)
        # Not `savefig`: a user's matplotlibrc may make it cut the margins off. Compressing more is
        # slow.
        FigureCanvasAgg(self.figure).print_png(path, pil_kwargs={"compress_level": 1})


def _label(record: Record) -> str:
    """Who is on an image and which camera took it, or its file name if that does not say it."""
    if record.person == UNNAMED:
        return Path(record.path).name
    special = {JUNK: "junk", DISTRACTOR: "distractor"}
    return f"{special.get(record.person, f'person {record.person:04}')}  c{record.camera}"


def _letterbox(cell: np.ndarray, image: np.ndarray) -> None:
    """Put an image, as large as fits, into the middle of `cell`; both are uint8 [H, W, 3]."""
    scale = min(cell.shape[0] / image.shape[0], cell.shape[1] / image.shape[1])
    height = max(round(image.shape[0] * scale), 1)
    width = max(round(image.shape[1] * scale), 1)
    top = (cell.shape[0] - height) // 2
    left = (cell.shape[1] - width) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fitted = cv2.resize(image, (width, height), interpolation=method)
    cell[top : top + height, left : left + width] = fitted
