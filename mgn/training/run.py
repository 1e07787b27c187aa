"""A whole run: say what it will do, train, score what came out, report."""

import contextlib
import dataclasses
import logging
import math
import statistics
from pathlib import Path

import tensorflow.compat.v2 as tf

from mgn.config import TrainConfig
from mgn.config.settings import RunSettings, write_config
from mgn.data.sampling import planned_steps, steps_per_epoch
from mgn.evaluation import scoring
from mgn.inference import load_embedder
from mgn.system.files import atomic_write
from mgn.training import datasets, phases
from mgn.training.datasets import RunData
from mgn.training.distribution import Placement, one_device
from mgn.training.start import has_begun
from mgn.training.trainer import Trainer
from mgn.training.watch import BEST, Score
from mgn.weights import checkpoints

_LOGGED = ("mAP", "mAP_official", "mINP", "rank@1", "rank@5", "rank@10")  # of a validation
_LOGGED_OF_EACH = ("mAP", "rank@1")  # data set, where there are several
_OF = ", on "
log = logging.getLogger(__name__)
Scored = list[tuple[str, scoring.Scores]]  # by name: "untrained", "best, step 500", "trained"


def train(
    settings: RunSettings, train_dir: Path, resume: bool = False, placement: Placement | None = None
) -> Scored:
    """Train, then score the last checkpoint, the best one, and the untrained network if asked.

    Args:
        settings: of the run, its data sets among them; when resuming, those that it began with.
        train_dir: gets `config.json`, `model.ckpt-*`, `metrics.jsonl`, `curves.png`, TensorBoard
            events, `results.txt`, and with `eval_every` the folder `best`.
        resume: from the newest complete checkpoint; from the start where there is none yet.
        placement: where to run; None: on one device of this process.

    Returns:
        what was scored, "trained" last; nothing where no data set has query and gallery, and in
        workers other than the first.

    Raises:
        InputError, CheckError, Stopped: as `Trainer`'s methods, or an unusable data set.
    """
    config = settings.config
    train_dir = Path(train_dir)
    placement = placement or one_device(config.xla)
    settings = settings._replace(replicas=placement.share.total)
    data = datasets.read(settings)  # each worker: none waits for one that refused
    log.info(describe(config, data, settings.replicas))
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()  # of the whole process: there is no other

    resume = resume and has_begun(train_dir)
    begin = Trainer.resumed if resume else Trainer.fresh
    with contextlib.ExitStack() as opened:
        trainer = begin(settings, data.training, train_dir, placement)
        opened.callback(trainer.close)
        if placement.is_chief:
            write_config(train_dir, settings)
        scored = []
        if not resume:
            untrained = trainer.save()  # from here on there is something to resume from
            if config.evaluate_untrained and placement.is_chief:
                scored += _score("untrained", untrained, data)
        last = trainer.run(_validation(data))
        if trainer.step == config.freeze_steps < trainer.total_steps:
            opened.close()  # what was frozen thaws: another graph
            trainer = Trainer.resumed(settings, data.training, train_dir, placement)
            opened.callback(trainer.close)
            last = trainer.run(_validation(data))
        if not placement.is_chief:
            return []
        for dataset in data.without_test_set:
            log.info(f"{dataset} has no query and gallery: not evaluated")
        scored += _final_scores(train_dir, last, data)
    if not scored:
        return []
    with atomic_write(train_dir / "results.txt", overwrite=True) as temporary:
        temporary.write_text(report(scored), encoding="utf-8", errors="backslashreplace")
    return scored


def report(scored: Scored) -> str:
    """A table for each network that was scored, then a line for each."""
    tables, lines = [], []
    for name, scores in scored:
        which, of, dataset = name.partition(_OF)
        tables.append(f"{which} network{of}{dataset}\n{scoring.table(scores)}\n\n")
        lines.append(f"{name}: {scoring.summary_line(scores)}\n")
    return "".join([*tables, *lines])


def _score(name: str, prefix: Path, data: RunData) -> Scored:
    """Score a checkpoint on each data set that can be."""
    scored = []
    if data.test_sets:
        with contextlib.closing(load_embedder(prefix)) as embed:
            for dataset, path in data.test_sets.items():
                told = f"{name}{_OF}{dataset}" if len(data.sources) > 1 else name
                scored.append((told, scoring.evaluate(embed, path)))
    return scored


def _final_scores(train_dir: Path, last: Path, data: RunData) -> Scored:
    """Of the best checkpoint, if it is another, and of the last."""
    scored = []
    best = checkpoints.newest(train_dir / BEST)
    if best and best.name != last.name:
        scored += _score(f"best, step {checkpoints.step_of(best)}", best, data)
    return [*scored, *_score("trained", last, data)]


def _validation(data: RunData) -> Score | None:
    """What scores a checkpoint on the way: figures, of several data sets their means too."""

    def figures(prefix: Path) -> dict[str, float]:
        scored = _score("", prefix, data)
        summaries = [scores.plain.summary() for _, scores in scored]
        logged = {}
        for name in _LOGGED:
            logged[name] = statistics.fmean([summary[name] for summary in summaries])
        if len(scored) > 1:
            for dataset, summary in zip(data.test_sets, summaries, strict=True):
                logged |= {f"{name} {dataset}": summary[name] for name in _LOGGED_OF_EACH}
        return logged

    return figures if data.test_sets else None


def describe(config: TrainConfig, data: RunData, replicas: int) -> str:
    """Say what is ahead, counted in identities, steps, images and passes over the set."""
    num_classes = len(set(data.training.persons.tolist()))
    per_epoch = steps_per_epoch(num_classes, config.batch_ids)
    steps = planned_steps(config, num_classes)
    seen = steps / per_epoch * num_classes * config.batch_images
    passes = seen / len(data.training.records)
    spread = f" on {replicas} replicas" if replicas > 1 else ""
    return (
        f"{data.describe()}"
        f"recipe {config.recipe}: {steps} steps of {config.batch_ids} identities x"
        f" {config.batch_images} images{spread}; an epoch, every person once, is {per_epoch} steps;"
        f" {seen:,.0f} images in all, {passes:.1f} passes over the set;"
        f" {_rates(config, per_epoch)}\n"
        f"{_blocks(config, num_classes)}"
        f"{_onset(config, num_classes)}"
        f"{phases.describe(config)}"
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


def _blocks(config: TrainConfig, num_classes: int) -> str:
    """How residual blocks start, as a line; nothing where that does not depend on the data."""
    fewest = config.zero_init_identities
    if not (config.zero_init_residual and fewest):
        return ""
    how = "start" if num_classes >= fewest else "do not start"
    return f"residual blocks: {how} as the identity ({num_classes} identities; from {fewest} on)\n"


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
