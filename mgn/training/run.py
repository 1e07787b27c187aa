"""A whole run: say what it will do, train, score what came out, report."""

import contextlib
import dataclasses
import logging
import math
from pathlib import Path

import tensorflow.compat.v2 as tf

from mgn.config import TrainConfig
from mgn.config.settings import RunSettings, write_config
from mgn.data.reading import check_readable
from mgn.data.records import Split, check_matches, read_split, split_path
from mgn.data.sampling import planned_steps, steps_per_epoch
from mgn.evaluation import scoring
from mgn.inference import load_embedder
from mgn.system.errors import InputError
from mgn.system.files import atomic_write
from mgn.training.distribution import Placement, one_device
from mgn.training.start import has_begun
from mgn.training.trainer import Trainer
from mgn.training.watch import BEST
from mgn.weights import checkpoints

_LOGGED = ("mAP", "mAP_official", "mINP", "rank@1", "rank@5", "rank@10")  # of a validation
log = logging.getLogger(__name__)
Scored = list[tuple[str, scoring.Scores]]  # by name: "untrained", "best, step 500", "trained"


def train(
    settings: RunSettings, train_dir: Path, resume: bool = False, placement: Placement | None = None
) -> Scored:
    """Train, then score the last checkpoint, the best one, and the untrained network if asked.

    Args:
        settings: of the run, its data set among them; when resuming, those that it began with.
        train_dir: gets `config.json`, `model.ckpt-*`, `metrics.jsonl`, `curves.png`, TensorBoard
            events, `results.txt`, and with `eval_every` the folder `best`.
        resume: from the newest complete checkpoint; from the start where there is none yet.
        placement: where to run; None: on one device of this process.

    Returns:
        what was scored, "trained" last; nothing where the data set has no query or gallery, and
        in workers other than the first.

    Raises:
        InputError, CheckError, Stopped: as `Trainer`'s methods, or an unusable data set.
    """
    config = settings.config
    train_dir = Path(train_dir)
    placement = placement or one_device(config.xla)
    settings = settings._replace(replicas=placement.share.total)
    split = _usable_split(settings)  # each worker: none waits for one that refused
    test_set = settings.dataset if _has_test_set(settings) else None
    log.info(describe(config, split, settings.replicas))
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()  # of the whole process: there is no other

    resume = resume and has_begun(train_dir)
    begin = Trainer.resumed if resume else Trainer.fresh
    with contextlib.closing(begin(settings, split, train_dir, placement)) as trainer:
        if placement.is_chief:
            write_config(train_dir, settings)
        scored = []
        if not resume:
            untrained = trainer.save()  # from here on there is something to resume from
            if config.evaluate_untrained and test_set and placement.is_chief:
                scored.append(("untrained", _score(untrained, test_set)))
        last = trainer.run(lambda prefix: _figures(_score(prefix, test_set)))
        if not placement.is_chief:
            return []
        if not test_set:
            log.info(f"{settings.dataset} has no query and gallery: not evaluated")
            return scored
        scored += _final_scores(train_dir, last, test_set)
    with atomic_write(train_dir / "results.txt", overwrite=True) as temporary:
        temporary.write_text(report(scored), encoding="utf-8")
    return scored


def _has_test_set(settings: RunSettings) -> bool:
    return all(split_path(settings.dataset, name).exists() for name in ("query", "gallery"))


def _usable_split(settings: RunSettings) -> Split:
    """The training split; refuses now what would end the run after hours, in the test set too."""
    dataset = settings.dataset
    every = settings.config.eval_every
    split = read_split(dataset, "train")
    paths = split.paths
    if _has_test_set(settings):
        query = read_split(dataset, "query")
        gallery = read_split(dataset, "gallery")
        check_matches(query, gallery)
        paths = [*paths, *query.paths, *gallery.paths]
    elif every:
        raise InputError(f"--eval_every {every}: {dataset} has no query and gallery to score on")
    check_readable(paths)
    return split


def _final_scores(train_dir: Path, last: Path, dataset: Path) -> Scored:
    """Of the best checkpoint, if it is another, and of the last."""
    scored = []
    best = checkpoints.newest(train_dir / BEST)
    if best and best.name != last.name:
        scored.append((f"best, step {checkpoints.step_of(best)}", _score(best, dataset)))
    return [*scored, ("trained", _score(last, dataset))]


def report(scored: Scored) -> str:
    """A table for each network that was scored, then a line for each."""
    tables = [f"{name} network\n{scoring.table(scores)}\n\n" for name, scores in scored]
    lines = [f"{name}: {scoring.summary_line(scores)}\n" for name, scores in scored]
    return "".join([*tables, *lines])


def _score(prefix: Path, dataset: Path) -> scoring.Scores:
    with contextlib.closing(load_embedder(prefix)) as embed:
        return scoring.evaluate(embed, dataset)


def _figures(scores: scoring.Scores) -> dict[str, float]:
    summary = scores.plain.summary()
    return {name: summary[name] for name in _LOGGED}


def describe(config: TrainConfig, split: Split, replicas: int) -> str:
    """Say what is ahead, counted in identities, steps, images and passes over the set."""
    num_classes = len(set(split.persons.tolist()))
    records = len(split.records)
    per_epoch = steps_per_epoch(num_classes, config.batch_ids)
    steps = planned_steps(config, num_classes)
    seen = steps / per_epoch * num_classes * config.batch_images
    spread = f" on {replicas} replicas" if replicas > 1 else ""
    return (
        f"training set: {num_classes} identities, {records} images"
        f" ({split.junk} junk and {split.ignored} other files left out)\n"
        f"recipe {config.recipe}: {steps} steps of {config.batch_ids} identities x"
        f" {config.batch_images} images{spread}; an epoch, every person once, is {per_epoch} steps;"
        f" {seen:,.0f} images in all, {seen / records:.1f} passes over the set;"
        f" {_rates(config, per_epoch)}\n"
        f"{_onset(config, num_classes)}"
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


def _onset(config: TrainConfig, num_classes: int) -> str:
    """When the triplet loss joins, as a line; nothing if there is none, or from the first step."""
    share = config.triplet_start_loss
    if not (config.triplet_weight and (config.triplet_start_step or share)):
        return ""
    line = f"triplet loss: joins after {config.triplet_start_step} steps"
    if share:
        least = share * math.log(num_classes)
        line += f", once the cross-entropy is below {least:.2f} ({share:g} of guessing's)"
    return f"{line}\n"


def _rates(config: TrainConfig, per_epoch: int) -> str:
    warm = f"{config.warmup_steps} steps of warm-up, " if config.warmup_steps else ""
    if config.schedule == "cosine":
        start, end = config.cosine_start * per_epoch, config.epochs * per_epoch
        return f"learning rate: {warm}down a cosine from step {start} to {end}"
    decays = ", ".join(str(milestone * per_epoch) for milestone in config.milestones)
    return f"learning rate: {warm}x{config.gamma:g} after steps {decays}"
