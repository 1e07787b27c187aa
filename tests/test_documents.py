"""README.md and doc/: what they name exists, and their lines are short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").rglob("*.md"))]
COMMANDS = ("doctor", "search", "migrate", "client", "export", "deploy")
# Of other programs, and of this one in the past.
FOREIGN = {
    *("--rm", "--gpus", "--build-arg", "--check", "--dry-run", "--help", "--port"),
    *("--enable_batching", "--batching_parameters_file", "--resize_h", "--resize_w", "--reid"),
    *("--monitoring_config_file", "--per_process_gpu_memory_fraction", "--opt_out"),
    *("--data-dir", "--host", "--model_config_file", "--logdir"),
}
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
_FILE = re.compile(r"`((?:mgn|tests|doc)/[\w./*-]+\.\w+)`")
_FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def text_of(page):
    return page.read_text(encoding="utf-8")


def prose_of(page):
    """Lines outside of code, tables and indented blocks, each with its number."""
    lines, code = [], False
    for number, line in enumerate(text_of(page).splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not line.startswith("    ") and not line.lstrip().startswith("|"):
            lines.append((number, line))
    return lines


def anchors_of(page):
    """The names by which GitHub links to headings."""
    found = set()
    for _, line in prose_of(page):
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target, anchor in _LINK.findall(text_of(page)):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors_of(path), f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_named_are_there(page):
    if page.name == "changelog.md":  # it names what is gone
        return
    for name in _FILE.findall(text_of(page)):
        if "ROOM" not in name:
            assert list(ROOT.glob(name)), f"{page.name}: {name}"


@pytest.fixture(scope="module")
def flags():
    """Every flag of every command, by its --help; those of benchmarks by their text."""
    calls = [[path.name] for path in ROOT.glob("*.py")]
    calls += [["-m", f"mgn.{name}"] for name in COMMANDS]
    running = []
    for call in calls:
        command = [sys.executable, *call, "--help"]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    known = set(FOREIGN)
    for process in running:
        known |= set(_FLAG.findall(process.communicate()[0]))
    for script in (ROOT / "tests" / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'"(--[a-z][\w-]*)"', text_of(script)))
    return known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_flags_named_are_flags(page, flags):
    if page.name in ("changelog.md", "benchmarks-log.md", "benchmarks-log-int8.md"):  # what is gone
        return
    unknown = set(_FLAG.findall(text_of(page))) - flags
    assert not unknown, f"{page.name}: {sorted(unknown)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_prose_are_short(page):
    long = []
    for number, line in prose_of(page):
        alone = line.startswith("[") and _LINK.search(line)  # an address cannot be broken
        if len(line) > 100 and " " in line.strip() and not alone:
            long.append(number)
    assert not long, f"{page.name}: lines {long}"


def test_pages_are_short():
    assert len(text_of(ROOT / "README.md").splitlines()) <= 150
    for page in PAGES:
        assert len(text_of(page).splitlines()) <= 200, page.name


def test_the_index_has_every_page():
    linked = {target for target, _ in _LINK.findall(text_of(ROOT / "doc" / "README.md"))}
    own = {page.relative_to(ROOT / "doc").as_posix() for page in PAGES[1:]}
    assert linked == own - {"README.md"}
