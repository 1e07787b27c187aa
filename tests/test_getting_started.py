"""doc/getting-started.md: each command as it stands there, and the lines that it prints.

With a small network: numbers differ from those of the page, and the verdict on two images may.
"""

import contextlib
import importlib
import logging
import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest
from conftest import run
from model_server import Model, serving_grpc

pytestmark = pytest.mark.usefixtures("shallow_network")
PAGE = Path(__file__).parents[1] / "doc" / "getting-started.md"
_BLOCK = re.compile(r"<!-- run -->\n```bash\n(.*?)```\n\n((?:    [^\n]*\n)*)", re.DOTALL)
_SERVER = "localhost:8500"


def blocks():
    """(commands, lines of output) of each block that is run."""
    found = []
    for code, output in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        commands = code.replace("\\\n", " ").splitlines()
        found.append((commands, [line[4:] for line in output.splitlines() if line.strip()]))
    return found


def masked(line):
    """A line without its numbers, names of caches and verdict."""
    line = re.sub(r"search_cache/\w+", "search_cache/HASH", line)
    line = re.sub(r"^(same|different):", "VERDICT:", line.strip())
    line = re.sub(r"\d{4}_c\d\S+\.jpg", "IMAGE", line)
    return re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?(e[+-]\d+)?", "N", line))


def module_of(words):
    """What `python ...` runs: a script, or a module after -m; and its arguments."""
    if words[1] == "-m":
        name = words[2] if words[2] != "mgn.export" else "mgn.export.__main__"
        return importlib.import_module(name), words[3:]
    return importlib.import_module(words[1].removesuffix(".py")), words[2:]


def test_the_page_as_it_stands(tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    parts = blocks()
    assert len(parts) == 7
    with contextlib.ExitStack() as last:
        for commands, expected in parts:
            told = []
            for command in commands:
                words = shlex.split(command)
                if _SERVER in words:
                    served = Model(tmp_path / "runs" / "served" / "mgn" / "1", version=1)
                    last.enter_context(closing(served))
                    words[words.index(_SERVER)] = last.enter_context(serving_grpc(served, 0))
                module, arguments = module_of(words)
                assert run(module, *arguments) == 0, command
                printed = capsys.readouterr()
                told += "\n".join([printed.err, printed.out, *caplog.messages]).splitlines()
            lines = {masked(line) for line in told}  # two streams: the order is not known
            missing = [line for line in expected if masked(line) not in lines]
            assert not missing, f"{missing} of {command}"


def test_masking_keeps_words():
    assert masked("a 1.5e-06 b 0025_c1s1_002500_00.jpg  12") == "a N b IMAGE N"
    assert masked("mAP 0.5") != masked("rank 0.5")
