"""Progress of long work: a `tqdm` bar on a terminal, one plain line now and then elsewhere."""

import logging
import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 20.0
log = logging.getLogger(__name__)


class Progress:
    """Counts up to `total`; used as a context manager."""

    def __init__(self, total: int, what: str, unit: str, initial: int = 0):
        self._bar = tqdm(
            total=total,
            desc=what,
            unit=unit,
            initial=initial,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        self._total, self._what, self._unit, self._done = total, what, unit, initial
        self._initial, self._started, self._last_line = initial, time.monotonic(), time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def advance(self, count: int = 1, **figures: str) -> None:
        """Say that `count` more are done, with figures worth showing."""
        self._done += count
        self._bar.set_postfix(figures, refresh=False)
        self._bar.update(count)
        now = time.monotonic()
        if self._bar.disable and (
            now - self._last_line > _SECONDS_BETWEEN_LINES or self._done == self._total
        ):
            self._last_line = now
            left = (now - self._started) / (self._done - self._initial) * (self._total - self._done)
            shown = "".join(f", {name} {value}" for name, value in figures.items())
            log.info(
                f"{self._what}: {self._done} of {self._total} {self._unit}, {left:.0f} s left{shown}"
            )
