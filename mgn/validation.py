"""Scores of a run while it goes on: the best checkpoint is kept, and a run that gets no better may end."""

import logging
from collections.abc import Callable
from pathlib import Path

from mgn import checkpoints, saving
from mgn.config import TrainConfig
from mgn.runlog import RunLog

BEST = "best"  # folder in a train_dir
log = logging.getLogger(__name__)

Score = Callable[[Path], dict[str, float]]  # of a checkpoint's prefix; with mAP among the names


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
        return bool(patience and len(scores) - (scores.index(max(scores)) if scores else 0) > patience)

    def _done(self, step: int) -> bool:
        return any(done == step for done, _ in self._runlog.validations)
