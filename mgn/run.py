"""A whole run: train, score what came out, report."""

import contextlib
import logging
from pathlib import Path

from mgn import evaluation
from mgn.config import TrainConfig
from mgn.data import check_matches, read_split, split_path
from mgn.files import replacing
from mgn.inference import load_embedder
from mgn.runconfig import write_config
from mgn.trainer import Trainer

log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    dataset: Path,
    train_dir: Path,
    resume: bool = False,
    init_checkpoint: str | None = None,
    fresh_classifier: bool = False,
) -> list[tuple[str, evaluation.Scores]]:
    """Train in `train_dir`, then score the last checkpoint, and the untrained network if so configured.

    Args:
        config: hyper-parameters; when resuming, those the run began with.
        dataset: Market-1501 folder.
        train_dir: gets `config.json`, `model.ckpt-*`, `metrics.jsonl`, TensorBoard events and `results.txt`.
        resume: go on from the newest complete checkpoint.
        init_checkpoint: ImageNet or MGN weights to start from, converted.
        fresh_classifier: leave the classifiers of `init_checkpoint` out: its classes are other people.

    Returns:
        ("untrained" and) "trained" scores; none where the data set has no query or gallery folder.

    Raises:
        InputError, CheckError, Stopped: as `Trainer`'s methods, or an unusable data set.
    """
    has_test_set = all(split_path(dataset, split).exists() for split in ("query", "gallery"))
    if has_test_set:  # better refused now than after the training
        check_matches(read_split(dataset, "query"), read_split(dataset, "gallery"))
    trainer = Trainer(config, read_split(dataset, "train"), train_dir)
    log.info(trainer.plan())
    scored = []
    with contextlib.closing(trainer):
        if resume:
            trainer.resume()
        else:
            trainer.start(init_checkpoint, fresh_classifier)
        write_config(train_dir, config, dataset, init_checkpoint)
        if not resume:
            untrained = trainer.save()  # from here on there is something to resume from
            if config.evaluate_untrained and has_test_set:
                scored.append(("untrained", _score(untrained, dataset)))
        last = trainer.run()
    if has_test_set:
        scored.append(("trained", _score(last, dataset)))
        with replacing(Path(train_dir) / "results.txt", overwrite=True) as temporary:
            temporary.write_text(report(scored), encoding="utf-8")
    else:
        log.info(f"{dataset} has no query and gallery: not evaluated")
    return scored


def report(scored: list[tuple[str, evaluation.Scores]]) -> str:
    """A table for each network that was scored, then a line for each."""
    tables = [f"{name} network\n{evaluation.table(scores)}\n\n" for name, scores in scored]
    lines = [f"{name}: {evaluation.summary_line(scores)}\n" for name, scores in scored]
    return "".join([*tables, *lines])


def _score(prefix: Path, dataset: Path) -> evaluation.Scores:
    with contextlib.closing(load_embedder(prefix)) as embed:
        return evaluation.evaluate(embed, dataset)
