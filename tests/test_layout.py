"""The house rules: rooms and who may import whom; the top level; what importing the package may
do."""

import importlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rooms

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(ROOT.glob("*.py"))
COMMANDS = ("doctor", "search", "migrate", "export", "client")
RUN = {"capture_output": True, "text": True, "check": True}
CONTRACT = (
    *("network.mgn", "losses.batch_hard_triplet", "config.TrainConfig", "config.RECIPES"),
    *("training.build_train_graph", "training.TrainOps", "metrics.evaluate", "metrics.rerank"),
    *("weights.assign", "weights.from_pytorch", "inference.load_embedder"),
)


@pytest.mark.parametrize("rule", rooms.RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule):
    assert not list(rule(rooms.read_house(ROOT)))


def add(text):
    """A change of a file: a line at its end."""
    return lambda before: f"{before}\n{text}\n"


# Of each rule: a file, what is changed in it, and what the rule then says.
BROKEN = {
    "page_lists_every_file": (
        "doc/files.md",
        lambda page: re.sub(r"(?m)^\| `mgn/losses\.py`.*\n", "", page),
        "differ in losses",
    ),
    "imports_are_absolute": ("mgn/losses.py", add("from . import network"), "a relative import"),
    "no_arrow_up_between_rooms": (
        "mgn/data/images.py",
        add("def late():\n    from mgn.training import run"),
        "data may not import training",
    ),
    "inside_a_room_only_from_above": (
        "mgn/training/graph.py",
        add("from mgn.training import run"),
        "training/graph imports training/run from below",
    ),
    "no_circle_of_files": (
        "mgn/training/graph.py",
        add("from mgn.training import run"),
        "a circle among",
    ),
    "nobody_imports_the_face_of_its_own_room": (
        "mgn/metrics/verification.py",
        add("from mgn.metrics import evaluate"),
        "imports the face of its own room",
    ),
    "no_private_names_of_other_files": (
        "mgn/export/freezing.py",
        add("from mgn.export import folding\nfolding._constant"),
        "uses folding._constant",
    ),
    "faces_hand_on_the_contract": (
        "mgn/data/__init__.py",
        add("from mgn.data.records import Split"),
        "holds more than its docstring",
    ),
    "rooms_use_only_their_packages": (
        "mgn/metrics/ranking.py",
        add("def late():\n    import tensorflow.compat.v1 as tf"),
        "metrics/ranking imports tensorflow",
    ),
    "only_layers_makes_variables": ("mgn/losses.py", add("tf.get_variable('a')"), "get_variable"),
    "only_session_makes_graphs": ("mgn/losses.py", add("tf.Graph()"), "losses makes a graph"),
    "no_comprehension_inside_another": (
        "mgn/losses.py",
        add("sum(x for x in [y for y in ()])"),
        "a comprehension inside a comprehension",
    ),
    "files_and_scripts_are_short": ("train.py", add("\n" * 110), "more than 110"),
    "tests_mirror_the_rooms": (
        "mgn/data/images.py",
        None,  # removed
        "test_images.py tests no file of its name",
    ),
}


@pytest.mark.parametrize("rule", rooms.RULES, ids=lambda rule: rule.__name__)
def test_each_rule_can_be_broken(rule, tmp_path):
    for name in ("mgn", "doc", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.npz", "*.png", "*.txt")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for script in SCRIPTS:
        shutil.copy(script, tmp_path)
    path, change, expected = BROKEN[rule.__name__.removeprefix("rule_")]
    if change is None:
        (tmp_path / path).unlink()
    else:
        before = (tmp_path / path).read_text(encoding="utf-8")
        (tmp_path / path).write_text(change(before), encoding="utf-8")
    assert any(expected in line for line in rule(rooms.read_house(tmp_path)))


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contract_is_importable(name):
    module, attribute = name.split(".")
    assert hasattr(importlib.import_module(f"mgn.{module}"), attribute)


def test_the_top_level_holds_seven_scripts():
    names = "convert_pytorch_weights evaluate export_pb export_pb_with_pre_post"
    names += " export_tf_serving_model export_tf_serving_with_pre_post train"
    assert [p.stem for p in SCRIPTS] == names.split()


def test_importing_the_package_changes_nothing_in_the_process():
    code = (
        "import logging, os, signal, tensorflow as tf\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM)\n"
        "from mgn.serving import saved_model\n"
        "from mgn.training import run\n"
        "assert tf.executing_eagerly() and not logging.root.handlers\n"
        "assert before == (dict(os.environ), signal.getsignal(signal.SIGTERM))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", [*(script.name for script in SCRIPTS), *COMMANDS])
def test_help_is_quick_and_needs_no_tensorflow(name):
    command = ["-m", f"mgn.{name}"] if name in COMMANDS else [name]
    seconds = []
    for _ in range(3):  # the best of three: another process may have the machine
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, **RUN)
        seconds.append(time.perf_counter() - start)
    usage = f"python -m mgn.{name}" if name in COMMANDS else name
    assert done.stdout.startswith(f"usage: {usage} ")
    assert min(seconds) < 0.5
    timed = [sys.executable, "-X", "importtime", *command, "--help"]
    traced = subprocess.run(timed, cwd=ROOT, **RUN)
    assert not re.search(r"\| +(tensorflow|torch|numpy|cv2)$", traced.stderr, re.MULTILINE)
