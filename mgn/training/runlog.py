"""What a run leaves to read: `metrics.jsonl`, TensorBoard events, curves."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import tensorflow.compat.v1 as tf
from matplotlib.figure import Figure

from mgn.system.files import atomic_write

METRICS = "metrics.jsonl"


class RunLog:
    """Appends to the logs of one folder; used as a context manager."""

    def __init__(self, folder: Path, step: int):
        """Open the logs; lines after `step`, which a killed run left unsaved, go."""
        path = Path(folder) / METRICS
        kept = [line for line in _lines_of(path) if (_step_of(line) or step + 1) <= step]
        self.validations = validations_in(kept)
        self.imaged = False
        with atomic_write(path, overwrite=True) as temporary:
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

    def write(self, figures: dict, images: int) -> float:
        """Log one step; returns images a second since the step before."""
        now = time.monotonic()
        speed, self._clock = images / (now - self._clock), now
        self._add({**figures, "images_per_second": speed})
        return speed

    def write_validation(self, step: int, scores: dict[str, float]) -> None:
        """Log the scores of a validation, among them mAP, after `step` steps."""
        self.validations.append((step, scores["mAP"]))
        self._add({"step": step, **scores}, "validation/")

    def write_image(self, step: int, name: str, image: np.ndarray) -> None:
        """Show an image, uint8 RGB [H, W, 3], in TensorBoard."""
        self.imaged = True
        encoded = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
        height, width, channels = image.shape
        summary = tf.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=encoded
        )
        self._events.add_summary(
            tf.Summary(value=[tf.Summary.Value(tag=name, image=summary)]), step
        )

    def restart_clock(self) -> None:
        """Leave the time since the last step out of the next step's speed."""
        self._clock = time.monotonic()

    def flush(self) -> None:
        """Write out the events that are held back."""
        self._events.flush()

    def _add(self, figures: dict, prefix: str = "") -> None:
        # JSON knows no infinity, which a gradient of float16 may be while the loss scale is found.
        plain = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self._lines.write(json.dumps(plain) + "\n")
        self._lines.flush()  # so that others can follow the run
        values = [
            tf.Summary.Value(tag=prefix + name, simple_value=v)
            for name, v in figures.items()
            if name != "step"
        ]
        self._events.add_summary(tf.Summary(value=values), figures["step"])


def read(folder: Path) -> list[dict]:
    """The whole lines of a run's `metrics.jsonl`, in their order."""
    return [
        json.loads(line) for line in _lines_of(Path(folder) / METRICS) if _step_of(line) is not None
    ]


def validations_in(lines: list[str]) -> list[tuple[int, float]]:
    """(step, mAP) of each validation among whole lines."""
    return [(line["step"], line["mAP"]) for line in map(json.loads, lines) if "mAP" in line]


def _lines_of(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return text.splitlines(keepends=True)


def _step_of(line: str) -> int | None:
    """The step of a whole line; None for one that was cut off or damaged."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else None
    except (ValueError, KeyError, TypeError):
        return None


def in_rows(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [R * columns, H, W, 3] as one: [R * H, columns * W, 3]."""
    _, height, width, _ = images.shape
    rows = images.reshape(-1, columns, height, width, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, 3)


def draw_training(lines: Sequence[Mapping[str, float]], path: Path) -> None:
    """Losses of a run over its steps, and mAP where it was validated.

    Args:
        lines: of `runlog.read`.
        path: PNG to make or replace.
    """
    steps = [line for line in lines if "total" in line]
    scored = [line for line in lines if "mAP" in line]
    figure = Figure(figsize=(8, 6 if scored else 4), layout="constrained")
    axes = figure.subplots(1 + bool(scored), 1, sharex=True, squeeze=False)[:, 0]
    x = [line["step"] for line in steps]
    for name, colour in (("cross_entropy", "C0"), ("triplet", "C1")):
        values = np.array([line[name] for line in steps])
        axes[0].plot(x, values, colour, alpha=0.25, linewidth=0.8)
        width = max(len(values) // 50, 1)
        if len(values) >= width:
            smooth = np.convolve(values, np.full(width, 1 / width), "valid")
            axes[0].plot(x[width - 1 :], smooth, colour, label=name.replace("_", "-"))
    axes[0].set_ylabel("loss")
    if steps:
        axes[0].legend()
    if scored:
        for name in ("mAP", "rank@1"):
            axes[1].plot([p["step"] for p in scored], [p[name] for p in scored], "o-", label=name)
        axes[1].set_ylabel("on query and gallery")
        axes[1].legend()
    axes[-1].set_xlabel("step")
    with atomic_write(path, overwrite=True) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
