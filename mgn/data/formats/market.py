"""Data sets laid out as Market-1501 is: a folder a split, identity and camera in each name."""

import os
import re
from pathlib import Path

from mgn.config.dataset import DataSet
from mgn.data.formats.layout import (
    MARKET_JUNK,
    Layout,
    Listing,
    checked_file,
    entries,
    holds_people,
    lines_of,
    looks_like,
)
from mgn.data.lists import read_list
from mgn.data.names import EXAMPLE, FOLDERS, fits, parse_name
from mgn.system.errors import InputError

NEEDED = ", ".join(FOLDERS.values())
LISTS = "train.csv, query.csv, gallery.csv"
_VERI = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
_DUKE_NAME = re.compile(r"[0-9]{4}_c[1-8]_f[0-9]{7}\.jpg")
_CUHK_NAME = re.compile(r"[0-9]{4}_c[12]_[0-9]+\.png")


def split_path(dataset: DataSet, split: str) -> Path:
    """Where a split is or would be: its folder, or a CSV list if there is no folder.

    Raises:
        InputError: it is a link to nowhere.
    """
    path = dataset.folder / FOLDERS[split]
    listed = _list_of(dataset.folder, split)
    if dataset.format == "csv" or (os.path.lexists(listed) and not os.path.lexists(path)):
        path = listed
    check_link(path)
    return path


def _list_of(folder: Path, split: str) -> Path:
    """Where the CSV list of a split is or would be; its name may be in capitals."""
    usual = folder / f"{split}.csv"
    there = [path for path in entries(folder) if path.name.lower() == usual.name]
    return usual if usual in there or not there else there[0]


def check_link(path: Path) -> None:
    """Raise `InputError` if a path is a link to nowhere."""
    if path.is_symlink() and not path.exists():
        problem = f"a link to {path.readlink()}, which does not exist"
        raise InputError(f"{path}: {problem}; mount what it leads to, or remove the link")


def list_place(path: Path) -> Listing:
    """The images of a folder with Market-1501's names, or of a CSV list.

    Raises:
        InputError: it is neither, or a line of the list is wrong.
    """
    if path.is_dir():
        files = sorted(path.iterdir())
        images = [(str(file), parse_name(file.name)) for file in files if fits(file)]
        return Listing(path, images, [file for file in files if not fits(file)])
    if path.suffix.lower() == ".csv" and path.is_file():
        return Listing(path, list(read_list(path)), [])
    if path.exists():
        raise InputError(f"{path}: neither a folder of images nor a .csv list; name one")
    needed = f"{NEEDED}, or {LISTS}"
    raise InputError(f"{path}: no such folder; --dataset must name a folder that has {needed}")


def _has(dataset: DataSet, split: str) -> bool:
    return split_path(dataset, split).exists()


def _list(dataset: DataSet, split: str) -> Listing:
    return list_place(split_path(dataset, split))


def _folders_in(folder: Path) -> set[str]:
    """The splits that have a folder, and not one of folders for each person."""
    there = {split: folder / name for split, name in FOLDERS.items()}
    return {
        split
        for split, path in there.items()
        if os.path.lexists(path) and not (path.is_dir() and holds_people(path))
    }


def has_empty_query_alone(folder: Path) -> bool:
    """Whether all that looks like Market-1501 is a query folder, which other layouts have too."""
    return _folders_in(folder) == {"query"} and not entries(folder / FOLDERS["query"])


def _has_names(folder: Path, name: re.Pattern) -> bool:
    """Whether the first split that is there has names of one data set."""
    there = [folder / found for found in FOLDERS.values() if (folder / found).is_dir()]
    return bool(there) and looks_like(there[0], name)


def _is_occluded(folder: Path) -> bool:
    """By its lists; without them it is DukeMTMC-reID's layout, and the name must tell."""
    listed = any((folder / f"{split}.list").is_file() for split in FOLDERS)
    return bool(_folders_in(folder)) and (listed or "occluded" in folder.resolve().name.lower())


def _is_duke(folder: Path) -> bool:
    return _has_names(folder, _DUKE_NAME) and not _is_occluded(folder)


def _is_cuhk03(folder: Path) -> bool:
    return _has_names(folder, _CUHK_NAME)


def _is_market(folder: Path) -> bool:
    """Market-1501, and whatever has its folders and is not known better."""
    known_better = _is_occluded(folder) or _is_duke(folder) or _is_cuhk03(folder)
    return bool(_folders_in(folder)) and not known_better


def _is_csv(folder: Path) -> bool:
    """Whether there are lists alone, or one beside the folder of its split: which is meant?"""
    there = _folders_in(folder)
    listed = {split for split in FOLDERS if os.path.lexists(_list_of(folder, split))}
    return bool(listed) and (not there or bool(listed & there))


def _list_occluded(dataset: DataSet, split: str) -> Listing:
    """The images of `train.list`, `query.list`, `gallery.list`, in DukeMTMC-reID's own folders.

    The query's images may still lie in the gallery's folder, from which they were taken.
    """
    path = dataset.folder / f"{split}.list"
    if not path.exists():
        return _list_folder(FOLDERS)(dataset, split)
    images = []
    for where, line in lines_of(path, NEEDED):
        numbers = parse_name(line)
        if numbers is None:
            raise InputError(f"{where}: {line!r}: not a name of DukeMTMC-reID; correct it")
        file = dataset.folder / FOLDERS[split] / line
        if not file.is_file():
            file = dataset.folder / FOLDERS["gallery"] / line
        images.append((checked_file(file, where), numbers))
    return Listing(path, images, [])


def _list_folder(places: dict[str, str]):
    def list_images(dataset: DataSet, split: str) -> Listing:
        path = dataset.folder / places[split]
        check_link(path)
        if not path.is_dir():
            needed = ", ".join(places.values())
            raise InputError(f"{path}: no such folder; {dataset} must have {needed}")
        return list_place(path)

    return list_images


def _has_folder(places: dict[str, str]):
    def has(dataset: DataSet, split: str) -> bool:
        check_link(dataset.folder / places[split])
        return (dataset.folder / places[split]).exists()

    return has


def _has_occluded(dataset: DataSet, split: str) -> bool:
    return (dataset.folder / f"{split}.list").exists() or _has_folder(FOLDERS)(dataset, split)


def _is_veri(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in _VERI.values())


_NAMED = f"{NEEDED} with names like {EXAMPLE}"
LAYOUTS = {
    "market1501": Layout("Market-1501", _NAMED, _is_market, _has, _list, MARKET_JUNK),
    "csv": Layout("CSV lists", LISTS, _is_csv, _has, _list, MARKET_JUNK),
    "dukemtmc": Layout("DukeMTMC-reID", NEEDED, _is_duke, _has, _list),
    "cuhk03-np": Layout("CUHK03-NP", NEEDED, _is_cuhk03, _has, _list),
    "occluded-duke": Layout(
        "Occluded-Duke",
        f"{NEEDED}, or train.list, query.list, gallery.list beside them",
        _is_occluded,
        _has_occluded,
        _list_occluded,
    ),
    "veri776": Layout(
        "VeRi-776", ", ".join(_VERI.values()), _is_veri, _has_folder(_VERI), _list_folder(_VERI)
    ),
}
