"""Parts of an HTML page that can be mailed: no scripts, nothing from elsewhere."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #d8dde3; text-align: right }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0 } p { max-width: 46rem }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
.figures img { max-width: 34rem }
figure { margin: 0; width: 8rem; font-size: 12px; overflow-wrap: anywhere }
.problem { color: #a11d22 } .warning { color: #8a4b00 } .ok { color: #5c6570; margin: .2rem 0 }
code { font-size: 13px; overflow-wrap: anywhere } .scroll { overflow-x: auto }"""


def write(page: Path, title: str, parts: Sequence[str]) -> None:
    """Write a page of parts that are HTML already; `title` is text."""
    head = f'<head><meta charset="utf-8"><title>{text(title)}</title><style>{_STYLE}</style></head>'
    body = "\n".join(parts)
    whole = f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{body}\n</body>\n</html>\n'
    page.write_text(whole, encoding="utf-8", errors="backslashreplace")  # a name may be no text


def text(value: object) -> str:
    """A value as text that means nothing to HTML."""
    return html.escape(str(value))


def image(name: str, data: bytes, kind: str) -> str:
    """The bytes of a "png" or "jpeg", with a name for those who do not see it."""
    encoded = base64.b64encode(data).decode()
    return f'<img alt="{text(name)}" src="data:image/{kind};base64,{encoded}">'


def table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table of text."""
    lines = [_row("th", heads), *(_row("td", row) for row in rows)]
    return "<table>\n" + "".join(f"{line}\n" for line in lines) + "</table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{text(cell)}</{tag}>' for cell in cells)}</tr>"
