"""The data set of a run or an evaluation: a folder, and how it is to be read."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
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
OPTIONS = ("format", "distractors", "cameras", "split")  # how a folder is read, as flags


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


def add_dataset_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Flags that go with `--dataset`; with `several` of that, each of these once or as often."""
    how = " (with several --dataset: once for all, or once for each; auto: the default)"
    group = parser.add_argument_group(f"data set{how if several else ''}")

    def add(name: str, kind: Callable = str, **how: object) -> None:
        group.add_argument(f"--{name}", type=_or_auto(kind), action="append", default=[], **how)

    add("format", choices=(AUTO, *FORMATS), help="layout of the folder (default: recognised)")
    add("distractors", existing_path, metavar="DIR", help="more gallery images, of strangers")
    named = "names of cameras in file names, such as front,back, if each person has a folder"
    add("cameras", _names, metavar="NAMES", help=named)
    which = "viper, prid, grid: which random split, from 0 on (default: 0); vehicleid: size of the"
    which += " test list (default: the smallest)"
    add("split", _number, metavar="N", help=which)


def data_sets(
    folders: Sequence[Path], flags: Mapping, known: Sequence[DataSet] = ()
) -> tuple[DataSet, ...]:
    """The data sets that `--dataset` and the flags of `add_dataset_options` name.

    A folder that is that of one in `known`, those of a run, is read as there but for the flags.

    Raises:
        InputError: a flag without a data set, or given neither once nor once for each.
    """
    for name in OPTIONS:
        given = flags[name]
        if given and not folders:
            raise InputError(f"--{name}: only with --dataset; add it")
        if given and len(given) not in (1, len(folders)):
            times = f"given {len(given)} times for {len(folders)} data sets"
            raise InputError(f"--{name}: {times}; give it once, or once for each --dataset in turn")
    found = []
    for i, folder in enumerate(folders):
        dataset = of_folder(folder, known) or DataSet(folder)
        given = {name: flags[name][i % len(flags[name])] for name in OPTIONS if flags[name]}
        changed = {name: value for name, value in given.items() if value != AUTO}
        if changed.get("format", dataset.format) != dataset.format:  # may not take the others
            dataset = DataSet(folder, distractors=dataset.distractors)
        found.append(dataclasses.replace(dataset, folder=folder, **changed))
    return tuple(found)


def data_set(folder: Path | None, flags: Mapping, known: Sequence[DataSet] = ()) -> DataSet | None:
    """The same of one `--dataset`; None: it is not given."""
    found = data_sets([folder] if folder else [], flags, known)
    return found[0] if found else None


def of_folder(folder: Path, known: Sequence[DataSet]) -> DataSet | None:
    """The one that lies in this folder, whatever links lead there."""
    place = Path(folder).resolve()
    return next((dataset for dataset in known if dataset.folder.resolve() == place), None)


def moved(datasets: Sequence[DataSet], folders: Sequence[Path], flags: Mapping) -> tuple:
    """What a resumed run reads: its data sets, where `folders` and flags say that they lie."""
    if not folders and not any(flags[name] for name in OPTIONS):
        return tuple(datasets)
    if len(folders) == len(datasets):
        pairs = zip(datasets, folders, strict=True)
        datasets = [dataclasses.replace(dataset, folder=folder) for dataset, folder in pairs]
    return data_sets(folders, flags, datasets)


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
        raise InputError('the key "dataset" is missing or not a folder; correct it')
    options = values.pop("dataset_options", [{}] * len(folders))
    try:
        pairs = zip(folders, options, strict=True)
        return tuple(_from_json(folder, found) for folder, found in pairs)
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"dataset_options {options!r}: not one object a data set; correct it"
        ) from None


def _from_json(folder: str, options: dict) -> DataSet:
    """`InputError` names an option of a wrong type, which nobody checks again."""
    wanted = {
        "format": (lambda value: value in FORMATS, f"one of {', '.join(FORMATS)}"),
        "distractors": (lambda value: isinstance(value, str), "a folder's name"),
        "cameras": (_are_names, "a list of different names"),
        "split": (lambda value: type(value) is int and value >= 0, "a whole number from 0"),
    }
    found = {}
    for name, (is_right, what) in wanted.items():
        value = options.get(name)
        if value is None:
            continue
        if not is_right(value):
            raise InputError(f"dataset_options: {name} {value!r} is not {what}; correct it")
        found[name] = value
    if "distractors" in found:
        found["distractors"] = Path(found["distractors"])
    return DataSet(Path(folder), **found | {"cameras": tuple(found.get("cameras", ()))})


def _or_auto(kind: Callable) -> Callable:
    """A flag type that also takes `AUTO`: as if not given, for one of several data sets."""
    return lambda text: text if text == AUTO else kind(text)


def _names(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    if not _are_names(names):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of different names such as front,back"
        )
    return tuple(names)


def _are_names(names: object) -> bool:
    if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
        return False
    return len({name.lower() for name in names}) == len(names)


def _number(text: str) -> int:
    try:
        number = whole_number(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return number
