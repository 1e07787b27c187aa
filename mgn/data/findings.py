"""What the doctor reports of a data set: figures and findings, as text and as JSON."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from mgn.data.names import FOLDERS
from mgn.data.suspects import Suspect

OK, WARNING, PROBLEM = "ok", "warning", "problem"
FIGURES = ("images", "identities", "cameras", "junk", "distractors", "other files")
_SHOWN = 5  # examples in the text


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: "warning: 7 files with other names; left out"."""

    level: str
    what: str
    count: int | None = None  # None: there is nothing to count
    advice: str = ""
    examples: tuple[str, ...] = ()  # all of them

    @property
    def line(self) -> str:
        """All but the examples."""
        number = {None: "", 0: "no "}.get(self.count, f"{self.count or 0:,} ")
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.level}: {number}{self.what}{advice}"

    def __str__(self) -> str:
        return "\n    ".join([self.line, *self.examples[:_SHOWN]])


def look_for(level: str, what: str, found: Iterable[str], advice: str) -> Finding:
    """A finding of this level with all that was found; "ok" if that is nothing."""
    found = tuple(found)
    if not found:
        return Finding(OK, what, 0)
    return Finding(level, what, len(found), advice, found)


@dataclass(frozen=True)
class Report:
    """What `examine` found out about a data set."""

    dataset: str
    figures: dict[str, dict[str, int]]  # {"train": {"images": 12936}}
    expected: dict[str, dict[str, int]]  # the same of what it looks like, if anything
    looks_like: str  # the name of that
    sizes: dict[str, tuple[int, int]]  # {"smallest": (height, width)}
    findings: tuple[Finding, ...]
    suspects: dict[str, list[Suspect]]  # images that are worth a look, by what they are

    def count(self, level: str) -> int:
        """How many findings are of a level."""
        return sum(finding.level == level for finding in self.findings)

    def text(self) -> str:
        """Everything, for people."""
        shown = ", ".join(f"{name} {h}x{w}" for name, (h, w) in self.sizes.items())
        findings = [str(finding) for finding in self.findings]
        summary = f"{self.count(PROBLEM)} problems, {self.count(WARNING)} warnings"
        size = f"height x width: {shown or 'no image can be read'}"
        table = [*self._table(), ""] if self.figures else []
        return "\n".join([self.dataset, "", *table, size, "", *findings, "", summary])

    def _table(self) -> list[str]:
        """A column for each split, and beside it what is expected."""
        columns = []
        for name in FOLDERS:
            columns.append((name, self.figures.get(name, {})))
            if self.expected:
                columns.append((self.looks_like, self.expected.get(name, {})))
        lines = [" " * 12 + "".join(f"{title:>12}" for title, _ in columns)]
        for figure in FIGURES:
            cells = [f"{figures[figure]:,}" if figure in figures else "-" for _, figures in columns]
            lines.append(f"{figure:<12}" + "".join(f"{cell:>12}" for cell in cells))
        return lines

    def values(self) -> dict:
        """Everything, as JSON takes it."""
        counts = {"problems": self.count(PROBLEM), "warnings": self.count(WARNING)}
        suspects = {}
        for name, images in self.suspects.items():
            suspects[name] = [image._asdict() for image in images]
        return dataclasses.asdict(self) | counts | {"suspects": suspects}
