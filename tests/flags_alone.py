"""Commands of the pages that make figures: their flags are read, and nothing is run."""

import importlib.util
import inspect
import re
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from blocks import ROOT, module_of

from mgn.data import demo
from mgn.system.cli import Parser


class Parsed(Exception):  # noqa: N818
    """Raised where a command has read its flags."""


def check_flags(words, patches):
    """Let a command read its flags, of files that are there and empty, and no further."""
    words = words[[bool(re.match("[A-Z_]+=", word)) for word in words].index(False) :]
    if words[1:3] == ["-m", "pytest"]:
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
        return
    if words[1] == "-c":
        compile(words[2], "command", "exec")
        return
    for word in words[2:]:
        path = Path(word)
        if re.match(r"[\w/.-]*[a-z][\w/.-]*$", word) and not word.startswith(("-", "mgn.")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch() if path.suffix in (".npz", ".md") else path.mkdir(exist_ok=True)

    def stopping(parse):
        def parse_and_stop(*given):
            raise Parsed(parse(*given))

        return parse_and_stop

    def stop(*_):
        raise Parsed

    patches.setattr(demo, "checked_dataset", stop)  # where train.py has checked more than flags
    if words[1] != "train.py":
        for parser in (ArgumentParser, Parser):
            patches.setattr(parser, "parse_args", stopping(parser.parse_args))
    patches.setattr(sys, "path", [*sys.path])
    script = next((i for i, word in enumerate(words) if word.startswith("tests/")), None)
    if script is None:
        module, arguments = module_of(words)
        with pytest.raises(Parsed):
            module.main(arguments)
    else:
        patches.setattr(sys, "argv", words[script:])
        check_flags_of_benchmark(ROOT / words[script], words[script + 1 :])


def check_flags_of_benchmark(path, arguments):
    """By its parser, or by what its `main` takes."""
    sys.path.insert(0, str(path.parent))
    source, main = path.read_text(encoding="utf-8"), loaded(path).main
    taken = list(inspect.signature(main).parameters)
    if "parse_args(" in source:
        with pytest.raises(Parsed):
            main()
    elif taken == ["arguments"]:  # names of what it measures, and sizes
        assert all(word.isdecimal() or word in source for word in arguments)
    else:
        inspect.signature(main).bind(*arguments)


def loaded(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
