"""The training run: steps, logs, saves, stops and resumes in one folder."""

import contextlib
import logging
import math
import signal
from collections.abc import Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn import checkpoints, evaluation, weights
from mgn.batches import training_dataset
from mgn.config import TrainConfig
from mgn.data import FOLDERS, Split, labels_of, read_split, steps_per_epoch
from mgn.errors import CheckError, InputError, Stopped
from mgn.images import PictureReader
from mgn.inference import load_embedder
from mgn.network import HEADS
from mgn.progress import Progress
from mgn.runlog import RunLog
from mgn.session import new_session
from mgn.training import build_train_graph, planned_steps

log = logging.getLogger(__name__)
_RECORDED = ("cross_entropy", "triplet", "total", "grad_norm", "learning_rate")  # of TrainOps


def train(
    config: TrainConfig,
    dataset: Path,
    train_dir: Path,
    resume: bool = False,
    init_checkpoint: Path | None = None,
    fresh_classifier: bool = False,
) -> list[tuple[str, evaluation.Scores]]:
    """Train in `train_dir`, then score the last checkpoint, and the untrained network if so configured.

    Args:
        config: hyper-parameters; when resuming, those the run began with.
        dataset: Market-1501 folder.
        train_dir: gets `model.ckpt-*`, `metrics.jsonl` and TensorBoard events.
        resume: go on from the newest complete checkpoint.
        init_checkpoint: ImageNet or MGN weights to start from, converted.
        fresh_classifier: leave the classifiers of `init_checkpoint` out: its classes are other people.

    Returns:
        ("untrained" and) "trained" scores; none where the data set has no query or gallery folder.
    """
    trainer = Trainer(config, read_split(dataset, "train"), train_dir)
    log.info(trainer.plan())
    has_test_set = all((Path(dataset) / FOLDERS[split]).is_dir() for split in ("query", "gallery"))
    scored = []
    if resume:
        trainer.resume()
    else:
        trainer.start(init_checkpoint, fresh_classifier)
    if config.evaluate_untrained and has_test_set and trainer.step == 0:
        scored.append(("untrained", _score(trainer.save(), dataset)))
    last = trainer.run()
    trainer.session.close()
    if has_test_set:
        scored.append(("trained", _score(last, dataset)))
    else:
        log.info(f"{dataset} has no {FOLDERS['query']} and {FOLDERS['gallery']}: not evaluated")
    return scored


def _score(prefix: Path, dataset: Path) -> evaluation.Scores:
    with contextlib.closing(load_embedder(prefix)) as embed:
        return evaluation.evaluate(embed, dataset)


class Trainer:
    """One run in one folder: graph, session, checkpoints, logs."""

    def __init__(self, config: TrainConfig, split: Split, train_dir: Path):
        self.config, self.split, self.train_dir = config, split, Path(train_dir)
        self.labels = labels_of(split.persons)
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

    def start(self, init_checkpoint: Path | None = None, fresh_classifier: bool = False) -> None:
        """Build the graph and set the weights: fresh ones, or those of a checkpoint where it has them."""
        found = checkpoints.find(init_checkpoint) if init_checkpoint else None
        if found:
            self._check_start(found, fresh_classifier)
        self._build(0)
        self.session.run([v.initializer for v in self._variables])
        if found:
            variables = [
                v for v in self._model_variables if not self._starts_fresh(v, found, fresh_classifier)
            ]
            checkpoints.restore(self.session, found, variables)
            log.info(f"{len(variables)} of {len(self._model_variables)} variables start from {found.prefix}")

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
            _stop_request() as stop,
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
                if stop.signal_number and self.step < total:
                    raise Stopped(
                        f"stopped at step {self.step} after saving; go on with:"
                        f" python train.py --train_dir {self.train_dir} --resume",
                        stop.signal_number,
                    )
        return self._prefix(self.step)

    def save(self) -> Path:
        """Write the checkpoint of this step, make it the folder's latest, delete those too old to keep."""
        prefix = self._prefix(self.step)
        description = checkpoints.describe(self.config.network_options(self.num_classes))
        checkpoints.save(
            self.session, self._saver, prefix, {**description, "step": self.step}, overwrite=True
        )
        kept = sorted(checkpoints.step_of(p) for p in self.train_dir.glob(f"{checkpoints.NAME}-*.index"))
        for step in kept[: -self.config.keep_checkpoints]:
            checkpoints.delete(self._prefix(step))
        names = [self._prefix(step).name for step in kept[-self.config.keep_checkpoints :]]
        tf.train.update_checkpoint_state(str(self.train_dir), prefix.name, names)
        return prefix

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
        except tf.errors.InvalidArgumentError as error:
            self._name_unreadable_picture()
            raise CheckError(f"step {self.step}: {error.message.splitlines()[0]}") from None
        for name in ("cross_entropy", "triplet", "grad_norm"):
            if not math.isfinite(values[name]):
                raise CheckError(
                    f"step {self.step}: {name} is {values[name]}; lower --learning_rate;"
                    f" the newest checkpoint in {self.train_dir} is from before"
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

    def _check_start(self, found: checkpoints.Checkpoint, fresh_classifier: bool) -> None:
        if found.kind != "mgn":
            return
        for name in ("pool", "reduction"):
            theirs, ours = getattr(found.options, name), getattr(self.config, name)
            if theirs != ours:
                raise InputError(
                    f"--init_checkpoint {found.prefix} was made with {name} {theirs}: add --{name} {theirs}"
                )
        if found.options.num_classes != self.num_classes and not fresh_classifier:
            raise InputError(
                f"--init_checkpoint {found.prefix} has {found.options.num_classes} classes, this data set"
                f" {self.num_classes}: add --fresh_classifier to start the classifiers anew"
            )

    @staticmethod
    def _starts_fresh(variable: tf.Variable, found: checkpoints.Checkpoint, fresh_classifier: bool) -> bool:
        scope = variable.op.name.split("/")[0]
        fresh = {h.classifier for h in HEADS} if fresh_classifier or found.kind != "mgn" else set()
        return scope in fresh or (found.kind != "mgn" and scope in {h.reduction for h in HEADS})


class _StopRequest:
    """Set by the first signal; a second Ctrl-C interrupts at once."""

    signal_number: int | None = None

    def __call__(self, number: int, _frame: object) -> None:
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number = number
        log.info("finishing this step and saving; Ctrl-C again stops at once")


@contextlib.contextmanager
def _stop_request() -> Iterator[_StopRequest]:
    """Turn SIGINT and SIGTERM into a request that the loop looks at after each step."""
    request = _StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
