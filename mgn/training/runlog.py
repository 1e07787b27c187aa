"""What a run leaves to read: `metrics.jsonl`, TensorBoard events, curves."""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tensorflow.compat.v1 as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mgn.config import TrainConfig
from mgn.data.images import denormalise
from mgn.system.files import atomic_write
from mgn.system.progress import Progress
from mgn.system.session import new_graph
from mgn.training.stepper import Step

METRICS = "metrics.jsonl"
CURVES = "curves.png"
log = logging.getLogger(__name__)


class RunLog:
    """Appends to the logs of one folder; used as a context manager."""

    def __init__(self, folder: Path, step: int):
        """Open the logs; lines after `step`, which a killed run left unsaved, go."""
        path = Path(folder) / METRICS
        kept = [line for line in _lines_of(path) if (_step_of(line) or step + 1) <= step]
        self.validations = validations_in(kept)
        self.has_image = False
        with atomic_write(path, overwrite=True) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._lines = path.open("a", encoding="utf-8")
        with new_graph().as_default():  # the writer looks for a default graph
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
        speed = images / (now - self._clock)
        self._clock = now
        self._add({**figures, "images_per_second": speed})
        return speed

    def write_validation(self, step: int, scores: dict[str, float]) -> None:
        """Log the scores of a validation, among them mAP, after `step` steps."""
        self.validations.append((step, scores["mAP"]))
        self._add({"step": step, **scores}, "validation/")

    def write_image(self, step: int, name: str, image: np.ndarray) -> None:
        """Show an image, uint8 RGB [H, W, 3], in TensorBoard."""
        self.has_image = True
        encoded = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
        height, width, channels = image.shape
        shown = tf.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=encoded
        )
        self._events.add_summary(tf.Summary(value=[tf.Summary.Value(tag=name, image=shown)]), step)

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
        step = figures.pop("step")
        summary = tf.Summary()
        for name, value in figures.items():
            tag = (prefix + name).encode(errors="replace").decode()  # a data set's name is in some
            summary.value.add(tag=tag, simple_value=value)
        self._events.add_summary(summary, step)


@dataclass
class Journal:
    """Writes what each step says into the log and to the progress bar; see `watch.Watch`."""

    runlog: RunLog
    progress: Progress
    steps_per_epoch: int
    config: TrainConfig
    waiting: bool = False  # for the triplet loss, which joins later

    def after_step(self, step: int, taken: Step, _last: bool) -> None:
        """Log a step, and its images if it has any."""
        joined = taken.figures["triplet_weight"] > 0
        if joined and self.waiting:
            log.info(f"step {step}: the triplet loss joins")
        self.waiting = not joined
        epoch = (step - 1) // self.steps_per_epoch
        line = {"step": step, "epoch": epoch, **taken.figures}
        speed = self.runlog.write(line, taken.batch_size)
        if taken.images is not None:  # a row an identity
            images = denormalise(taken.images, self.config.mean, self.config.std)
            grid = _in_rows(images, self.config.batch_images)
            self.runlog.write_image(step, "augmented batch", grid)
        shown = {name: f"{taken.figures[name]:.3f}" for name in ("cross_entropy", "triplet")}
        if self.runlog.validations:
            shown["best_mAP"] = f"{max(mAP for _, mAP in self.runlog.validations):.3f}"
        self.progress.advance(1, **shown, images_per_second=f"{speed:.0f}")


def read(folder: Path) -> list[dict]:
    """The whole lines of a run's `metrics.jsonl`, in their order."""
    lines = _lines_of(Path(folder) / METRICS)
    return [json.loads(line) for line in lines if _step_of(line) is not None]


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


def _in_rows(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [R * columns, H, W, 3] as one: [R * H, columns * W, 3]."""
    _, height, width, _ = images.shape
    rows = images.reshape(-1, columns, height, width, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, 3)


def draw_curves(folder: Path) -> None:
    """Draw a run's losses over its steps, and mAP where it was validated, into `curves.png`."""
    lines = read(folder)
    steps = [line for line in lines if "total" in line]
    scored = [line for line in lines if "mAP" in line]
    figure = Figure(figsize=(8, 6 if scored else 4), layout="constrained")
    axes = figure.subplots(1 + bool(scored), 1, sharex=True, squeeze=False)[:, 0]
    for name, colour in (("cross_entropy", "C0"), ("triplet", "C1")):
        _draw_loss(axes[0], steps, name, colour)
    axes[0].set_ylabel("loss")
    if steps:
        axes[0].legend()
    if scored:
        at = [line["step"] for line in scored]
        for name in ("mAP", "rank@1"):
            axes[1].plot(at, [line[name] for line in scored], "o-", label=name)
        axes[1].set_ylabel("on query and gallery")
        axes[1].legend()
    axes[-1].set_xlabel("step")
    with atomic_write(Path(folder) / CURVES, overwrite=True) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _draw_loss(axes: Axes, steps: Sequence[Mapping[str, float]], name: str, colour: str) -> None:
    """Each step's value, faintly, and a moving average."""
    at = [line["step"] for line in steps]
    values = np.array([line[name] for line in steps])
    axes.plot(at, values, colour, alpha=0.25, linewidth=0.8)
    width = max(len(values) // 50, 1)
    if len(values) >= width:
        smooth = np.convolve(values, np.full(width, 1 / width), "valid")
        axes.plot(at[width - 1 :], smooth, colour, label=name.replace("_", "-"))
