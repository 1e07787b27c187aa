"""Real forks, in a process of their own: a child that cannot use TensorFlow is told so at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgn.system import forks

FORKED = """
import sys
sys.path.append("tests")
import tensorflow.compat.v1 as tf
from forked import in_a_child
from mgn.system.session import new_graph, new_session

def compute():
    with new_graph().as_default() as graph:
        total = tf.reduce_sum(tf.random.normal([300, 300]) @ tf.ones([300, 300]))
    with new_session(graph, rewrite=False) as session:
        return f"computed {session.run(total).dtype}"

in_a_child(compute)
print(compute())
in_a_child(compute)
print(compute())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_child_makes_no_session_once_its_parent_has_made_one():
    command = [sys.executable, "-c", FORKED]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *before, refusal, status, after = done.stdout.splitlines()
    assert before == ["computed float32", "0", "computed float32"]
    assert "was forked from process" in refusal and "after that had used TensorFlow" in refusal
    assert "Load the model in each process, after the fork" in refusal
    assert (status, after) == ("0", "computed float32")


def test_the_first_session_names_the_process(monkeypatch):
    monkeypatch.setattr(forks, "_owner", [])
    forks.check_process()  # nobody has used TensorFlow
    forks.claim_process()
    forks.claim_process()
    monkeypatch.setattr(os, "getpid", lambda: forks._owner[0] + 1)  # as a child would
    for function in (forks.check_process, forks.claim_process):
        with pytest.raises(RuntimeError, match=r"forked from process \d+ after that had used"):
            function()
