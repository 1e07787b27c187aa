"""The data set of a run or an evaluation: a folder, and how it is to be read."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgn.system.cli import existing_path
from mgn.system.errors import InputError
from mgn.system.numbers import whole_number

AUTO = "auto"
FORMATS = (  # see doc/datasets.md
    *("market1501", "dukemtmc", "cuhk03-np", "occluded-duke", "veri776", "msmt17", "vehicleid"),
    *("viper", "prid", "grid", "folders", "csv"),
)
_OPTIONS = ("format", "distractors", "cameras", "split")


@dataclass(frozen=True)
class DataSet:
    """A folder of images, and how it is read; a path wherever a path is taken."""

    folder: Path
    format: str | None = None  # one of `FORMATS`; None: to be recognised
    distractors: Path | None = None  # a folder of images of strangers, for the gallery
    cameras: tuple[str, ...] = ()  # what names of images call their cameras
    split: int | None = None  # of a data set that has several

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)


def as_data_set(dataset: DataSet | Path) -> DataSet:
    """The same, or a folder whose format is to be recognised."""
    return dataset if isinstance(dataset, DataSet) else DataSet(Path(dataset))


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Flags that go with `--dataset`; with several of that, each of these once or as often."""
    group = parser.add_argument_group("the data set (of several --dataset: once, or once for each)")

    def add(name: str, **how: object) -> None:
        group.add_argument(f"--{name}", action="append", default=[], **how)

    add("format", choices=(AUTO, *FORMATS), help="layout of the folder; omitted: recognised")
    add("distractors", type=existing_path, metavar="DIR", help="more gallery images, of strangers")
    named = "of a folder for each person: what file names call the cameras, as in front,back"
    add("cameras", type=_names, metavar="NAMES", help=named)
    which = "viper, prid, grid: which random halves, from 0; vehicleid: 800, 1600 or 2400"
    add("split", type=_number, metavar="N", help=which)


def data_sets(folders: Sequence[Path], flags: Mapping) -> tuple[DataSet, ...]:
    """The data sets that `--dataset` and the flags of `add_dataset_options` name.

    Raises:
        InputError: a flag without a data set, or given neither once nor once for each.
    """
    options = [{} for _ in folders]
    for name in _OPTIONS:
        given = flags[name]
        if given and not folders:
            raise InputError(f"--{name}: goes with --dataset")
        if given and len(given) not in (1, len(folders)):
            times = f"given {len(given)} times for {len(folders)} data sets"
            raise InputError(f"--{name}: {times}; give it once, or once for each --dataset in turn")
        for i, values in enumerate(options):
            if given:
                values[name] = given[i % len(given)]
    sets = [DataSet(folder, **values) for folder, values in zip(folders, options, strict=True)]
    return tuple(_without_auto(dataset) for dataset in sets)


def data_set(folder: Path | None, flags: Mapping) -> DataSet | None:
    """The same of one `--dataset`; None: it is not given."""
    found = data_sets([folder] if folder else [], flags)
    return found[0] if found else None


def moved(datasets: Sequence[DataSet], folders: Sequence[Path], flags: Mapping) -> tuple:
    """What a resumed run reads: its data sets, where `folders` and flags say that they lie."""
    asked = any(flags[name] for name in _OPTIONS)
    if not folders and not asked:
        return tuple(datasets)
    if asked or len(folders) != len(datasets):
        return data_sets(folders, flags)
    return tuple(
        dataclasses.replace(dataset, folder=folder)
        for dataset, folder in zip(datasets, folders, strict=True)
    )


def to_json(datasets: Sequence[DataSet | Path]) -> dict[str, object]:
    """The data sets as `config.json` has them: folders, and how each is read."""
    folders, options = [], []
    for dataset in map(as_data_set, datasets):
        distractors = dataset.distractors and str(Path(dataset.distractors).resolve())
        values = {"format": dataset.format, "distractors": distractors}
        values |= {"cameras": list(dataset.cameras), "split": dataset.split}
        folders.append(str(dataset.folder.resolve()))
        options.append({name: value for name, value in values.items() if value not in (None, [])})
    return {"dataset": folders if len(folders) > 1 else folders[0], "dataset_options": options}


def from_json(values: dict) -> tuple[DataSet, ...]:
    """Take out of `values` what `to_json` put there; older files have the folders alone.

    Raises:
        InputError: it is not there, or not as it was written.
    """
    folders = values.pop("dataset", None)
    if isinstance(folders, str):
        folders = [folders]
    whole = isinstance(folders, list) and folders and all(isinstance(f, str) for f in folders)
    if not whole:
        raise InputError("does not say which data set the run is trained on")
    options = values.pop("dataset_options", [{}] * len(folders))
    try:
        pairs = zip(folders, options, strict=True)
        return tuple(_from_json(folder, found) for folder, found in pairs)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"dataset_options {options!r}: not as train.py writes them") from None


def _from_json(folder: str, options: dict) -> DataSet:
    chosen = options.get("format")
    if chosen not in (None, *FORMATS):
        raise InputError(f"dataset_options: format {chosen!r} is not one of {', '.join(FORMATS)}")
    distractors = options.get("distractors")
    cameras = tuple(options.get("cameras", ()))
    return DataSet(
        Path(folder), chosen, distractors and Path(distractors), cameras, options.get("split")
    )


def _without_auto(dataset: DataSet) -> DataSet:
    return dataclasses.replace(dataset, format=None) if dataset.format == AUTO else dataset


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len({name.lower() for name in names}) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different names: front,back")
    return names


def _number(text: str) -> int:
    try:
        number = whole_number(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return number
