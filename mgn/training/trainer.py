"""Training in one folder: steps, logs, saves, stops and resumes."""

import contextlib
import logging
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data.images import denormalise
from mgn.data.reading import check_readable, read_all
from mgn.data.records import Split
from mgn.data.sampling import check_divides, labels_of, planned_steps, steps_per_epoch
from mgn.system.errors import CheckError, InputError, Stopped
from mgn.system.progress import Progress
from mgn.system.signals import stop_request
from mgn.training import runlog
from mgn.training.distribution import Placement, one_device
from mgn.training.runlog import RunLog, draw_training, in_rows
from mgn.training.start import (
    check_goes_on,
    claimed,
    command_to_go_on,
    find_start,
    refuse_begun,
    report_full_disk,
    variables_taken,
    with_resume_hint,
)
from mgn.training.stepper import Step, Stepper
from mgn.training.watch import Health, Score, Validation
from mgn.training.workers import Workers
from mgn.weights import checkpoints, saving

CURVES = "curves.png"
log = logging.getLogger(__name__)


class Trainer:
    """One run in one folder; of a cluster's workers, the first writes it."""

    def __init__(
        self, config: TrainConfig, split: Split, train_dir: Path, placement: Placement | None = None
    ):
        self.config, self.split, self.train_dir = config, split, Path(train_dir)
        self.placement = placement or one_device(config.xla)
        command = command_to_go_on(self.train_dir)
        self._workers = Workers(self.placement.addresses, self.placement.worker, command)
        self._stepper: Stepper | None = None
        self._opened = contextlib.ExitStack()  # what `close` gives back
        elsewhere = None if self.placement.is_chief else tempfile.TemporaryDirectory()
        self._out = Path(self._opened.enter_context(elsewhere)) if elsewhere else self.train_dir
        self._others_may_go: Callable[[], None] = lambda: None
        self.labels, self.training_set = labels_of(split.persons), split.fingerprint()
        self.num_classes = int(self.labels.max()) + 1
        if self.num_classes < 2:
            raise InputError("the training split has one person only: a triplet needs a negative")
        self.total_steps = planned_steps(config, self.num_classes)
        check_divides(config, self.num_classes, self.placement.share.total)

    def start(self, init_checkpoint: str | None = None, fresh_classifier: bool = False) -> None:
        """Build the graph and set the weights: fresh ones, or those of a checkpoint where it has them.

        Raises:
            InputError: the folder holds a run, or the checkpoint does not fit.
        """
        refuse_begun(self.train_dir)
        saving.refuse_existing_checkpoint(self._prefix(0), overwrite=True)
        found = find_start(init_checkpoint, self.config) if init_checkpoint else None
        self._build(0)
        self._claim()
        refuse_begun(self.train_dir)  # a run that ended meanwhile
        with self._workers.waiting():
            self._meet()
            self._stepper.initialise()
        if found:
            variables = self._stepper.model_variables
            taken = variables_taken(variables, found, self.num_classes, fresh_classifier)
            self._stepper.restore(found, taken)

    def resume(self) -> None:
        """Build the graph and restore the newest complete checkpoint of the folder."""
        self._claim()
        newest = checkpoints.newest(self.train_dir)
        if newest is None:
            raise InputError(
                f"{self.train_dir} has no complete checkpoint to resume from: name another folder, start anew"
            )
        found = checkpoints.find(newest)
        options = self.config.network_options(self.num_classes)
        check_goes_on(found, options, self.training_set, len(self.split.records))
        self._build(checkpoints.step_of(newest))
        with self._workers.waiting():
            self._meet()
        everything = found._replace(averaged=False)  # the averages too, as the variables they are
        self._stepper.restore(everything, self._stepper.variables)
        log.info(f"resuming from {newest}")

    def run(self, score: Score | None = None) -> Path:
        """Step to the end of the plan, saving and validating; returns the last checkpoint's prefix.

        Args:
            score: of a checkpoint's prefix, for validation; None: there is nothing to score on.

        Raises:
            CheckError: a loss is not finite; nothing is saved over.
            InputError: an unreadable image, named.
            Stopped: Ctrl-C or SIGTERM, after saving.
        """
        with (
            stop_request() as asked,
            report_full_disk(self.train_dir),
            RunLog(self._out, self.step) as written,
            Progress(self.total_steps, "training", "steps", self.step) as progress,
        ):
            scoring = score if self.placement.is_chief else None
            validation = Validation(self.config, self._out, scoring, written)
            stopped = finished = False
            while not (stopped or finished):
                if self.step >= self.total_steps:  # what is left, scoring, is done by one worker
                    self._others_may_go()
                if validation.due(self.step):
                    self._validate(validation)
                    self._draw_curves()
                    written.restart_clock()
                if self.step >= self.total_steps or (self._workers.alone and validation.over()):
                    break
                taken = self._one_step(
                    asked.signal_number is not None, validation.over(), written, progress
                )
                stopped = taken.stop or (self._workers.alone and asked.signal_number)
                finished = taken.finish
                if self._due_to_save() or stopped or finished:
                    written.flush()
                    self.save()
                    self._meet()  # nobody goes while another still writes
                    written.restart_clock()
            self._others_may_go()
            if stopped or asked.signal_number:  # the latter while the last checkpoint was scored
                command = command_to_go_on(self.train_dir)
                said = f"stopped at step {self.step} after saving; go on with: {command}"
                raise Stopped(said, asked.signal_number or signal.SIGTERM)
        return self._prefix(self.step)

    def save(self) -> Path:
        """Write the checkpoint of this step, make it the folder's latest, delete those too old to keep."""
        prefix = self._prefix(self.step)
        description = checkpoints.describe(self.config.network_options(self.num_classes))
        description |= {"recipe": self.config.recipe, "step": self.step}
        description |= {"training_set": self.training_set}
        description |= {"averaged": bool(self.config.average_decay and self.step)}
        try:
            saving.save(
                self._stepper.session, self._stepper.saver, prefix, description, overwrite=True
            )
        except CheckError as error:
            self._workers.check()
            raise with_resume_hint(error, self.train_dir) from None
        if not self.placement.is_chief:  # it took part; the file that counts is the first worker's
            saving.delete(prefix)
            return prefix
        # One of before is kept in any case: the newest may turn out to have gone wrong.
        saving.make_latest(prefix, max(self.config.keep_checkpoints, 2))
        if self.step:
            self._draw_curves()
        return prefix

    def close(self) -> None:
        """Free the session, if one was made."""
        self._opened.close()

    def _meet(self) -> None:
        self._workers.meet(self._stepper.agreed, self.step, self.config, self.training_set)

    def _build(self, step: int) -> None:
        self.step = step
        self._health = Health(self.config, self.train_dir, self.placement.worker)
        try:
            images = read_all(self.config, self.split.paths) if self.config.cache else None
        except tf.errors.OpError:
            check_readable(self.split.paths)  # TensorFlow does not say which file
            raise
        steps = step, self.total_steps
        arguments = self.config, self.split.paths, self.labels, *steps, self.placement, images
        with self._workers.waiting():
            self._stepper = Stepper(*arguments)
        self._opened.callback(self._stepper.close)
        self._others_may_go = self._opened.enter_context(self._workers.watched())

    def _claim(self) -> None:
        if self.placement.is_chief:
            self._opened.enter_context(claimed(self.train_dir))

    def _validate(self, validation: Validation) -> None:
        try:
            validation.run(self._prefix(self.step))
        except CheckError as error:
            raise with_resume_hint(error, self.train_dir) from None

    def _one_step(self, stop: bool, finish: bool, written: RunLog, progress: Progress) -> Step:
        first = not written.imaged
        try:
            taken = self._stepper.take(stop, finish, with_images=first)
        except tf.errors.ResourceExhaustedError:
            raise CheckError(
                f"step {self.step}: out of memory; lower --batch_ids or the image size"
            ) from None
        except tf.errors.OpError as error:
            self._workers.check()
            check_readable(self.split.paths)  # TensorFlow does not say which file
            raise CheckError(f"step {self.step}: {error.message.splitlines()[0]}") from None
        batch = [self.split.records[i].path for i in taken.indices]
        self._health.check(self.step, taken.figures, batch)
        epoch = self.step // steps_per_epoch(self.num_classes, self.config.batch_ids)
        self.step += 1
        speed = written.write(
            {"step": self.step, "epoch": epoch, **taken.figures}, taken.batch_size
        )
        if first:
            grid = in_rows(denormalise(taken.images), self.config.batch_images)  # a row a person
            written.write_image(self.step, "augmented batch", grid)
        shown = {name: f"{taken.figures[name]:.3f}" for name in ("cross_entropy", "triplet")}
        mAPs = [mAP for _, mAP in written.validations]
        best = {"best_mAP": f"{max(mAPs):.3f}"} if mAPs else {}
        progress.advance(1, **shown, **best, images_per_second=f"{speed:.0f}")
        return taken

    def _draw_curves(self) -> None:
        draw_training(runlog.read(self._out), self._out / CURVES)

    def _due_to_save(self) -> bool:
        """The same for all workers: reading their statistics to save them takes all of them."""
        every = [
            self.config.save_every,
            *([self.config.eval_every] if self.config.eval_every else []),
        ]
        return self.step == self.total_steps or any(self.step % steps == 0 for steps in every)

    def _prefix(self, step: int) -> Path:
        return self._out / f"{checkpoints.NAME}-{step}"
