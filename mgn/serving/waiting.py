"""Waiting for a server: for a bounded time, again after a pause, and never at a process's end."""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from mgn.system.errors import CheckError

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 5.0, 2.0  # seconds
T = TypeVar("T")
log = logging.getLogger(__name__)


class TryLaterError(CheckError):
    """The server cannot answer now: it is busy, or away."""


def started(function: Callable[..., T], *arguments: object) -> "Future[T]":
    """Call a function in a thread of its own, which does not keep the process from ending.

    `ThreadPoolExecutor`'s threads do: after Ctrl-C Python waits for the request under way.
    """
    future = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, daemon=True).start()
    return future


class Patience:
    """Asks a server again, after pauses that grow, as long as it can only answer later."""

    def __init__(self, where: str, seconds: float):
        """`where` names the server in messages; `seconds` bound each call, pauses included."""
        self._where, self._seconds = where, seconds
        self._told = False

    def __call__(self, attempt: Callable[[float], T]) -> T:
        """Return what `attempt(seconds left)` does. Safe to call from several threads.

        The attempt raises `TryLaterError` where it is worth another, and `TimeoutError` where the
        seconds are over.

        Raises:
            CheckError: no answer in time.
        """
        end = time.monotonic() + self._seconds
        pause, reason = _FIRST_PAUSE, ""
        while (left := end - time.monotonic()) > 0:
            try:
                return attempt(left)
            except TimeoutError:
                break
            except TryLaterError as error:
                reason = f" (the last was: {error})"
                if not self._told:
                    self._told = True
                    log.warning(
                        f"warning: {error}; trying again for up to {self._seconds:g} seconds"
                    )
            # Of many clients that were refused at once, not all are to come back at once.
            time.sleep(max(0.0, min(pause * random.uniform(0.5, 1), end - time.monotonic())))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        told = f"{self._where}: no answer within {self._seconds:g} seconds"
        reason = reason.replace(f"{self._where}: ", "")
        raise CheckError(f"{told}{reason}; check the address, and that the server runs")
