"""What a signal does while a run trains, while it waits for others, and afterwards."""

import os
import signal

import pytest

from mgn.system.errors import Stopped
from mgn.system.signals import ended_at_once, stop_request

BOTH = (signal.SIGINT, signal.SIGTERM)


def handlers():
    return [signal.getsignal(number) for number in BOTH]


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_asks_and_the_second_stops(number):
    before = handlers()
    with pytest.raises(Stopped, match="without saving") as stopped, stop_request() as asked:
        os.kill(os.getpid(), number)
        assert asked.signal_number == number
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.signal_number == signal.SIGTERM
    assert handlers() == before


def test_where_no_handler_runs_the_system_ends_the_process():
    before = handlers()
    with pytest.raises(KeyError), ended_at_once():
        assert handlers() == [signal.SIG_DFL, signal.SIG_DFL]
        raise KeyError
    assert handlers() == before
