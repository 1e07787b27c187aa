"""Damaged model files: a sample of `benchmarks/soak_models.py`, and what it would not let pass."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import soak_models

ROOT = Path(__file__).parent.parent
INDEX = next(kind for kind in soak_models.KINDS if kind.exact)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_dozen_of_them_end_with_one_line_or_with_right_values():
    """In a process that has used no TensorFlow, so that it can fork one for each file."""
    command = [sys.executable, "tests/benchmarks/soak_models.py", "--count", "12", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    told = f"{done.stdout[-4000:]}{done.stderr[-2000:]}"
    assert done.returncode == 0, told
    *_, last = done.stdout.splitlines()
    assert re.fullmatch(r"12 files, 0 against the rule, \d+ MB at most", last), told


LINE = "error: x.index: damaged\n"


@pytest.mark.parametrize(
    ("status", "text", "megabytes", "wrong"),
    [
        (2, LINE, 500, False),
        (1, f"checking: 3 of 3 images\n{LINE}", 500, False),
        (2, LINE, 9000, True),  # too much memory
        (2, LINE + LINE, 500, True),
        (2, "", 500, True),
        (1, f"Traceback (most recent call last):\n{LINE}", 500, True),
        (0, "Traceback (most recent call last):\n", 500, True),
        (70, "", 500, True),
        (-11, "", 500, True),  # a crash
        ("hang", "", 0, True),
    ],
)
def test_what_is_against_the_rule(status, text, megabytes, wrong, tmp_path):
    _, judged = soak_models.judged(INDEX, status, text, megabytes, tmp_path, None)
    assert judged == wrong


def test_other_embeddings_of_a_damaged_checkpoint_are(tmp_path):
    for given, wrong in (([1.0, 2.0], False), ([1.0, 3.0], True)):
        np.savez(tmp_path / "features.npz", features=np.float32(given))
        whole = [np.float32([1.0, 2.0])]
        end, judged = soak_models.judged(INDEX, 0, "", 500, tmp_path, whole)
        assert judged == wrong and ("the same" in end) != wrong
