"""What a run begins with: a recipe, flags, and `config.json` in its folder."""

import dataclasses
import sys
from pathlib import Path
from typing import NamedTuple

from mgn.config.options import TrainConfig
from mgn.config.recipes import RECIPES
from mgn.system.errors import InputError
from mgn.system.files import is_unused, next_free, read_json, write_json

CONFIG = "config.json"  # in a train_dir


class RunSettings(NamedTuple):
    """With what a run began."""

    config: TrainConfig
    dataset: Path | None  # None: the demo set, to be drawn yet
    init_checkpoint: str | None = None
    fresh_classifier: bool = False  # of `init_checkpoint`: left out
    replicas: int | None = None  # in all: others add in another order, on other batch statistics


def write_config(train_dir: Path, began: RunSettings) -> None:
    """Record what the run needs to go on, and others to repeat it; paths become absolute."""
    start = began.init_checkpoint and str(Path(began.init_checkpoint).resolve())
    values = {"dataset": str(Path(began.dataset).resolve()), "init_checkpoint": start}
    values |= {"fresh_classifier": began.fresh_classifier, "replicas": began.replicas}
    values |= dataclasses.asdict(began.config)
    write_json(Path(train_dir) / CONFIG, values, overwrite=True)


def read_config(path: Path) -> RunSettings:
    """What `write_config` wrote.

    Raises:
        InputError: no such file, or not one of ours.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: is not there, or no file, so there is no run to go on with or to repeat"
        )
    values = read_json(path)
    dataset, start = values.pop("dataset", None), values.pop("init_checkpoint", None)
    fresh, replicas = bool(values.pop("fresh_classifier", False)), values.pop("replicas", None)
    if not isinstance(dataset, str):
        raise InputError(f"{path}: does not say which data set the run is trained on")
    try:
        return RunSettings(TrainConfig.from_dict(values), Path(dataset), start, fresh, replicas)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


# When resuming: how long, what is kept, and how it is looked at; not what a step does.
FREE_TO_CHANGE = (
    "max_steps",
    "epochs",
    "eval_every",
    "early_stop",
    "save_every",
    "keep_checkpoints",
    "cache",
)


# What has an effect only with another option: flag, what it goes with, whether that is so.
WITHOUT_EFFECT = (
    ("gamma", "--schedule step", lambda c: c.schedule == "step"),
    ("milestones", "--schedule step", lambda c: c.schedule == "step"),
    ("cosine_start", "--schedule cosine", lambda c: c.schedule == "cosine"),
    ("final_learning_rate", "--schedule cosine", lambda c: c.schedule == "cosine"),
    ("momentum", "--optimizer sgd", lambda c: c.optimizer == "sgd"),
    ("nesterov", "--optimizer sgd", lambda c: c.optimizer == "sgd"),
    ("warmup_factor", "--warmup_steps", lambda c: c.warmup_steps > 0),
    ("margin", "--triplet_weight", lambda c: c.triplet_weight > 0),
    ("triplet_start_step", "--triplet_weight", lambda c: c.triplet_weight > 0),
)


def new_run(flags: dict) -> tuple[RunSettings, Path]:
    """What a fresh run begins with, and its folder."""
    if flags["config"]:
        if "recipe" in flags:
            raise InputError("--recipe: not with --config, which has all options")
        began = read_config(flags["config"])
    else:
        name = flags.get("recipe") or ("seathiefwang" if flags["dataset"] else "demo")
        began = RunSettings(RECIPES[name], None)
    given = {n: flags[n] for n in ("dataset", "init_checkpoint", "fresh_classifier") if flags[n]}
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    config = dataclasses.replace(began.config, **{k: v for k, v in flags.items() if k in fields})
    began = began._replace(config=config, **given)
    for name, other, has_effect in WITHOUT_EFFECT:
        if name in flags and not has_effect(config):
            sys.stderr.write(f"note: --{name} has an effect with {other} only\n")
    if began.fresh_classifier and not began.init_checkpoint:
        raise InputError("--fresh_classifier: goes with --init_checkpoint")
    train_dir = flags["train_dir"] or next_free(Path("runs"), config.recipe)
    if not is_unused(train_dir):
        raise InputError(
            f"--train_dir {train_dir} is not empty: add --resume to go on, or name another folder"
        )
    return began, train_dir


def resumed_run(flags: dict) -> tuple[RunSettings, Path]:
    """The same of the run in --train_dir; only its length, and where its data set lies, may differ."""
    if flags["train_dir"] is None:
        raise InputError("--resume: name the run with --train_dir")
    for name in ("init_checkpoint", "fresh_classifier", "config"):
        if flags[name]:
            raise InputError(
                f"--{name}: a run that is resumed has its weights and options; leave it out"
            )
    began = read_config(flags["train_dir"] / CONFIG)
    config = began.config
    changed = {n: flags[n] for n in vars(config) if n in flags and flags[n] != getattr(config, n)}
    # A cosine ends with the epochs: more of them are another schedule.
    free = set(FREE_TO_CHANGE) - ({"epochs"} if config.schedule == "cosine" else set())
    if conflicts := [n for n in changed if n not in free]:
        said = "; ".join(
            f"--{n} {changed[n]}: the run began with {getattr(config, n)}" for n in conflicts
        )
        raise InputError(f"{said}; leave {' and '.join(f'--{n}' for n in conflicts)} out")
    config, dataset = dataclasses.replace(config, **changed), flags["dataset"] or began.dataset
    return began._replace(config=config, dataset=dataset), flags["train_dir"]
