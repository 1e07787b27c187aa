"""What watches a run: for losses that are not finite, and for scores that no longer rise."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mgn.config import TrainConfig
from mgn.config.settings import BEST
from mgn.system.errors import CheckError
from mgn.system.files import atomic_write
from mgn.training.runlog import RunLog, draw_curves
from mgn.training.start import with_resume_hint
from mgn.training.stepper import Step
from mgn.weights import checkpoints, saving

BAD_BATCH = "bad_batch.txt"  # in a train_dir; bad_batch-N.txt of the N-th other worker of a cluster
Score = Callable[[Path], dict[str, float]]  # of a checkpoint's prefix; with mAP among the names
_SHOWN = 3  # images named in a message
log = logging.getLogger(__name__)


class Watch(Protocol):
    """What looks at a run after each step, and may end it by an exception."""

    def after_step(self, step: int, taken: Step, last: bool) -> None:
        """Look at what the `step`-th step says, counted from 1; `last`: none follows."""


class Health:
    """Looks at the figures of each step."""

    def __init__(self, train_dir: Path, worker: int = 0, paths: Sequence[str] = ()):
        """Take the paths of the training images, which a message is to name."""
        self._paths = paths
        self._train_dir = Path(train_dir)
        name = BAD_BATCH.replace(".", f"-{worker}.") if worker else BAD_BATCH
        self._bad_batch = self._train_dir / name

    def after_step(self, step: int, taken: Step, _last: bool) -> None:
        """See `Watch`."""
        self.check(step - 1, taken.figures, [self._paths[i] for i in taken.indices])

    def check(self, step: int, figures: Mapping[str, float], images: Sequence[str]) -> None:
        """Raise `CheckError` if a figure is not finite, after listing the `images` in a file.

        Args:
            step: counted from 0.
            figures: of `Stepper.take`.
            images: the batch's files.
        """
        for part in ("cross_entropy", "triplet", "grad_norm"):
            # An infinite gradient of float16 is skipped, and halves the loss scale.
            scaled = part == "grad_norm" and figures["loss_scale"] > 1.0
            if math.isfinite(figures[part]) or scaled:
                continue
            with atomic_write(self._bad_batch, overwrite=True) as temporary:
                listed = "\n".join(images) + "\n"
                temporary.write_text(listed, encoding="utf-8", errors="surrogateescape")
            named = ", ".join(images[:_SHOWN])
            raise CheckError(
                f"step {step}: {part} is {figures[part]}, in the batch of {named} and others"
                f" ({self._bad_batch} lists them); start again with a lower"
                f" --learning_rate{self._advice(step)}"
            )

    def _advice(self, step: int) -> str:
        """Which checkpoint is older than this step; one of this very step went wrong already."""
        advice = ""
        steps = checkpoints.steps_in(self._train_dir)
        before = [saved for saved in steps if saved < step]
        if before:
            last = self._train_dir / f"{checkpoints.NAME}-{max(before)}"
            advice += f", if needed from {last}, which is older"
        if step in steps:
            advice += f"; {checkpoints.NAME}-{step} has the weights that led to it"
        return advice


@dataclass
class Validation:
    """Scores a run's checkpoints every `eval_every` steps."""

    config: TrainConfig
    train_dir: Path
    score: Score | None  # None: there is nothing to score on
    runlog: RunLog

    def after_step(self, step: int, taken: Step, _last: bool) -> None:
        """See `Watch`; what was stopped is scored when it goes on."""
        if not (taken.stop or taken.finish):
            self.score_if_due(step)

    def score_if_due(self, step: int) -> None:
        """Score the checkpoint of this step if `due`, and draw the curves anew."""
        if not self.due(step):
            return
        try:
            self.run(self.train_dir / f"{checkpoints.NAME}-{step}")
        except CheckError as error:
            raise with_resume_hint(error, self.train_dir) from None
        draw_curves(self.train_dir)
        self.runlog.restart_clock()

    def due(self, step: int) -> bool:
        """Whether the checkpoint of this step is to be scored, and has not been."""
        every = self.config.eval_every
        done = [scored for scored, _ in self.runlog.validations]
        return bool(self.score and every and step and step % every == 0 and step not in done)

    def run(self, prefix: Path) -> None:
        """Score a checkpoint, and keep a copy if it is the best so far (of equals the first)."""
        step = checkpoints.step_of(prefix)
        scores = self.score(prefix)
        best = scores["mAP"] > max((mAP for _, mAP in self.runlog.validations), default=-1.0)
        if best:
            saving.copy(prefix, self.train_dir / BEST)
        self.runlog.write_validation(step, scores)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        log.info(f"step {step}: {shown}{'; the best so far' if best else ''}")

    def over(self) -> bool:
        """Whether `early_stop` scores in a row were not better than the best before them."""
        scores = [mAP for _, mAP in self.runlog.validations]
        if not (self.config.early_stop and scores):
            return False
        since_best = len(scores) - 1 - scores.index(max(scores))
        return since_best >= self.config.early_stop
