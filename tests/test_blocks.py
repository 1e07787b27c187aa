"""Every block of README.md and doc/: run here as it stands, run by the test that its mark names, or
said to be not run.

`world.py` has what is changed in a command before it runs, and `world_files.py` the files.
"""

import functools
import logging
import re
import shlex
from pathlib import Path

import pymilvus  # noqa: F401  first: imported under `capsys`, it closes its streams
import pytest
import shallow
from blocks import PAGES, ROOT, all_blocks, blocks_of, masked, missing, output_of, readers
from flags_alone import check_flags
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from world import World, each_model_once
from world_files import small_sets

from mgn.data.demo import draw_image
from mgn.data.lists import HEADER, read_list
from mgn.evaluation import page as report_page
from mgn.evaluation.report import Drawings

CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with shallow.patched_with_torch(), pytest.MonkeyPatch.context() as patches:
        small_sets(patches)
        patches.setattr(report_page, "draw_pictures", lambda _, folder, *__: Drawings(folder))
        with each_model_once(patches):
            yield World(tmp_path_factory.mktemp("world"))


def is_read_elsewhere(block, last):
    """Whether another test runs it, or the block whose output it is."""
    return block.mark in readers() or (
        last is not None and last.mark in readers() and block.is_right_after
    )


@functools.cache
def run_elsewhere():
    """{command: block} of the blocks that other tests run."""
    blocks = [block for block in all_blocks() if block.mark in readers()]
    return {shlex.join(words): block for block in blocks for words in block.commands}


def is_of_ci(words):
    """Whether `.ci/run` does this: a virtual environment, an installation, all tests."""
    if words[:2] == ["pip", "install"]:
        return words[2] == "-r" and words[3] in installed("tests/requirements.txt")
    return " ".join(words[:3]) in ("python3 -m venv", ". .venv/bin/activate", "python -m pytest")


def installed(name):
    """The lists of packages that a list brings along, and itself."""
    lists = {name}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            path = ((ROOT / name).parent / line[3:]).resolve()
            lists |= installed(path.relative_to(ROOT).as_posix())
    return lists


def test_ci_installs_and_runs_the_tests():
    assert "python3 -m venv" in CI and "\npython -m pytest\n" in CI
    assert re.search(r"^pip install .*-r tests/requirements\.txt$", CI, re.MULTILINE)


def is_of_benchmarks(words):
    """Whether a command makes figures, for which there is no time here."""
    return any(word.startswith("tests/") for word in words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of(page, world, capsys, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    told, failed = [], []

    def listen():
        printed = capsys.readouterr()
        told.extend("\n".join([printed.err, printed.out, *caplog.messages]).splitlines())
        caplog.clear()

    blocks = blocks_of(page)
    with world.inside(page.relative_to(ROOT).as_posix().replace("/", "-")):
        for block, last in zip(blocks, [None, *blocks], strict=False):
            if is_read_elsewhere(block, last):
                continue
            if block.commands:
                told.clear()
                for words in block.commands:
                    if block.leaves_out(words) or is_of_ci(words):
                        continue
                    if there := run_elsewhere().get(shlex.join(words)):
                        told += output_of(there)
                        continue
                    run_or_check(block, words, world, monkeypatch)
                    listen()
            elif block.language == "python":
                run_python(block, world)
            elif block.language == "text" and block.text.startswith(HEADER):
                read_as_list(block)
            elif block.text.startswith("model_config_list"):
                text_format.Parse(block.text, model_server_config_pb2.ModelServerConfig())
            elif not block.excuse:
                for command in re.findall(r"`(python [^`]+)`", block.before):
                    world.run(shlex.split(command))
                    listen()
                failed += [f"{block}: {line}" for line in missing(block.text.splitlines(), told)]
    assert not failed, "\n".join([*failed, "printed:", *told])


def run_or_check(block, words, world, monkeypatch):
    """Run a command, or check its flags where the page says that this is all."""
    if block.flags_alone:
        with monkeypatch.context() as patches:
            check_flags(words, patches)
    else:
        assert not is_of_benchmarks(words), f"{block}: say beside it that tests check the flags"
        world.run(words)


def run_python(block, world):
    """In a namespace that has `images`."""
    for name in re.findall(r'"([^"\n]+)"', block.text):
        world.put("", name)
    exec(block.text, {"images": [draw_image(1, person, 1, 0) for person in (1, 2)]})


def read_as_list(block):
    """A list of images, with the images."""
    for line in block.text.splitlines()[1:]:
        image = Path(line.split(",")[0])
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    Path("list.csv").write_text(block.text, encoding="utf-8")
    assert len(list(read_list(Path("list.csv")))) == len(block.text.splitlines()) - 1


PAGE = """# Title

<!-- nobody -->
```bash
python train.py && \\
python -m mgn.doctor x  # comment
docker run x
```

Not run here: `docker`. It needs Docker.

1. Item

       x = 1

10. Item

    no code

```python
```
"""


def test_blocks_are_found_and_excused_by_what_the_reader_sees():
    commands, code, empty = blocks_of(Path("x.md"), PAGE)
    assert [shlex.join(words) for words in commands.commands] == [
        "python train.py",
        "python -m mgn.doctor x",
        "docker run x",
    ]
    left_out = [commands.leaves_out(words) for words in commands.commands]
    assert left_out == [False, False, True] and not commands.flags_alone
    assert (code.text, code.line, code.commands, code.excuse) == ("x = 1\n", 14, [], None)
    assert (empty.language, empty.commands) == ("python", [])
    assert not is_read_elsewhere(commands, None)  # no test reads that mark
    assert commands._replace(after="Not run: it needs a GPU.").leaves_out(["python"])
    assert commands._replace(top="Tests check the flags.").flags_alone


def test_what_no_test_runs_fails(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["docker", "run", "x"], ["python", "-m", "mgn.doctor", "missing"]):
        with pytest.raises(AssertionError):
            world.run(words)
    assert missing(["mAP 0.5", "done"], ["mAP 0.7"]) == ["done"]
    with pytest.raises(SystemExit):
        check_flags(["python", "train.py", "--no_such_flag"], monkeypatch)


def test_every_mark_is_read_by_one_test():
    marks = {block.mark for block in all_blocks() if block.mark}
    assert set(readers()) <= marks and len(set(readers()) & marks) >= 12


def test_masking_keeps_words():
    assert masked("a 1.5e-06 b 0025_c1s1_002500_00.jpg  12") == "a N b IMAGE N"
    assert masked("mAP 0.5") != masked("rank 0.5")
