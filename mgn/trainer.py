"""Training in one folder: steps, logs, saves, stops and resumes."""

import logging
import math
import shlex
import shutil
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn import checkpoints, weights
from mgn.batches import training_dataset
from mgn.config import TrainConfig
from mgn.data import Split, labels_of, steps_per_epoch
from mgn.errors import CheckError, InputError, Stopped
from mgn.images import PictureReader
from mgn.progress import Progress
from mgn.runlog import RunLog
from mgn.session import new_session
from mgn.stopping import stop_request
from mgn.training import build_train_graph, planned_steps
from mgn.warmstart import find_start, variables_taken

log = logging.getLogger(__name__)
_RECORDED = ("cross_entropy", "triplet", "total", "grad_norm", "learning_rate")  # of TrainOps


class Trainer:
    """One run in one folder: graph, session, checkpoints, logs."""

    def __init__(self, config: TrainConfig, split: Split, train_dir: Path):
        self.config, self.split, self.train_dir = config, split, Path(train_dir)
        self.session: tf.Session | None = None
        self.labels, self.training_set = labels_of(split.persons), split.fingerprint()
        self.num_classes = int(self.labels.max()) + 1
        if self.num_classes < 2:
            raise InputError("the training split has one person only: a triplet needs a negative")
        self.total_steps = planned_steps(config, self.num_classes)

    def plan(self) -> str:
        """What the run will do, counted in people, steps and pictures."""
        config, records = self.config, len(self.split.records)
        per_epoch = steps_per_epoch(self.num_classes, config.batch_ids)
        decays = ", ".join(str(milestone * per_epoch) for milestone in config.milestones)
        seen = self.total_steps / per_epoch * self.num_classes * config.batch_images
        return (
            f"training set: {self.num_classes} people, {records} pictures"
            f" ({self.split.junk} junk and {self.split.ignored} other files left out)\n"
            f"recipe {config.recipe}: {self.total_steps} steps of {config.batch_ids} people x"
            f" {config.batch_images} pictures; an epoch, every person once, is {per_epoch} steps;"
            f" {seen:,.0f} pictures in all, {seen / records:.1f} passes over the set;"
            f" learning rate x{config.gamma:g} after steps {decays}"
        )

    def start(self, init_checkpoint: str | None = None, fresh_classifier: bool = False) -> None:
        """Build the graph and set the weights: fresh ones, or those of a checkpoint where it has them.

        Raises:
            InputError: the folder holds something, or the checkpoint does not fit.
        """
        if self.train_dir.exists() and any(self.train_dir.iterdir()):
            raise InputError(f"{self.train_dir} is not empty: resume the run in it, or name another folder")
        checkpoints.refuse_existing_checkpoint(self._prefix(0), overwrite=False)
        found = None
        if init_checkpoint:
            found = find_start(init_checkpoint, self.config, self.num_classes, fresh_classifier)
        self._build(0)
        self.session.run([v.initializer for v in self._variables])
        if found:
            taken = variables_taken(self._model_variables, found.kind, fresh_classifier)
            checkpoints.restore(self.session, found, taken)
            log.info(f"{len(taken)} of {len(self._model_variables)} variables start from {found.prefix}")

    def resume(self) -> None:
        """Build the graph and restore the newest complete checkpoint of the folder."""
        newest = checkpoints.newest(self.train_dir)
        if newest is None:
            raise InputError(f"--resume: {self.train_dir} has no complete checkpoint")
        found = checkpoints.find(newest)
        if found.options != self.config.network_options(self.num_classes):
            raise InputError(
                f"--resume: {newest} was trained with {found.options.num_classes} classes, this data set has"
                f" {self.num_classes}; resume with the data set and the options that the run began with"
            )
        if found.training_set not in (None, self.training_set):
            raise InputError(
                f"--resume: {newest} was trained with other pictures than this data set's"
                f" {len(self.split.records)}; resume with the data set that the run began with"
            )
        for leftover in self.train_dir.glob(f".{checkpoints.NAME}-*"):  # of saves that were killed
            shutil.rmtree(leftover, ignore_errors=True)
        self._build(checkpoints.step_of(newest))
        checkpoints.restore(self.session, found, self._variables)
        log.info(f"resuming from {newest}")

    def run(self) -> Path:
        """Step to the end of the plan, saving as it goes; returns the last checkpoint's prefix.

        Raises:
            CheckError: a loss is not finite; nothing is saved over.
            InputError: an unreadable picture, named.
            Stopped: Ctrl-C or SIGTERM, after saving.
        """
        total = self.total_steps
        with (
            stop_request() as stop,
            RunLog(self.train_dir, self.step) as runlog,
            Progress(total, "training", "steps", self.step) as progress,
        ):
            while self.step < total:
                figures, pictures = self._one_step()
                speed = runlog.write(figures, pictures)
                shown = {name: f"{figures[name]:.3f}" for name in ("cross_entropy", "triplet")}
                progress.advance(1, **shown, images_per_second=f"{speed:.0f}")
                if self._due_to_save() or stop.signal_number:
                    runlog.flush()
                    self.save()
                if stop.signal_number:
                    raise Stopped(
                        f"stopped at step {self.step} after saving; go on with:"
                        f" python train.py --train_dir {shlex.quote(str(self.train_dir))} --resume",
                        stop.signal_number,
                    )
        return self._prefix(self.step)

    def save(self) -> Path:
        """Write the checkpoint of this step, make it the folder's latest, delete those too old to keep."""
        prefix = self._prefix(self.step)
        description = checkpoints.describe(self.config.network_options(self.num_classes))
        description |= {"recipe": self.config.recipe, "step": self.step}
        description |= {"training_set": self.training_set}
        checkpoints.save(self.session, self._saver, prefix, description, overwrite=True)
        older = [step for step in checkpoints.steps_in(self.train_dir) if step < self.step]
        keep = self.config.keep_checkpoints - 1
        for step in older[: len(older) - keep]:
            checkpoints.delete(self._prefix(step))
        names = [self._prefix(step).name for step in [*older[max(len(older) - keep, 0) :], self.step]]
        # An absolute folder, or TensorFlow rewrites the names relative to something else.
        tf.train.update_checkpoint_state(str(self.train_dir.resolve()), prefix.name, names)
        return prefix

    def close(self) -> None:
        """Free the session, if one was made."""
        if self.session is not None:
            self.session.close()

    def _build(self, step: int) -> None:
        self.step = step
        with tf.Graph().as_default() as graph:
            tf.set_random_seed(self.config.seed)
            dataset = training_dataset(self.config, self.split.paths, self.labels, step, self.total_steps)
            batch = tf.data.make_initializable_iterator(dataset)
            images, labels, self._indices = batch.get_next()
            self._ops = build_train_graph(self.config, images, labels, self.num_classes)
            self._variables, self._model_variables = tf.global_variables(), weights.model_variables()
            self._saver = checkpoints.new_saver(self._variables)
        self.session = new_session(graph)
        self.session.run(batch.initializer)

    def _one_step(self) -> tuple[dict, int]:
        wanted = {name: getattr(self._ops, name) for name in _RECORDED}
        try:
            values, indices, _ = self.session.run([wanted, self._indices, self._ops.train_op])
        except tf.errors.ResourceExhaustedError:
            raise CheckError(
                f"step {self.step}: out of memory; lower --batch_ids or the picture size"
            ) from None
        except tf.errors.OpError as error:
            self._name_unreadable_picture()
            raise CheckError(f"step {self.step}: {error.message.splitlines()[0]}") from None
        for name in ("cross_entropy", "triplet", "grad_norm"):
            if not math.isfinite(values[name]):
                raise CheckError(
                    f"step {self.step}: {name} is {values[name]}; start again with a lower --learning_rate,"
                    f" if need be from {checkpoints.newest(self.train_dir)}, which is from before"
                )
        epoch = self.step // steps_per_epoch(self.num_classes, self.config.batch_ids)
        self.step += 1
        figures = {name: float(value) for name, value in values.items()}
        return {"step": self.step, "epoch": epoch, **figures}, len(indices)

    def _name_unreadable_picture(self) -> None:
        read = PictureReader()  # TensorFlow's own error does not say which file it was
        for path in self.split.paths:
            read(path)

    def _due_to_save(self) -> bool:
        return self.step % self.config.save_every == 0 or self.step == self.total_steps

    def _prefix(self, step: int) -> Path:
        return self.train_dir / f"{checkpoints.NAME}-{step}"
