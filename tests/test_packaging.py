"""The installed package: all files, and every command, away from this folder."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REQUIRED = (ROOT / "requirements.txt").read_text().splitlines()
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where `pip install` of a copy of this folder puts the package, without what it requires."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE", *SCRIPTS):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "mgn", source / "mgn", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "doc").mkdir()
    shutil.copy(ROOT / "doc" / "deploy-requirements.txt", source / "doc")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--no-compile", "--target", target, source], check=True)
    return target


def commands(installed):
    """{name: entry point} of the distribution."""
    (about,) = installed.glob("*.dist-info")
    return importlib.metadata.Distribution.at(about).entry_points.select(group="console_scripts")


def test_every_file_is_there(installed):
    made = {path.relative_to(installed / "mgn") for path in installed.glob("mgn/**/*.py")}
    expected = {path.relative_to(ROOT / "mgn") for path in ROOT.glob("mgn/**/*.py")}
    assert made == expected | {Path("scripts") / name for name in SCRIPTS}


def test_it_requires_what_the_lists_say(installed):
    (about,) = installed.glob("*.dist-info")
    found = importlib.metadata.Distribution.at(about).requires
    for file, extra in (("requirements.txt", ""), ("doc/deploy-requirements.txt", "deploy")):
        lines = (ROOT / file).read_text().splitlines()
        wanted = [line.split(";")[0].strip() for line in lines if line and line[0] != "#"]
        own = [name.split(";")[0].strip() for name in found if extra in name.partition("extra")[2]]
        assert set(wanted) <= set(own)
        assert len(wanted) == len(own) or not extra


def test_every_command_answers_away_from_this_folder(installed, tmp_path):
    names = {point.name for point in commands(installed)}
    assert len(names) == len(SCRIPTS) + 6
    page = (ROOT / "doc" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(mgn-[\w-]+)` \|", page, re.MULTILINE)) == names
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    running = {}
    for name in names:
        call = [sys.executable, installed / "bin" / name, "--help"]
        how = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "text": True}
        running[name] = subprocess.Popen(call, **how)
    for name, process in running.items():
        told, _ = process.communicate()
        assert process.returncode == 0 and told.startswith("usage: "), name


def test_a_command_does_what_its_script_does(installed, dataset, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    told = []
    for call in (["-m", "mgn.doctor"], [installed / "bin" / "mgn-doctor"]):
        done = subprocess.run(
            [sys.executable, *call, dataset, "--json"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        told.append((done.returncode, done.stdout))
    assert told[0] == told[1] and told[0][1].startswith("{")


def test_the_dockerfile_names_what_is_here():
    """Docker itself is not run."""
    text = (ROOT / "doc" / "docker" / "Dockerfile").read_text()
    (pinned,) = (line for line in REQUIRED if line.startswith("tensorflow=="))
    assert f'ARG TENSORFLOW="{pinned}"' in text
    assert pinned.replace("tensorflow", "tensorflow[and-cuda]") in text
    for line in text.splitlines():
        if line.startswith("COPY "):
            assert all((ROOT / name).exists() for name in line.split()[1:-1]), line
    names = re.findall(r"\bmgn-[a-z-]+", text)
    known = (ROOT / "pyproject.toml").read_text()
    assert names and all(f"\n{name} = " in known for name in names)
