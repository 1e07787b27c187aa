"""`config.json` of a train_dir: what a run began with, and needs to go on."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from mgn.config import TrainConfig
from mgn.errors import InputError
from mgn.files import read_json, write_json

CONFIG = "config.json"  # in a train_dir


class Began(NamedTuple):
    """With what a run began."""

    config: TrainConfig
    dataset: Path | None  # None: the demo set, to be drawn yet
    init_checkpoint: str | None = None
    fresh_classifier: bool = False  # of `init_checkpoint`: left out
    replicas: int | None = None  # in all: others add in another order, on other batch statistics


def write_config(train_dir: Path, began: Began) -> None:
    """Record what the run needs to go on, and others to repeat it; paths become absolute."""
    start = began.init_checkpoint and str(Path(began.init_checkpoint).resolve())
    values = {"dataset": str(Path(began.dataset).resolve()), "init_checkpoint": start}
    values |= {"fresh_classifier": began.fresh_classifier, "replicas": began.replicas}
    values |= dataclasses.asdict(began.config)
    write_json(Path(train_dir) / CONFIG, values, overwrite=True)


def read_config(path: Path) -> Began:
    """What `write_config` wrote.

    Raises:
        InputError: no such file, or not one of ours.
    """
    if not path.is_file():
        raise InputError(f"{path}: is not there, or no file, so there is no run to go on with or to repeat")
    values = read_json(path)
    dataset, start = values.pop("dataset", None), values.pop("init_checkpoint", None)
    fresh, replicas = bool(values.pop("fresh_classifier", False)), values.pop("replicas", None)
    if not isinstance(dataset, str):
        raise InputError(f"{path}: does not say which data set the run is trained on")
    try:
        return Began(TrainConfig.from_dict(values), Path(dataset), start, fresh, replicas)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
