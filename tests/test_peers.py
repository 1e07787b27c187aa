"""Workers that are gone are noticed, and those that may go are not missed."""

import contextlib
import socket
import threading

import pytest

from mgn import peers
from mgn.errors import CheckError


@pytest.fixture
def ends(monkeypatch):
    """Look a hundred times as often; the process's end becomes an event with its status."""
    ended, statuses = threading.Event(), []

    def end(status):
        statuses.append(status)
        ended.set()

    monkeypatch.setattr(peers, "_SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(peers.os, "_exit", end)
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
            watch.enter_context(peers.watched(addresses, 0, "start again"))
            assert not ended.wait(0.5)
        assert ended.wait(10) and statuses[0] == 1
    assert f"error: the worker at localhost:{port} is gone; start again\n" in capsys.readouterr().err


def test_a_worker_that_has_not_started_yet_is_waited_for(ends):
    ended, _ = ends
    with listening() as port:
        pass
    with peers.watched(["", f"localhost:{port}"], 0, ""):
        assert not ended.wait(0.5)


def test_when_no_step_is_ahead_the_others_may_go(ends):
    ended, _ = ends
    with listening() as port, contextlib.ExitStack() as watch:
        others_may_go = watch.enter_context(peers.watched(["", f"localhost:{port}"], 0, ""))
        others_may_go()
        left = watch.pop_all()
    with left:
        assert not ended.wait(0.5)


def test_why_something_failed():
    with listening() as port:
        peers.check(["localhost:1", f"localhost:{port}"], 0, "advice")
    with pytest.raises(CheckError, match=rf"localhost:{port} is gone; advice"):
        peers.check(["localhost:1", f"localhost:{port}"], 0, "advice")


def test_addresses_of_ipv6_have_brackets():
    try:
        with listening("::1", socket.AF_INET6) as port:
            peers.check(["", f"[::1]:{port}"], 0, "")
    except OSError:
        pytest.skip("this machine has no IPv6")
