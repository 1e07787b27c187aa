"""What a run begins with: a recipe, flags, and `config.json` in its folder."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mgn.config.dataset import DataSet, data_set, data_sets, from_json, moved, of_folder, to_json
from mgn.config.options import TrainConfig
from mgn.config.recipes import RECIPES
from mgn.config.variants import with_variant
from mgn.system.errors import InputError
from mgn.system.files import (
    check_can_be_made,
    check_is_text,
    is_unused,
    next_free,
    read_json,
    write_json,
)

CONFIG = "config.json"  # in a train_dir
BEST = "best"  # folder in a train_dir, with the checkpoint of the best score
DEMO_SET = Path("runs") / "demo_set"
# When resuming: how long, what is kept, and how it is looked at; not what a step does.
_FREE_TO_CHANGE = (
    *("max_steps", "epochs", "eval_every", "early_stop"),
    *("save_every", "keep_checkpoints", "cache"),
)
# What has an effect only with another option: flag, what it goes with, whether that is so.
_WITHOUT_EFFECT = (
    ("gamma", "--schedule step", lambda c: c.schedule == "step"),
    ("milestones", "--schedule step", lambda c: c.schedule == "step"),
    ("cosine_start", "--schedule cosine", lambda c: c.schedule == "cosine"),
    ("final_learning_rate", "--schedule cosine", lambda c: c.schedule == "cosine"),
    ("momentum", "--optimizer sgd", lambda c: c.optimizer == "sgd"),
    ("nesterov", "--optimizer sgd", lambda c: c.optimizer == "sgd"),
    ("zero_init_identities", "--zero_init_residual", lambda c: c.zero_init_residual),
    ("warmup_factor", "--warmup_steps", lambda c: c.warmup_steps > 0),
    ("freeze_layers", "--freeze_steps", lambda c: c.freeze_steps > 0),
    ("circle_scale", "--classifier cosine", lambda c: c.classifier == "cosine"),
    ("circle_margin", "--classifier cosine", lambda c: c.classifier == "cosine"),
    ("part_triplets", "--triplet_weight", lambda c: c.triplet_weight > 0),
    ("margin", "--triplet_weight", lambda c: c.triplet_weight > 0),
    ("triplet_start_step", "--triplet_weight", lambda c: c.triplet_weight > 0),
    ("triplet_start_loss", "--triplet_weight", lambda c: c.triplet_weight > 0),
)


class RunSettings(NamedTuple):
    """What a run is begun with, and what it needs to be resumed or repeated."""

    config: TrainConfig
    datasets: tuple[DataSet, ...]  # trained on as one; none: the demo set, to be drawn yet
    init_checkpoint: str | None = None
    fresh_classifier: bool = False  # of `init_checkpoint`: left out
    replicas: int | None = None  # in all: others add in another order, on other batch statistics


def write_config(train_dir: Path, settings: RunSettings) -> None:
    """Record the settings of a run in its folder; paths become absolute."""
    start = settings.init_checkpoint
    values = {
        **to_json(settings.datasets),
        "init_checkpoint": start and str(Path(start).resolve()),
        "fresh_classifier": settings.fresh_classifier,
        "replicas": settings.replicas,
        **dataclasses.asdict(settings.config),
    }
    write_json(Path(train_dir) / CONFIG, values, overwrite=True)


def read_config(path: Path) -> RunSettings:
    """What `write_config` wrote.

    Raises:
        InputError: no such file, or not one of ours.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file: there is no run to resume or repeat; check the name"
        )
    values = read_json(path)
    start = values.pop("init_checkpoint", None)
    fresh = bool(values.pop("fresh_classifier", False))
    replicas = values.pop("replicas", None)
    try:
        datasets = from_json(values)
        return RunSettings(TrainConfig.from_dict(values), datasets, start, fresh, replicas)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def dataset_to_score(model: str | None, folder: Path | None, flags: Mapping) -> DataSet | None:
    """The data set to score a run's model on: `folder`, or its own; says on stderr how it is read.

    Its own is read as in the run, so that nobody trained on is scored, unless flags say otherwise.

    Args:
        model: a train_dir, its folder of the best checkpoint, or a checkpoint in one of these.
        folder: of `--dataset`, if it is given.
        flags: those of `add_dataset_options`.

    Returns:
        None where none is named and the model is of no run, or of one on a demo set that can be
        drawn again.

    Raises:
        InputError: the run has several data sets, or its data set is gone; see also `data_sets`.
    """
    of_run = datasets_of_run(model)
    if dataset := data_set(folder, flags, of_run):
        if own := of_folder(dataset.folder, of_run):
            how = "the run's own, read in the same way"
            if (dataset.split or 0) != (own.split or 0):
                how = f"split {dataset.split or 0}; the run used split {own.split or 0}:"
                how += " identities of its training may be scored"
            sys.stderr.write(f"data set: {dataset}, {how}\n")
        return dataset
    if not of_run:
        return None
    if len(of_run) > 1:
        named = " or ".join(f"--dataset {dataset}" for dataset in of_run)
        raise InputError(f"--model {model}: its run has several data sets; choose one: {named}")
    (dataset,) = of_run
    if dataset.folder.exists():
        sys.stderr.write(f"data set: {dataset}, the run's own; --dataset names another\n")
        return dataset
    if dataset.folder == DEMO_SET.resolve():
        return None
    problem = f"its run's data set {dataset} no longer exists"
    raise InputError(f"--model {model}: {problem}; name the data set with --dataset")


def datasets_of_run(model: str | None) -> tuple[DataSet, ...]:
    """Those that `config.json` beside a model names; () where the model is of no run of ours."""
    if model is None or Path(model).suffix == ".pb":
        return ()
    folder = Path(model) if Path(model).is_dir() else Path(model).parent
    config = (folder.parent if folder.name == BEST else folder) / CONFIG
    try:
        values = read_json(config)
    except InputError:
        return ()
    if "dataset" not in values:  # another program's
        return ()
    try:
        return from_json(values)
    except InputError as error:
        raise InputError(f"{config}: {error}") from None


def new_run(flags: dict) -> tuple[RunSettings, Path]:
    """The settings of a new run, and its folder.

    Args:
        flags: those of `train.py`; an option of `TrainConfig` that was not given is absent.

    Raises:
        InputError: flags that do not go together, or a folder that is not empty.
    """
    # Options: those of a recipe or of another run, changed by flags.
    if flags["config"]:
        if "recipe" in flags:
            raise InputError("--recipe: not with --config, which has all options; leave one out")
        settings = read_config(flags["config"])
    else:
        name = flags.get("recipe") or ("seathiefwang" if flags["dataset"] else "demo")
        settings = RunSettings(RECIPES[name], ())
    config = dataclasses.replace(settings.config, **with_variant(_options_in(flags)))
    # What the run starts from: the same.
    names = "init_checkpoint", "fresh_classifier"
    given = {name: flags[name] for name in names if flags[name]}
    datasets = data_sets(flags["dataset"], flags, settings.datasets) or settings.datasets
    settings = settings._replace(config=config, datasets=datasets, **given)
    for name, other, has_effect in _WITHOUT_EFFECT:
        if name in flags and not has_effect(config):
            sys.stderr.write(f"note: --{name} has no effect without {other}\n")
    if settings.fresh_classifier and not settings.init_checkpoint:
        raise InputError("--fresh_classifier: only with --init_checkpoint; add it")
    train_dir = flags["train_dir"] or next_free(Path("runs"), config.recipe)
    check_can_be_made(train_dir / CONFIG)
    check_is_text(train_dir)
    if not is_unused(train_dir):
        advice = "add --resume to continue its run, or name another folder"
        raise InputError(f"--train_dir {train_dir}: the folder is not empty; {advice}")
    return settings, train_dir


def resumed_run(flags: dict) -> tuple[RunSettings, Path]:
    """The settings of the run in `--train_dir`, and that folder.

    Its length, and where its data set lies, may differ from what it began with.

    Raises:
        InputError: there is no run, or a flag that would make it another one.
    """
    if flags["train_dir"] is None:
        raise InputError("--resume: only with --train_dir; add it to name the run")
    for name in ("init_checkpoint", "fresh_classifier", "config"):
        if flags[name]:
            raise InputError(f"--{name}: not with --resume, which keeps the run's; leave it out")
    settings = read_config(flags["train_dir"] / CONFIG)
    config = settings.config
    # A cosine ends with the epochs: more of them are another schedule.
    free = set(_FREE_TO_CHANGE) - ({"epochs"} if config.schedule == "cosine" else set())
    changed = _options_in(flags)
    conflicts = [n for n in changed if changed[n] != getattr(config, n) and n not in free]
    if conflicts:
        told = [f"--{n} {changed[n]}: the run began with {getattr(config, n)}" for n in conflicts]
        named = " and ".join(f"--{n}" for n in conflicts)
        raise InputError(f"{'; '.join(told)}; leave {named} out")
    config = dataclasses.replace(config, **changed)
    datasets = moved(settings.datasets, flags["dataset"], flags)
    return settings._replace(config=config, datasets=datasets), flags["train_dir"]


def _options_in(flags: dict) -> dict:
    """The options of a `TrainConfig` that were given, in its order."""
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    return {name: flags[name] for name in names if name in flags}
