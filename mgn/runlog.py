"""What a run leaves to read: `metrics.jsonl`, a line a step, and TensorBoard events."""

import json
import time
from pathlib import Path

import tensorflow.compat.v1 as tf

_EVENTS_EVERY = 10  # steps


class RunLog:
    """Appends to the logs of one folder; used as a context manager."""

    def __init__(self, folder: Path, step: int):
        """Open the logs; lines after `step`, which a killed run left unsaved, go."""
        self._path = Path(folder) / "metrics.jsonl"
        lines = (
            self._path.read_text(encoding="utf-8").splitlines(keepends=True) if self._path.exists() else []
        )
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self._path.write_text("".join(kept), encoding="utf-8")
        self._lines = self._path.open("a", encoding="utf-8")
        with tf.Graph().as_default():  # the writer looks for a default graph
            self._events = tf.summary.FileWriter(str(folder))
        self._clock = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._events.close()

    def write(self, figures: dict, pictures: int) -> float:
        """Log one step; returns pictures a second since the step before."""
        now = time.monotonic()
        speed, self._clock = pictures / (now - self._clock), now
        figures = {**figures, "images_per_second": speed}
        self._lines.write(json.dumps(figures) + "\n")
        self._lines.flush()  # so that others can follow the run
        if figures["step"] % _EVENTS_EVERY == 0:
            values = [
                tf.Summary.Value(tag=name, simple_value=v) for name, v in figures.items() if name != "step"
            ]
            self._events.add_summary(tf.Summary(value=values), figures["step"])
        return speed

    def flush(self) -> None:
        """Write out the events that are held back."""
        self._events.flush()
