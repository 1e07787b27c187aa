"""doc/getting-started.md: each command as it stands there, and the lines that it prints.

With a small network: numbers differ from those of the page, and the verdict on two images may.
"""

import contextlib
import logging
from contextlib import closing

import pytest
from blocks import marked, missing, module_of, output_of
from conftest import run
from model_server import Model, serving_grpc

pytestmark = pytest.mark.usefixtures("shallow_network")
_SERVER = "localhost:8500"


def test_the_page_as_it_stands(tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    parts = marked("run")
    assert len(parts) == 7
    with contextlib.ExitStack() as last:
        for block in parts:
            told = []
            for words in block.commands:
                if _SERVER in words:
                    served = Model(tmp_path / "runs" / "served" / "mgn" / "1", version=1)
                    last.enter_context(closing(served))
                    words[words.index(_SERVER)] = last.enter_context(serving_grpc(served, 0))
                module, arguments = module_of(words)
                assert run(module, *arguments) == 0, words
                printed = capsys.readouterr()
                told += "\n".join([printed.err, printed.out, *caplog.messages]).splitlines()
            assert output_of(block)
            lacking = missing(output_of(block), told)
            assert not lacking, f"{block}: {lacking}"
