"""Watches over the other workers of a cluster: a sum over replicas waits for ever for one that is gone."""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from mgn.errors import CheckError

_SECONDS_BETWEEN_LOOKS = 5.0
_MISSES = 3  # in a row, before a worker counts as gone
_FAILED = 1  # exit status


def check(addresses: Sequence[str], own: int, advice: str) -> None:
    """Raise `CheckError` if another worker does not answer, which is then why something failed."""
    for i, address in enumerate(addresses):
        if i != own and not _answers(address):
            raise CheckError(_message(address, advice))


@contextlib.contextmanager
def watched(addresses: Sequence[str], own: int, advice: str) -> Iterator[Callable[[], None]]:
    """End this process when another worker stops to answer; yields what ends the watch.

    The run goes on from its last checkpoint.

    Args:
        addresses: host:port of every worker.
        own: this worker's place among them.
        advice: the end of the error line, what to do.
    """
    others = [address for i, address in enumerate(addresses) if i != own]
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(others, over, advice), daemon=True)
    if others:
        watch.start()
    try:
        yield over.set
    finally:
        over.set()


def _watch(addresses: Sequence[str], over: threading.Event, advice: str) -> None:
    missed: dict[str, int] = {}  # of those that have answered; others have not started yet
    while not over.wait(_SECONDS_BETWEEN_LOOKS):
        for address in addresses:
            if _answers(address):
                missed[address] = 0
            elif address in missed:
                missed[address] += 1
            if missed.get(address, 0) >= _MISSES and not over.is_set():
                # The main thread waits inside of TensorFlow for what will not come: no exception reaches it.
                sys.stderr.write(f"error: {_message(address, advice)}\n")
                sys.stderr.flush()
                os._exit(_FAILED)


def _message(address: str, advice: str) -> str:
    return f"the worker at {address} is gone; {advice}"


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_BETWEEN_LOOKS).close()
    except (OSError, ValueError):
        return False
    return True
