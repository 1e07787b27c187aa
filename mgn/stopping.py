"""Ctrl-C and SIGTERM as a request that a loop looks at between two steps."""

import contextlib
import logging
import signal
from collections.abc import Iterator

from mgn.errors import Stopped

log = logging.getLogger(__name__)


class StopRequest:
    """Set by the first signal; a second one stops without saving."""

    signal_number: int | None = None

    def __call__(self, number: int, _frame: object) -> None:
        """Take a signal, as its handler."""
        if self.signal_number is not None:
            raise Stopped(
                "stopped without saving this step; --resume goes on from the last checkpoint", number
            )
        self.signal_number = number
        log.info("finishing this step and saving; once more stops without saving")


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request that the loop looks at after each step."""
    request = StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
