"""Real processes: what comes back from one, how one ends, and Ctrl-C for both."""

import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mgn.system.apart import apart

ROOT = Path(__file__).parents[2]
WAITING = """
import sys, time
from mgn.system import cli
from mgn.system.apart import apart

def main(_):
    print("ready", flush=True)
    apart(time.sleep, 60)

if __name__ == "__main__":
    sys.exit(cli.run(main, []))
"""


class Strange(Exception):  # noqa: N818
    """What another package raises, and what may not survive the way."""

    def __init__(self, one, two):
        super().__init__(f"{one}\n{two}")


def strange():
    raise Strange("one", "two")


def test_a_value_comes_back_from_another_process():
    assert apart(operator.add, 2, 3) == 5
    assert apart(os.getpid) != os.getpid()


def test_what_is_raised_comes_back():
    with pytest.raises(ZeroDivisionError, match="division"):
        apart(operator.floordiv, 1, 0)
    with pytest.raises(RuntimeError, match=r"^one$"):
        apart(strange)


def test_a_process_without_an_answer_is_told():
    with pytest.raises(RuntimeError, match="its process ended with status 7"):
        apart(os._exit, 7)


@pytest.mark.parametrize("seconds", [0.0, 0.3])  # while the other one starts, or after it
def test_ctrl_c_is_one_line_and_ends_both(tmp_path, seconds):
    (tmp_path / "waiting.py").write_text(WAITING)
    own = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "start_new_session": True, "text": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = subprocess.Popen([sys.executable, tmp_path / "waiting.py"], **own, **pipes)
    try:
        assert started.stdout.readline() == "ready\n"
        time.sleep(seconds)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to all
        _, errors = started.communicate(timeout=30)  # until nobody holds its pipes
    finally:
        started.kill()
    assert errors == "error: stopped by Ctrl-C\n"
    assert started.returncode == 130
