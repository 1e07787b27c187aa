"""How long the sentences of the documents are: a report, not a test.

    python tests/sentences.py [PAGE ...]

Prints for each page the number of sentences, the median and the 90th percentile of words, the
semicolons in prose, and at the end the ten longest sentences. The aim is a median of at most 18
words, a 90th percentile of at most 30, and no semicolon.
"""

import re
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
_END = re.compile(r"(?<=[.!?])(?:\*\*)?\s+(?=[A-Z`*\[(])")
_CODE = re.compile(r"`[^`]*`")
_LINK = re.compile(r"\]\([^)]*\)")


def paragraphs(text):
    """Yield each paragraph or item of a list; no code, tables, headings or comments."""
    kept, code = [], False
    for line in [*text.splitlines(), ""]:
        if line.lstrip().startswith("```"):
            code = not code
            continue
        item = re.match(r"\s*(?:[-*]|\d+\.)\s+(.*)", line)
        ends = not line.strip() or line.lstrip().startswith(("|", "#", "<!--", "!["))
        if code or ends or item or (line.startswith("    ") and not kept):
            if kept:
                yield " ".join(kept)
            kept = [item[1]] if item and not code else []
        else:
            kept.append(line.strip())


def sentences(page):
    """Yield the sentences of a page; code counts as one word."""
    for paragraph in paragraphs(page.read_text(encoding="utf-8")):
        plain = _LINK.sub("]", _CODE.sub("`x`", paragraph))
        yield from _END.split(plain)


def main(arguments):
    pages = [Path(name) for name in arguments]
    pages = pages or [ROOT / "README.md", *sorted((ROOT / "doc").rglob("*.md"))]
    longest = []
    print(f"{'page':<32} sentences  median  90th  semicolons")
    for page in pages:
        found = list(sentences(page))
        if not found:  # tables alone
            continue
        words = [len(sentence.split()) for sentence in found]
        middle, high = np.percentile(words, [50, 90])
        marks = sum(sentence.count(";") for sentence in found)
        print(f"{page.name:<32} {len(found):>9}  {middle:>6.0f}  {high:>4.0f}  {marks:>10}")
        longest += [(count, page.name, text) for count, text in zip(words, found, strict=True)]
    for count, name, text in sorted(longest, reverse=True)[:10]:
        print(f"{count} words, {name}: {text}")


if __name__ == "__main__":
    main(sys.argv[1:])
