"""The checkpoints of a run, and the curves beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mgn.config import TrainConfig
from mgn.training.runlog import RunLog, draw_curves
from mgn.training.stepper import Step, Stepper
from mgn.weights import checkpoints, saving


@dataclass
class Saver:
    """Writes the checkpoints of one folder."""

    config: TrainConfig
    stepper: Stepper
    folder: Path
    description: Mapping  # of all checkpoints, but for their step
    is_chief: bool

    def prefix(self, step: int) -> Path:
        """Where the checkpoint of a step is, or goes."""
        return self.folder / f"{checkpoints.NAME}-{step}"

    def save(self, step: int) -> Path:
        """Write the checkpoint of this step, delete those too old to keep; returns its prefix."""
        prefix = self.prefix(step)
        averaged = bool(self.config.average_decay and step)
        description = {**self.description, "step": step, "averaged": averaged}
        saving.save(self.stepper.session, self.stepper.saver, prefix, description, overwrite=True)
        if not self.is_chief:  # it took part; the file that counts is the first worker's
            saving.delete(prefix)
            return prefix
        # Two at least: the newest may turn out to have gone wrong.
        saving.make_latest(prefix, max(self.config.keep_checkpoints, 2))
        if step:
            draw_curves(self.folder)
        return prefix


@dataclass
class PeriodicSaves:
    """Saves when a checkpoint is due, and after the last step; see `watch.Watch`."""

    config: TrainConfig
    runlog: RunLog
    save: Callable[[], object]
    meet: Callable[[], None]  # nobody goes while another worker still writes

    def after_step(self, step: int, _taken: Step, last: bool) -> None:
        """At the same steps in all workers: saving their statistics takes all of them."""
        intervals = [steps for steps in (self.config.save_every, self.config.eval_every) if steps]
        if last or any(step % steps == 0 for steps in intervals):
            self.runlog.flush()
            self.save()
            self.meet()
            self.runlog.restart_clock()
