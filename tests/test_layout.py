"""The house rules: who imports whom, what the top level holds, what importing the package may do."""

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(ROOT.glob("*.py"))
RUN = {"capture_output": True, "text": True, "check": True}


def order():
    """Files of the package from top to bottom, as doc/files.md lists them."""
    text = (ROOT / "doc" / "files.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `mgn/(\w+)\.py`", text, re.MULTILINE)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not for this package"
            if node.module.split(".")[0] == "mgn":
                yield from node.module.split(".")[1:] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("mgn") for alias in node.names), (
                "say: from mgn import x"
            )


def test_files_md_lists_every_file_of_the_package():
    assert sorted(order()) == sorted(
        p.stem for p in (ROOT / "mgn").glob("*.py") if p.stem != "__init__"
    )


def test_a_file_imports_only_from_files_above_it():
    place = {name: i for i, name in enumerate(order())}
    for name, i in place.items():
        below = [other for other in imported(ROOT / "mgn" / f"{name}.py") if place[other] >= i]
        assert not below, f"mgn/{name}.py imports {below} from below"


def test_the_top_level_holds_seven_scripts():
    names = (
        "convert_pytorch_weights evaluate export_pb export_pb_with_pre_post export_tf_serving_model"
    )
    assert [p.stem for p in SCRIPTS] == [*names.split(), "export_tf_serving_with_pre_post", "train"]


def test_only_layers_makes_variables():
    makers = [
        p.name
        for p in (ROOT / "mgn").glob("*.py")
        if "get_variable(" in p.read_text(encoding="utf-8")
    ]
    assert makers == ["layers.py"]


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


MODULES = [ROOT / "mgn" / f"{name}.py" for name in ("doctor", "search", "export", "client")]


@pytest.mark.parametrize("script", [*SCRIPTS, *MODULES], ids=lambda path: path.name)
def test_help_is_quick_and_needs_no_tensorflow(script):
    command = ["-m", f"mgn.{script.stem}"] if script in MODULES else [script]
    seconds = []
    for _ in range(3):  # the best of three: another process may have the machine
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, **RUN)
        seconds.append(time.perf_counter() - start)
    name = f"python -m mgn.{script.stem}" if script in MODULES else script.name
    assert done.stdout.startswith(f"usage: {name} ")
    assert min(seconds) < 0.5
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not re.search(r"\| +(tensorflow|torch|numpy|cv2)$", traced.stderr, re.MULTILINE)
