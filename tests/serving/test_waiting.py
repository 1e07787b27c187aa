"""Patience by the clock, and threads that no process waits for."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mgn.serving.waiting import Patience, TryLaterError, started
from mgn.system.errors import CheckError, InputError

ROOT = Path(__file__).parents[2]


class Busy:
    """Can only answer later, `count` times."""

    def __init__(self, count):
        self.count, self.times, self.left = count, [], []

    def __call__(self, left):
        self.times.append(time.monotonic())
        self.left.append(left)
        if len(self.times) <= self.count:
            raise TryLaterError("HERE: queue is full")
        return "answer"


def test_asks_again_after_pauses_that_grow(caplog):
    busy = Busy(4)
    assert Patience("HERE", 30)(busy) == "answer"
    assert len(busy.times) == 5
    for number, pause in enumerate((0.1, 0.2, 0.4, 0.8)):
        waited = busy.times[number + 1] - busy.times[number]
        assert pause / 2 <= waited < pause + 1
    spent = [30 - left for left in busy.left]
    assert spent == sorted(spent) and spent[-1] >= 0.75  # each attempt gets what is left
    (line,) = caplog.messages  # said once
    assert line == "warning: HERE: queue is full; trying again for up to 30 seconds"


def test_no_longer_than_the_seconds():
    busy, start = Busy(10**6), time.monotonic()
    with pytest.raises(CheckError) as error:
        Patience("HERE", 0.5)(busy)
    assert 0.45 <= time.monotonic() - start < 3
    told = "HERE: no answer within 0.5 seconds (the last was: queue is full); check the address"
    assert str(error.value).startswith(told)
    assert 3 <= len(busy.times) <= 8


@pytest.mark.parametrize("error", [CheckError("x"), InputError("x")])
def test_what_is_no_better_later_is_asked_once(error):
    asked = []

    def attempt(left):
        asked.append(left)
        raise error

    with pytest.raises(type(error), match=r"^x$"):
        Patience("HERE", 30)(attempt)
    assert len(asked) == 1


def test_an_attempt_that_took_all_the_time():
    def attempt(_):
        raise TimeoutError

    with pytest.raises(CheckError, match=r"^HERE: no answer within 7 seconds; check"):
        Patience("HERE", 7)(attempt)


def test_a_thread_gives_back_what_happened():
    assert started(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        started(divmod, 7, 0).result()


def test_a_process_ends_while_a_thread_is_busy():
    code = "import time\nfrom mgn.serving.waiting import started\nstarted(time.sleep, 60)\n"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=20)
