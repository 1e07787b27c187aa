"""A whole run: say what it will do, train, score what came out, report."""

import contextlib
import dataclasses
import logging
from pathlib import Path

import tensorflow.compat.v2 as tf

from mgn.config import TrainConfig
from mgn.config.settings import RunSettings, write_config
from mgn.data.reading import check_readable
from mgn.data.records import Split, check_matches, read_split, split_path
from mgn.data.sampling import steps_per_epoch
from mgn.evaluation import scoring
from mgn.inference import load_embedder
from mgn.system.errors import InputError
from mgn.system.files import atomic_write
from mgn.training.distribution import Placement
from mgn.training.start import has_begun
from mgn.training.trainer import Trainer
from mgn.training.watch import BEST
from mgn.weights import checkpoints

log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    dataset: Path,
    train_dir: Path,
    resume: bool = False,
    init_checkpoint: str | None = None,
    fresh_classifier: bool = False,
    placement: Placement | None = None,
) -> list[tuple[str, scoring.Scores]]:
    """Train in `train_dir`, then score the last checkpoint, the best one, and the untrained network if asked.

    Args:
        config: hyper-parameters; when resuming, those the run began with.
        dataset: Market-1501 folder.
        train_dir: gets `config.json`, `model.ckpt-*`, `metrics.jsonl`, `curves.png`, TensorBoard
            events, `results.txt`, and with `eval_every` the folder `best`.
        resume: go on from the newest complete checkpoint; from the start where there is none yet.
        init_checkpoint: ImageNet or MGN weights to start from, converted; when resuming, what it
            began with.
        fresh_classifier: leave the classifiers of `init_checkpoint` out: its classes are other
            identities.
        placement: where to run; None: on one device of this process.

    Returns:
        what was scored, by name, "trained" last; nothing where the data set has no query or gallery
        folder, and in workers other than the first.

    Raises:
        InputError, CheckError, Stopped: as `Trainer`'s methods, or an unusable data set.
    """
    has_test_set = all(split_path(dataset, split).exists() for split in ("query", "gallery"))
    if config.eval_every and not has_test_set:
        raise InputError(
            f"--eval_every {config.eval_every}: {dataset} has no query and gallery to score on"
        )
    training_split = read_split(dataset, "train")
    _check(dataset, training_split, has_test_set)  # each worker: none waits for one that refused
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()  # of the whole process: there is no other
    trainer = Trainer(config, training_split, train_dir, placement)
    chief, goes_on = trainer.placement.is_chief, resume and has_begun(Path(train_dir))
    log.info(
        describe(
            config,
            training_split,
            trainer.num_classes,
            trainer.total_steps,
            trainer.placement.share.total,
        )
    )
    scored = []
    with contextlib.closing(trainer):
        if goes_on:
            trainer.resume()
        else:
            trainer.start(init_checkpoint, fresh_classifier)
        if chief:
            replicas = trainer.placement.share.total
            write_config(
                train_dir, RunSettings(config, dataset, init_checkpoint, fresh_classifier, replicas)
            )
        if not goes_on:
            untrained = trainer.save()  # from here on there is something to resume from
            if config.evaluate_untrained and has_test_set and chief:
                scored.append(("untrained", _score(untrained, dataset)))
        last = trainer.run(lambda prefix: _figures(_score(prefix, dataset)))
        return _finish(scored, last, dataset, Path(train_dir), has_test_set) if chief else []


def _check(dataset: Path, training_split: Split, has_test_set: bool) -> None:
    """Refuse now what would end the run after hours: an image that cannot be read, a query without match."""
    paths = list(training_split.paths)
    if has_test_set:
        query, gallery = read_split(dataset, "query"), read_split(dataset, "gallery")
        check_matches(query, gallery)
        paths += [*query.paths, *gallery.paths]
    check_readable(paths)


def _finish(
    scored: list[tuple[str, scoring.Scores]],
    last: Path,
    dataset: Path,
    train_dir: Path,
    has_test_set: bool,
) -> list[tuple[str, scoring.Scores]]:
    if not has_test_set:
        log.info(f"{dataset} has no query and gallery: not evaluated")
        return scored
    best = checkpoints.newest(train_dir / BEST)
    if best and best.name != last.name:
        scored.append((f"best, step {checkpoints.step_of(best)}", _score(best, dataset)))
    scored.append(("trained", _score(last, dataset)))
    with atomic_write(train_dir / "results.txt", overwrite=True) as temporary:
        temporary.write_text(report(scored), encoding="utf-8")
    return scored


def report(scored: list[tuple[str, scoring.Scores]]) -> str:
    """A table for each network that was scored, then a line for each."""
    tables = [f"{name} network\n{scoring.table(scores)}\n\n" for name, scores in scored]
    lines = [f"{name}: {scoring.summary_line(scores)}\n" for name, scores in scored]
    return "".join([*tables, *lines])


def _score(prefix: Path, dataset: Path) -> scoring.Scores:
    with contextlib.closing(load_embedder(prefix)) as embed:
        return scoring.evaluate(embed, dataset)


def _figures(scores: scoring.Scores) -> dict[str, float]:
    summary = scores.plain.summary()
    return {
        name: summary[name]
        for name in ("mAP", "mAP_official", "mINP", "rank@1", "rank@5", "rank@10")
    }


def describe(
    config: TrainConfig, split: Split, num_classes: int, total_steps: int, replicas: int
) -> str:
    """Say what is ahead, counted in identities, steps, images and passes over the set."""
    per_epoch, records = steps_per_epoch(num_classes, config.batch_ids), len(split.records)
    seen = total_steps / per_epoch * num_classes * config.batch_images
    spread = f" on {replicas} replicas" if replicas > 1 else ""
    return (
        f"training set: {num_classes} identities, {records} images"
        f" ({split.junk} junk and {split.ignored} other files left out)\n"
        f"recipe {config.recipe}: {total_steps} steps of {config.batch_ids} identities x"
        f" {config.batch_images} images{spread}; an epoch, every person once, is {per_epoch} steps;"
        f" {seen:,.0f} images in all, {seen / records:.1f} passes over the set;"
        f" {_rates(config, per_epoch)}\n"
        f"options: {options(config)}"
    )


def options(config: TrainConfig) -> str:
    """Every option of a configuration, as the flags that set it."""
    values = dataclasses.asdict(config)
    if config.max_steps is None:  # has no word for it
        del values["max_steps"]
    return " ".join(f"--{name} {_flag(value)}" for name, value in values.items())


def _flag(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _rates(config: TrainConfig, per_epoch: int) -> str:
    warm = f"{config.warmup_steps} steps of warm-up, " if config.warmup_steps else ""
    if config.schedule == "cosine":
        start, end = config.cosine_start * per_epoch, config.epochs * per_epoch
        return f"learning rate: {warm}down a cosine from step {start} to {end}"
    decays = ", ".join(str(milestone * per_epoch) for milestone in config.milestones)
    return f"learning rate: {warm}x{config.gamma:g} after steps {decays}"
