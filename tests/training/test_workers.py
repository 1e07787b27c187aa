"""Workers that are gone are noticed, and those that may go are not missed."""

import contextlib
import socket
import threading

import pytest
import tensorflow.compat.v1 as tf

from mgn.system.errors import CheckError, InputError
from mgn.training import workers
from mgn.training.workers import Workers


@pytest.fixture
def ends(monkeypatch):
    """Look a hundred times as often; the process's end becomes an event with its status."""
    ended, statuses = threading.Event(), []

    def end(status):
        statuses.append(status)
        ended.set()

    monkeypatch.setattr(workers, "_SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(workers.os, "_exit", end)
    return ended, statuses


@contextlib.contextmanager
def listening(host="localhost", family=socket.AF_INET):
    server = socket.create_server((host, 0), family=family)
    with server:
        yield server.getsockname()[1]


def test_a_worker_that_goes_ends_the_process_and_is_named(ends, capsys):
    ended, statuses = ends
    with contextlib.ExitStack() as watch:
        with listening() as port:
            addresses = ["localhost:1", f"localhost:{port}"]  # of oneself nobody asks
            watch.enter_context(Workers(addresses, 0, "python").watched())
            assert not ended.wait(0.5)
        assert ended.wait(10) and statuses[0] == 1
    assert (
        f"error: the worker at localhost:{port} is gone; start all workers again: python\n"
        in capsys.readouterr().err
    )


def test_a_worker_that_has_not_started_yet_is_waited_for(ends):
    ended, _ = ends
    with listening() as port:
        pass
    with Workers(["", f"localhost:{port}"], 0, "").watched():
        assert not ended.wait(0.5)


def test_when_no_step_is_ahead_the_others_may_go(ends):
    ended, _ = ends
    with listening() as port, contextlib.ExitStack() as watch:
        of_two = Workers(["", f"localhost:{port}"], 0, "")
        watch.enter_context(of_two.watched())
        of_two.after_step(7, None, last=True)
        left = watch.pop_all()
    with left:
        assert not ended.wait(0.5)


def test_why_something_failed():
    with listening() as port:
        of_two = Workers(["localhost:1", f"localhost:{port}"], 0, "python train.py")
        of_two.check()
    with pytest.raises(
        CheckError, match=rf"localhost:{port} is gone; start all .* again: python train\.py"
    ):
        of_two.check()


def test_addresses_of_ipv6_have_brackets():
    try:
        with listening("::1", socket.AF_INET6) as port:
            Workers(["", f"[::1]:{port}"], 0, "").check()
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_when_workers_meet_and_one_is_gone_it_is_named():
    def agreed(_mark):
        raise tf.errors.UnavailableError(None, None, "Socket closed")

    with listening() as port:
        pass
    of_two = Workers(["", f"localhost:{port}"], 0, "python train.py")
    with pytest.raises(CheckError, match=rf"localhost:{port} is gone"):
        of_two.meet(agreed, 3, "options")
    with pytest.raises(InputError, match="at step 3 this worker and the others differ"):
        of_two.meet(lambda _mark: False, 3, "options")
    of_two.meet(lambda _mark: True, 3, "options")
    Workers([""], 0, "").meet(agreed, 3, "options")  # with nobody to meet, nobody is asked
