"""The loop of a run in one folder: steps, and what watches them."""

import contextlib
import logging
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.config.settings import RunSettings
from mgn.data.reading import check_readable, read_all
from mgn.data.records import Split
from mgn.data.sampling import check_divides, labels_of, planned_steps, steps_per_epoch
from mgn.system.errors import CheckError, InputError, Stopped, first_line
from mgn.system.progress import Progress
from mgn.system.signals import StopRequest, stop_request
from mgn.training import phases, start
from mgn.training.collapse import Collapse
from mgn.training.distribution import Placement, one_device
from mgn.training.runlog import Journal, RunLog
from mgn.training.saver import PeriodicSaves, Saver
from mgn.training.stepper import Step, Stepper
from mgn.training.watch import Health, Score, Validation, Watch
from mgn.training.workers import Workers
from mgn.weights import checkpoints
from mgn.weights.saving import refuse_existing_checkpoint

log = logging.getLogger(__name__)


class Trainer:
    """One run in one folder; of a cluster's workers, the first writes it.

    `fresh` and `resumed` return one that is ready to `run`; `close` frees what it holds.
    """

    def __init__(
        self,
        settings: RunSettings,
        split: Split,
        train_dir: Path,
        placement: Placement | None = None,
        step: int = 0,
        opened: contextlib.ExitStack | None = None,
    ):
        """Build the graph of a run that has taken `step` steps; its variables have no values yet.

        `placement` None is one device of this process; `opened` is what `close` gives back besides.

        Raises:
            InputError: one identity only, or too few for the replicas.
        """
        config = settings.config
        labels = labels_of(split.persons)
        num_classes = int(labels.max()) + 1
        if num_classes < 2:
            raise InputError("training set: has one person, and a triplet needs two; add others")
        self.step = step
        self.num_classes = num_classes
        self.total_steps = planned_steps(config, num_classes)
        self._config = config
        self._paths = split.paths
        self._train_dir = Path(train_dir)
        self._per_epoch = steps_per_epoch(num_classes, config.batch_ids)
        self._placement = placement or one_device(config.xla)
        check_divides(config, num_classes, self._placement.share.total)

        self._opened = opened or contextlib.ExitStack()
        self._folder = self._train_dir
        if not self._placement.is_chief:  # what it writes is looked at by nobody
            self._folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory()))

        worker = self._placement.worker
        resume_command = start.command_to_go_on(self._train_dir)
        self._workers = Workers(self._placement.addresses, worker, resume_command)
        self._health = Health(self._train_dir, worker, self._paths)
        cached = read_all(config, self._paths) if config.cache else None
        steps = phases.steps_of_phase(config, step, self.total_steps)
        self._end = steps.stop
        with self._workers.waiting():
            self._stepper = Stepper(config, self._paths, labels, steps, self._placement, cached)
        self._opened.callback(self._stepper.close)
        self._opened.enter_context(self._workers.watched())

        self._training_set = split.fingerprint()
        description = checkpoints.describe(config.network_options(num_classes))
        description |= {"recipe": config.recipe, "training_set": self._training_set}
        self._saver = Saver(
            config, self._stepper, self._folder, description, self._placement.is_chief
        )

    @classmethod
    def fresh(
        cls,
        settings: RunSettings,
        split: Split,
        train_dir: Path,
        placement: Placement | None = None,
    ) -> "Trainer":
        """A run that begins, with fresh weights or with those of `settings.init_checkpoint`.

        Raises:
            InputError: the folder holds a run, or the checkpoint does not fit.
        """
        start.refuse_begun(train_dir)
        refuse_existing_checkpoint(Path(train_dir) / f"{checkpoints.NAME}-0", overwrite=True)
        found = start.find_start(settings) if settings.init_checkpoint else None
        with _closed_on_failure() as opened:
            trainer = cls(settings, split, train_dir, placement, 0, opened)
            if trainer._placement.is_chief:
                opened.enter_context(start.claimed(train_dir))
            start.refuse_begun(train_dir)  # a run that ended meanwhile
            stepper = trainer._stepper
            with trainer._workers.waiting():
                trainer.meet()
                stepper.initialise()
            if found:
                drop = settings.fresh_classifier
                ours = stepper.model_variables
                taken = start.variables_taken(ours, found, trainer.num_classes, drop)
                stepper.restore(found, taken)
        return trainer

    @classmethod
    def resumed(
        cls,
        settings: RunSettings,
        split: Split,
        train_dir: Path,
        placement: Placement | None = None,
    ) -> "Trainer":
        """The run in `train_dir`, at its newest complete checkpoint.

        Raises:
            InputError: there is none, or it was trained on other images.
        """
        placement = placement or one_device(settings.config.xla)
        with _closed_on_failure() as opened:
            if placement.is_chief:
                opened.enter_context(start.claimed(train_dir))
            found = start.newest_of(train_dir)
            start.check_goes_on(found, settings.config, split)
            step = checkpoints.step_of(found.prefix)
            trainer = cls(settings, split, train_dir, placement, step, opened)
            with trainer._workers.waiting():
                trainer.meet()
            everything = found._replace(averaged=False)  # the averages too, which are variables
            trainer._stepper.restore(everything, trainer._stepper.variables)
            log.info(f"resuming from {found.prefix}")
        return trainer

    def run(self, score: Score | None = None) -> Path:
        """Step to the end of the phase, saving and validating; returns the last checkpoint's path.

        Args:
            score: of a checkpoint's prefix, for validation; None: there is nothing to score on.

        Raises:
            CheckError: a loss is not finite; nothing is saved over.
            InputError: an unreadable image, named.
            Stopped: Ctrl-C or SIGTERM, after saving.
        """
        with (
            stop_request() as asked,
            start.report_full_disk(self._train_dir),
            RunLog(self._folder, self.step) as runlog,
            Progress(self.total_steps, "training", "steps", self.step) as progress,
        ):
            score = score if self._placement.is_chief else None
            validation = Validation(self._config, self._train_dir, score, runlog)
            watches = self._watches(runlog, progress, validation)
            last = self.step >= self._end
            if last:
                self._workers.part()
            validation.score_if_due(self.step)  # a run may have been killed before it scored
            stopped = False
            while not (last or (self._workers.alone and validation.over())):
                taken = self._take_step(asked, validation.over(), not runlog.has_image)
                stopped = taken.stop
                last = stopped or taken.finish or self.step >= self._end
                for watch in watches:
                    watch.after_step(self.step, taken, last)
            self._workers.part()
            if stopped or asked.signal_number:  # the latter while the last checkpoint was scored
                hint = f"continue with: {start.command_to_go_on(self._train_dir)}"
                message = f"stopped at step {self.step} after saving; {hint}"
                raise Stopped(message, asked.signal_number or signal.SIGTERM)
        return self._saver.prefix(self.step)

    def save(self) -> Path:
        """Write the checkpoint of this step and make it the folder's latest; returns its prefix.

        Raises:
            CheckError: it could not be written (disk full, a worker gone), with what to do.
        """
        try:
            return self._saver.save(self.step)
        except CheckError as error:
            self._workers.check()
            raise start.with_resume_hint(error, self._train_dir) from None

    def meet(self) -> None:
        """Wait for the other workers; see `Workers.meet`."""
        same = self._config, self._training_set
        self._workers.meet(self._stepper.agreed, self.step, *same)

    def close(self) -> None:
        """Free the session, and the folder for other runs."""
        self._opened.close()

    def _watches(self, runlog: RunLog, progress: Progress, validation: Validation) -> list[Watch]:
        """In an order such that nothing is logged or saved of a step that went wrong.

        While the first worker scores the last checkpoint, the others may go.
        """
        journal = Journal(runlog, progress, self._per_epoch, self._config)
        saves = PeriodicSaves(self._config, runlog, self.save, self.meet)
        collapse = Collapse(self._config, self.num_classes, self._per_epoch)
        return [self._health, journal, collapse, saves, self._workers, validation]

    def _take_step(self, asked: StopRequest, over: bool, with_images: bool) -> Step:
        """One step; what it says of stopping holds for all workers."""
        try:
            taken = self._stepper.take(asked.signal_number is not None, over, with_images)
        except tf.errors.ResourceExhaustedError:
            advice = "lower --batch_ids, or --height and --width"
            raise CheckError(f"step {self.step}: out of memory; {advice}") from None
        except tf.errors.OpError as error:
            self._workers.check()
            check_readable(self._paths)  # TensorFlow does not say which file
            raise CheckError(f"step {self.step}: {first_line(error)}") from None
        self.step += 1
        if self._workers.alone and asked.signal_number:  # it came during the step
            return taken._replace(stop=True)
        return taken


@contextlib.contextmanager
def _closed_on_failure() -> Iterator[contextlib.ExitStack]:
    """A stack of what is opened on the way, closed unless the body succeeds."""
    opened = contextlib.ExitStack()
    try:
        yield opened
    except BaseException:
        opened.close()
        raise
