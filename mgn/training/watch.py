"""What a run is watched for: losses that are not finite, scores that no longer rise."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mgn.config import TrainConfig
from mgn.system.errors import CheckError
from mgn.system.files import atomic_write
from mgn.training.runlog import RunLog
from mgn.weights import checkpoints, saving

BEST = "best"  # folder in a train_dir
log = logging.getLogger(__name__)
Score = Callable[[Path], dict[str, float]]  # of a checkpoint's prefix; with mAP among the names
_SITS = 0.01  # of the margin: nearer than that, the loss sits at it
_STEPS = 100  # in a row, until that is told
_SHOWN = 3  # images named in a message
BAD_BATCH = "bad_batch.txt"  # in a train_dir; bad_batch-N.txt of the N-th other worker of a cluster


class Validation:
    """Scores a run's checkpoints every `eval_every` steps."""

    def __init__(self, config: TrainConfig, train_dir: Path, score: Score | None, runlog: RunLog):
        self._config, self._best_dir = config, Path(train_dir) / BEST
        self._score, self._runlog = score, runlog

    def due(self, step: int) -> bool:
        """Whether the checkpoint of this step is to be scored, and has not been."""
        every = self._config.eval_every
        return bool(self._score and every and step and step % every == 0 and not self._done(step))

    def run(self, prefix: Path) -> None:
        """Score a checkpoint, and keep a copy if it is the best so far (of equals the first)."""
        step = checkpoints.step_of(prefix)
        scores = self._score(prefix)
        before = max((mAP for _, mAP in self._runlog.validations), default=-1.0)
        if scores["mAP"] > before:
            saving.copy(prefix, self._best_dir)
        self._runlog.write_validation(step, scores)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        log.info(f"step {step}: {shown}{'; the best so far' if scores['mAP'] > before else ''}")

    def over(self) -> bool:
        """Whether `early_stop` scores in a row were not better than the best before them."""
        scores = [mAP for _, mAP in self._runlog.validations]
        patience = self._config.early_stop
        return bool(
            patience and len(scores) - (scores.index(max(scores)) if scores else 0) > patience
        )

    def _done(self, step: int) -> bool:
        return any(done == step for done, _ in self._runlog.validations)


class Health:
    """Looks at the figures of each step."""

    def __init__(self, config: TrainConfig, train_dir: Path, worker: int = 0):
        name = Path(BAD_BATCH)
        self._config, self._train_dir = config, Path(train_dir)
        self._bad_batch = self._train_dir / (
            name.with_stem(f"{name.stem}-{worker}") if worker else name
        )
        self._margin = math.log(2.0) if config.margin is None else config.margin  # softplus(0)
        self._sitting, self._told = 0, False

    def check(self, step: int, figures: Mapping[str, float], images: Sequence[str]) -> None:
        """Raise `CheckError` if a figure of `step` is not finite, after writing its `images` to a file.

        Args:
            step: counted from 0.
            figures: of `Stepper.take`.
            images: the batch's files.
        """
        self._watch_triplet(step, figures)
        for part in ("cross_entropy", "triplet", "grad_norm"):
            # float16 tries large scales: an infinite gradient is skipped there, and halves the
            # scale.
            if math.isfinite(figures[part]) or (
                part == "grad_norm" and figures["loss_scale"] > 1.0
            ):
                continue
            with atomic_write(self._bad_batch, overwrite=True) as temporary:
                temporary.write_text(
                    "\n".join(images) + "\n", encoding="utf-8", errors="surrogateescape"
                )
            raise CheckError(
                f"step {step}: {part} is {figures[part]}, in the batch of {', '.join(images[:_SHOWN])} and"
                f" others ({self._bad_batch} lists them); start again with a lower"
                f" --learning_rate{self._from(step)}"
            )

    def _from(self, step: int) -> str:
        """Which checkpoint is from before; one of this very step has the weights that went wrong."""
        steps = checkpoints.steps_in(self._train_dir)
        before = [saved for saved in steps if saved < step]
        here = (
            f"; {checkpoints.NAME}-{step} has the weights that gave this" if step in steps else ""
        )
        last = self._train_dir / f"{checkpoints.NAME}-{max(before, default=0)}"
        return (f", if need be from {last}, which is from before" if before else "") + here

    def _watch_triplet(self, step: int, figures: Mapping[str, float]) -> None:
        used = self._config.triplet_weight and step >= self._config.triplet_start_step
        sits = used and abs(figures["triplet"] - self._margin) <= _SITS * self._margin
        self._sitting = self._sitting + 1 if sits else 0
        if self._sitting == _STEPS and not self._told:
            self._told = True
            soft = "" if self._config.margin is None else ", or --margin none"
            log.warning(
                f"warning: for {_STEPS} steps the triplet loss has sat at its margin, {self._margin:.2f}:"
                " embeddings may all be alike. Try a lower --learning_rate, --warmup_steps, a later"
                f" --triplet_start_step{soft}"
            )
