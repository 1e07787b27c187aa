"""Ctrl-C and SIGTERM as a request that a loop looks at between two steps."""

import contextlib
import logging
import signal
from collections.abc import Callable, Iterator

from mgn.system.errors import Stopped

log = logging.getLogger(__name__)


class StopRequest:
    """Set by the first signal; a second one stops without saving."""

    signal_number: int | None = None

    def __call__(self, number: int, _frame: object) -> None:
        """Take a signal, as its handler."""
        if self.signal_number is not None:
            raise Stopped("stopped without saving; --resume starts at the last checkpoint", number)
        self.signal_number = number
        log.info("finishing this step and saving; a second signal stops without saving")


def stop_request() -> contextlib.AbstractContextManager[StopRequest]:
    """Turn SIGINT and SIGTERM into a request that the loop looks at after each step."""
    return _handled_by(StopRequest())


def ended_at_once() -> contextlib.AbstractContextManager:
    """Let both signals end the process, as by default: while TensorFlow waits, no handler runs."""
    return _handled_by(signal.SIG_DFL)


@contextlib.contextmanager
def _handled_by(handler: Callable | signal.Handlers) -> Iterator[Callable]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield handler
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)
