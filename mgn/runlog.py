"""What a run leaves to read: `metrics.jsonl`, a line a step, and TensorBoard events."""

import json
import time
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.files import replacing


class RunLog:
    """Appends to the logs of one folder; used as a context manager."""

    def __init__(self, folder: Path, step: int):
        """Open the logs; lines after `step`, which a killed run left unsaved, go."""
        path = Path(folder) / "metrics.jsonl"
        kept = [line for line in _lines_of(path) if (_step_of(line) or step + 1) <= step]
        with replacing(path, overwrite=True) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._lines = path.open("a", encoding="utf-8")
        with tf.Graph().as_default():  # the writer looks for a default graph
            self._events = tf.summary.FileWriter(str(folder))
        restart = tf.SessionLog(status=tf.SessionLog.START)
        self._events.add_session_log(restart, step + 1)  # TensorBoard forgets what came after
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
        values = [tf.Summary.Value(tag=name, simple_value=v) for name, v in figures.items() if name != "step"]
        self._events.add_summary(tf.Summary(value=values), figures["step"])
        return speed

    def flush(self) -> None:
        """Write out the events that are held back."""
        self._events.flush()


def _lines_of(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return text.splitlines(keepends=True)


def _step_of(line: str) -> int | None:
    """The step of a whole line; None for one that was cut off or damaged."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else None
    except (ValueError, KeyError, TypeError):
        return None
