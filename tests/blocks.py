"""The blocks of README.md and doc/: fenced ones and indented ones, and who runs each.

A block with a comment `<!-- NAME -->` before it is run by the test that calls `marked("NAME")`.
`test_blocks.py` runs the others, unless a sentence beside a block says "Not run ...".
"""

import ast
import functools
import importlib
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").rglob("*.md"))]
_MARK = re.compile(r"<!-- ([\w ]+) -->")
_FENCE = re.compile(r"\s*```(\w*)")
_ITEM = re.compile(r"(?:[-*]|\d+\.) +")
_PROGRAMS = ("python", "python3", "pip", "docker", "cc", "export", "milvus-lite", "cat", "ls", ".")
_NOT_RUN = re.compile(r"\bNot run\b.*?\.(?=\s|$)", re.DOTALL)
_FLAGS_ALONE = re.compile(r"\bcheck the flags\b")


class Block(NamedTuple):
    """One block: where it is, and what stands around it."""

    page: Path
    line: int
    language: str  # of a fence; of an indented block ""
    text: str
    mark: str | None  # NAME of a comment right before it
    before: str  # paragraph
    after: str  # paragraph; "" if another block follows
    top: str  # the page up to its first heading but the title

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """Words of each command; none of a block that is no list of commands."""
        if self.language not in ("bash", ""):
            return []
        lines = [shlex.split(line, comments=True) for line in self.joined.splitlines()]
        lines = [words for words in lines if words]
        if not all(is_program(words) for words in lines):
            return []
        return [part for words in lines for part in split(words)]

    @property
    def joined(self) -> str:
        """The text with each command in one line."""
        return re.sub(r"\\\n\s*", "", re.sub(r"&&\n", "&& ", self.text))

    @property
    def excuse(self) -> str | None:
        """The sentence beside it that says what is not run."""
        found = _NOT_RUN.search(self.before) or _NOT_RUN.search(self.after)
        return found and found[0]

    @property
    def is_right_after(self) -> bool:
        """Whether no prose stands between it and the block before, whose output it is then."""
        return not (self.before or self.mark or self.language or self.commands)

    @property
    def flags_alone(self) -> bool:
        """Whether the page says that tests only check the flags."""
        return any(_FLAGS_ALONE.search(text) for text in (self.top, self.before, self.after))

    def leaves_out(self, words: list[str]) -> bool:
        """Whether the sentence beside it says that this command is not run: of those that it names
        by their first words, or all.
        """
        named = re.findall(r"`([^`]*)`", self.excuse or "")
        return bool(self.excuse) and (
            not named or any(words[: len(name.split())] == name.split() for name in named)
        )


def is_program(words: list[str]) -> bool:
    return words[0] in _PROGRAMS or re.match(r"[A-Z_]+=\S*$", words[0]) is not None


def split(words: list[str]) -> list[list[str]]:
    """The commands between `&&`."""
    parts = [[]]
    for word in words:
        parts.append([]) if word == "&&" else parts[-1].append(word)
    return [part for part in parts if part]


def blocks_of(page: Path, text: str | None = None) -> list[Block]:
    """All blocks of a page, in order."""
    lines = (page.read_text(encoding="utf-8") if text is None else text).splitlines()
    top = "\n".join(lines).split("\n## ")[0]
    found, i = [], 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        indented = is_indented_code(lines, i)
        if not fence and not indented:
            i += 1
            continue
        end = i + 1
        if fence:
            while not lines[end].lstrip().startswith("```"):
                end += 1
            inside, after = lines[i + 1 : end], end + 1
        else:
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            inside, after = lines[i:end], end
        code = "\n".join(line[4:] if indented and not fence else line for line in inside)
        mark, before = paragraph_before(lines, i)
        around = before, paragraph_after(lines, after), top
        language = fence[1] or "text" if fence else ""
        found.append(Block(page, i + 1, language, f"{code.strip()}\n", mark, *around))
        i = after
    return found


def is_indented_code(lines: list[str], i: int) -> bool:
    """Whether an indented block begins here: four columns beyond the list that it is in, if any."""
    if not lines[i].startswith("    ") or (i and lines[i - 1].strip()):
        return False
    above = next((line for line in lines[i::-1] if line.strip() and line[0] != " "), "")
    item = _ITEM.match(above)
    indent = len(lines[i]) - len(lines[i].lstrip())
    return indent >= 4 + (len(item[0]) if item else 0)


def paragraph_before(lines: list[str], start: int) -> tuple[str | None, str]:
    """A mark right before a block, and the paragraph before both."""
    above = lines[:start]
    while above and not above[-1].strip():
        above.pop()
    mark = _MARK.fullmatch(above[-1].strip()) if above else None
    if mark:
        above.pop()
    while above and not above[-1].strip():
        above.pop()
    kept = []
    while above and above[-1].strip() and not above[-1].startswith(("    ", "#", "```")):
        kept.insert(0, above.pop().strip())
    return mark and mark[1], " ".join(kept)


def paragraph_after(lines: list[str], start: int) -> str:
    while start < len(lines) and not lines[start].strip():
        start += 1
    kept = []
    for line in lines[start:]:
        if not line.strip() or line.startswith(("    ", "#", "```", "|", "<!--")):
            break
        kept.append(line.strip())
    return " ".join(kept)


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]


def marked(name: str) -> list[Block]:
    """The blocks of all pages that have this name before them: the caller runs them."""
    return [block for block in all_blocks() if block.mark == name]


def output_of(block: Block) -> list[str]:
    """The lines of the block right after this one, which shows what it prints."""
    following = [b for b in blocks_of(block.page) if b.line > block.line]
    return following[0].text.splitlines() if following and following[0].is_right_after else []


@functools.cache
def readers() -> dict[str, str]:
    """{NAME: file of `tests/`} of each call of `marked`."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if called and node.func.id == "marked" and isinstance(node.args[0], ast.Constant):
                found[node.args[0].value] = path.relative_to(ROOT).as_posix()
    return found


def module_of(words: list[str]) -> tuple[object, list[str]]:
    """What `python ...` runs: a script, or a module after -m; and its arguments."""
    if words[1] == "-m":
        package = words[2] in ("mgn.export", "mgn.deploy")
        return importlib.import_module(f"{words[2]}.__main__" if package else words[2]), words[3:]
    return importlib.import_module(words[1].removesuffix(".py")), words[2:]


def masked(line: str) -> str:
    """A line without its numbers, names of caches, models and data sets, and verdict."""
    line = re.sub(r"search_cache/\w+", "search_cache/HASH", line)
    line = re.sub(r"model [0-9a-f]{12}\b", "model HASH", line)
    line = re.sub(r"\bon (pku-reid|Market-1501[\w.-]*),", "on SET,", line)
    line = re.sub(r"^(like the training images of) \S+\?", r"\1 MODEL?", line)
    line = re.sub(r"^(same|different):", "VERDICT:", line.strip())
    line = re.sub(r"\d{4}_c\d\S+\.jpg", "IMAGE", line)
    return re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?(e[+-]\d+)?", "N", line))


def missing(expected: list[str], told: list[str]) -> list[str]:
    """The lines that a page shows and that were not printed; a page may break a long line."""
    lines = [masked(line) for line in told]  # of two streams: their order is not known
    wanted = [line for line in expected if line.strip()]
    if any(" ".join(map(masked, wanted)) in line for line in lines):
        return []
    return [line for line in wanted if masked(line) not in lines]
