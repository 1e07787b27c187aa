"""Training in one folder: steps, logs, saves, stops and resumes."""

import contextlib
import errno
import logging
import shlex
import signal
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn import checkpoints, peers, plan, runlog, saving
from mgn.batches import check_divides, read_all
from mgn.config import TrainConfig
from mgn.data import Split, labels_of, steps_per_epoch
from mgn.distribution import Placement, one_device
from mgn.errors import CheckError, InputError, Stopped
from mgn.files import not_written
from mgn.health import Health
from mgn.images import PictureReader, denormalise, in_rows
from mgn.plots import draw_training
from mgn.progress import Progress
from mgn.runlog import RunLog
from mgn.stepper import Step, Stepper
from mgn.stopping import ended_at_once, stop_request
from mgn.trainfolder import claimed, refuse_begun
from mgn.training import planned_steps
from mgn.validation import Score, Validation
from mgn.warmstart import check_goes_on, find_start, variables_taken

CURVES = "curves.png"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
log = logging.getLogger(__name__)


class Trainer:
    """One run in one folder; of a cluster's workers, the first writes it."""

    def __init__(
        self, config: TrainConfig, split: Split, train_dir: Path, placement: Placement | None = None
    ):
        self.config, self.split, self.train_dir = config, split, Path(train_dir)
        self.placement = placement or one_device(config.xla)
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

    def plan(self) -> str:
        """What the run will do."""
        total = self.placement.share.total
        return plan.describe(self.config, self.split, self.num_classes, self.total_steps, total)

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
        with self._waiting():
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
        with self._waiting():
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
            InputError: an unreadable picture, named.
            Stopped: Ctrl-C or SIGTERM, after saving.
        """
        with (
            stop_request() as asked,
            self._full_disk_told(),
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
                if self.step >= self.total_steps or (self._alone and validation.over()):
                    break
                taken = self._one_step(asked.signal_number is not None, validation.over(), written, progress)
                stopped = taken.stop or (self._alone and asked.signal_number)
                finished = taken.finish
                if self._due_to_save() or stopped or finished:
                    written.flush()
                    self.save()
                    self._meet()  # nobody goes while another still writes
                    written.restart_clock()
            self._others_may_go()
            if stopped or asked.signal_number:  # the latter while the last checkpoint was scored
                said = f"stopped at step {self.step} after saving; go on with: {self._command()}"
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
            saving.save(self._stepper.session, self._stepper.saver, prefix, description, overwrite=True)
        except CheckError as error:
            peers.check(*self._peers)
            raise self._to_go_on(error) from None
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

    @property
    def _alone(self) -> bool:
        """Without other workers, with whom to agree on when to stop."""
        return len(self.placement.addresses) == 1

    @property
    def _peers(self) -> tuple:
        """Arguments for `peers`: who the others are, and what to do when one is gone."""
        advice = f"start all workers again: {self._command()}"
        return self.placement.addresses, self.placement.worker, advice

    def _meet(self) -> None:
        """Wait for the other workers; a run of unequal ones would hang, or train something else."""
        mark = zlib.crc32(repr((self.config, self.training_set, self.step)).encode())
        try:
            if self._alone or self._stepper.agreed(mark):
                return
        except tf.errors.OpError:
            peers.check(*self._peers)
            raise
        raise InputError(
            f"TF_CONFIG: at step {self.step} this worker and the others differ in options, data set or step;"
            " start all with the same command, and a train_dir on a file system that all see"
        )

    def _build(self, step: int) -> None:
        self.step = step
        self._health = Health(self.config, self.train_dir, self.placement.worker)
        try:
            pictures = read_all(self.config, self.split.paths) if self.config.cache else None
        except tf.errors.OpError:
            self._name_unreadable_picture()
            raise
        steps = step, self.total_steps
        arguments = self.config, self.split.paths, self.labels, *steps, self.placement, pictures
        with self._waiting():
            self._stepper = Stepper(*arguments)
        self._opened.callback(self._stepper.close)
        self._others_may_go = self._opened.enter_context(peers.watched(*self._peers))

    def _claim(self) -> None:
        if self.placement.is_chief:
            self._opened.enter_context(claimed(self.train_dir))

    def _waiting(self) -> contextlib.AbstractContextManager:
        """For what waits until all workers are there: a handler would not run, and nothing is lost yet."""
        return contextlib.nullcontext() if self._alone else ended_at_once()

    def _validate(self, validation: Validation) -> None:
        try:
            validation.run(self._prefix(self.step))
        except CheckError as error:
            raise self._to_go_on(error) from None

    def _one_step(self, stop: bool, finish: bool, written: RunLog, progress: Progress) -> Step:
        first = not written.pictured
        try:
            taken = self._stepper.take(stop, finish, with_images=first)
        except tf.errors.ResourceExhaustedError:
            raise CheckError(
                f"step {self.step}: out of memory; lower --batch_ids or the picture size"
            ) from None
        except tf.errors.OpError as error:
            peers.check(*self._peers)
            self._name_unreadable_picture()
            raise CheckError(f"step {self.step}: {error.message.splitlines()[0]}") from None
        batch = [self.split.records[i].path for i in taken.indices]
        self._health.check(self.step, taken.figures, batch)
        epoch = self.step // steps_per_epoch(self.num_classes, self.config.batch_ids)
        self.step += 1
        speed = written.write({"step": self.step, "epoch": epoch, **taken.figures}, taken.pictures)
        if first:
            grid = in_rows(denormalise(taken.images), self.config.batch_images)  # a row a person
            written.write_picture(self.step, "augmented batch", grid)
        shown = {name: f"{taken.figures[name]:.3f}" for name in ("cross_entropy", "triplet")}
        mAPs = [mAP for _, mAP in written.validations]
        best = {"best_mAP": f"{max(mAPs):.3f}"} if mAPs else {}
        progress.advance(1, **shown, **best, images_per_second=f"{speed:.0f}")
        return taken

    def _draw_curves(self) -> None:
        draw_training(runlog.read(self._out), self._out / CURVES)

    def _command(self) -> str:
        return f"python train.py --train_dir {shlex.quote(str(self.train_dir))} --resume"

    @contextlib.contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise self._to_go_on(not_written(error.filename or self._out, error)) from None

    def _to_go_on(self, error: CheckError) -> CheckError:
        return CheckError(f"{error}; go on with: {self._command()}")

    def _name_unreadable_picture(self) -> None:
        read = PictureReader()  # TensorFlow's own error does not say which file it was
        for path in self.split.paths:
            read(path)

    def _due_to_save(self) -> bool:
        """The same for all workers: reading their statistics to save them takes all of them."""
        every = [self.config.save_every, *([self.config.eval_every] if self.config.eval_every else [])]
        return self.step == self.total_steps or any(self.step % steps == 0 for steps in every)

    def _prefix(self, step: int) -> Path:
        return self._out / f"{checkpoints.NAME}-{step}"
