"""Progress of long work: a `tqdm` bar on a terminal, one plain line now and then elsewhere."""

import contextlib
import dataclasses
import logging
import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 20.0
log = logging.getLogger(__name__)


@dataclasses.dataclass
class Progress(contextlib.AbstractContextManager):
    """Counts from `initial` up to `total`; used as a context manager."""

    total: int
    what: str
    unit: str
    initial: int = 0

    def __post_init__(self):
        shown = {"desc": self.what, "unit": self.unit, "dynamic_ncols": True}
        hidden = not sys.stderr.isatty()
        self._bar = tqdm(total=self.total, initial=self.initial, disable=hidden, **shown)
        self._done = self.initial
        self._started = self._last_line = time.monotonic()

    def __exit__(self, *_):
        self._bar.close()

    def advance(self, count: int = 1, **figures: str) -> None:
        """Count `count` more as done, and show figures, {name: value}, beside them."""
        self._done += count
        self._bar.set_postfix(figures, refresh=False)
        self._bar.update(count)
        now = time.monotonic()
        due = now - self._last_line > _SECONDS_BETWEEN_LINES or self._done == self.total
        if self._bar.disable and due:
            self._last_line = now
            seconds_each = (now - self._started) / (self._done - self.initial)
            left = f"{seconds_each * (self.total - self._done):.0f} s left"
            shown = "".join(f", {name} {value}" for name, value in figures.items())
            log.info(f"{self.what}: {self._done} of {self.total} {self.unit}, {left}{shown}")
