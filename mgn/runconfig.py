"""`config.json` of a train_dir: what a run began with, and needs to go on."""

import dataclasses
from pathlib import Path

from mgn.config import TrainConfig
from mgn.errors import InputError
from mgn.files import read_json, write_json

CONFIG = "config.json"  # in a train_dir


def write_config(train_dir: Path, config: TrainConfig, dataset: Path, init_checkpoint: str | None) -> None:
    """Record what the run needs to go on."""
    values = {**dataclasses.asdict(config), "dataset": str(Path(dataset).resolve())}
    write_json(Path(train_dir) / CONFIG, {**values, "init_checkpoint": init_checkpoint}, overwrite=True)


def read_config(path: Path) -> tuple[TrainConfig, Path, str | None]:
    """What `write_config` wrote: configuration, data set, starting point.

    Raises:
        InputError: no such file, or not one of ours.
    """
    if not path.is_file():
        raise InputError(f"{path}: is not there, or no file, so there is no run to go on with or to repeat")
    values = read_json(path)
    dataset, init_checkpoint = values.pop("dataset", None), values.pop("init_checkpoint", None)
    if not isinstance(dataset, str):
        raise InputError(f"{path}: does not say which data set the run is trained on")
    try:
        return TrainConfig.from_dict(values), Path(dataset), init_checkpoint
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
