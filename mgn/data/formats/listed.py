"""Data sets whose text lists say which image shows whom: MSMT17 and VehicleID."""

from pathlib import Path

import numpy as np

from mgn.config.dataset import DataSet
from mgn.data.formats.layout import Labelled, Layout, Listing, checked_file, numbered_lines
from mgn.data.lists import check_labels
from mgn.system.errors import InputError
from mgn.system.numbers import is_digits

# Their identities start at 0, which is a distractor elsewhere, and MSMT17's start there twice.
_FIRST, _FIRST_OF_TEST = 1, 10_001
# MSMT17: lists and folders; of folders the first that is there, V2's or V1's.
_MSMT17_LISTS = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}
_MSMT17_TRAIN, _MSMT17_TEST = ("mask_train_v2", "train"), ("mask_test_v2", "test")
_MSMT17 = (
    "list_train.txt, list_val.txt, list_query.txt and list_gallery.txt beside"
    " mask_train_v2 and mask_test_v2 (V2) or train and test (V1)"
)
# VehicleID: a train list, and test lists of several sizes.
_VEHICLEID = "image, and train_test_split with train_list.txt and test_list_800.txt or others"
_DRAW = 0  # seed of the gallery that is drawn


def _is_msmt17(folder: Path) -> bool:
    lists = [name for names in _MSMT17_LISTS.values() for name in names]
    named = "msmt17" in folder.resolve().name.lower()
    masked = _MSMT17_TRAIN[0], _MSMT17_TEST[0]
    images = any((folder / name).is_dir() for name in _MSMT17_TRAIN + _MSMT17_TEST)
    told = named or any((folder / name).exists() for name in (*lists, *masked))
    return images and told


def _has_msmt17(dataset: DataSet, split: str) -> bool:
    return (dataset.folder / _MSMT17_LISTS[split][0]).exists()


def _list_msmt17(dataset: DataSet, split: str) -> Listing:
    """Training is both of `list_train.txt` and `list_val.txt`."""
    names = _MSMT17_TRAIN if split == "train" else _MSMT17_TEST
    first = _FIRST if split == "train" else _FIRST_OF_TEST
    there = [dataset.folder / name for name in names if (dataset.folder / name).is_dir()]
    if not there:
        raise InputError(f"{dataset}: no folder {' or '.join(names)}; MSMT17 has {_MSMT17}")
    images = []
    for name in _MSMT17_LISTS[split]:
        path = dataset.folder / name
        for where, file, identity in numbered_lines(path, f"MSMT17 has {_MSMT17}"):
            camera = (Path(file).stem.split("_") + [""] * 3)[2]
            if not is_digits(camera):
                like = "0000_000_01_0303morning_0008_0.jpg, which is by camera 1"
                raise InputError(f"{where}: {file}: not named like {like}")
            check_labels(where, identity, int(camera))
            labels = identity + first, int(camera)
            images.append((checked_file(there[0] / file, where), labels))
    return Listing(dataset.folder / _MSMT17_LISTS[split][0], images, [])


def _is_vehicleid(folder: Path) -> bool:
    return (folder / "train_test_split").is_dir() and (folder / "image").is_dir()


def _vehicleid_list(dataset: DataSet, split: str) -> Path:
    """The list that a split is read from: of test lists the chosen one, or the smallest."""
    lists = dataset.folder / "train_test_split"
    if split == "train":
        return lists / "train_list.txt"
    if dataset.split is not None:
        return lists / f"test_list_{dataset.split}.txt"
    sizes = [path.stem.removeprefix("test_list_") for path in lists.glob("test_list_*.txt")]
    smallest = min((int(size) for size in sizes if is_digits(size)), default=800)
    return lists / f"test_list_{smallest}.txt"


def _has_vehicleid(dataset: DataSet, split: str) -> bool:
    return _vehicleid_list(dataset, split).exists()


def _list_vehicleid(dataset: DataSet, split: str) -> Listing:
    """Query and gallery are drawn from one list: one image of each vehicle is the gallery's.

    No camera is known. Query and gallery get different ones, so that every match counts.
    """
    path = _vehicleid_list(dataset, split)
    images = []
    for where, name, identity in numbered_lines(path, f"VehicleID has {_VEHICLEID}"):
        file = checked_file(dataset.folder / "image" / f"{name}.jpg", where)
        images.append((file, (identity + _FIRST, 1)))
    if split == "train":
        return Listing(path, images, [])
    images = sorted(set(images))
    drawn = _one_of_each(images)
    if split == "gallery":
        return Listing(path, [(file, (who, 2)) for file, (who, _) in drawn], [])
    taken = {file for file, _ in drawn}
    return Listing(path, [image for image in images if image[0] not in taken], [])


def _one_of_each(images: list[Labelled]) -> list[Labelled]:
    of_each = {}
    for image in images:
        of_each.setdefault(image[1][0], []).append(image)
    rng = np.random.default_rng(_DRAW)
    return [of_each[who][rng.integers(len(of_each[who]))] for who in sorted(of_each)]


LAYOUTS = {
    "msmt17": Layout("MSMT17", _MSMT17, _is_msmt17, _has_msmt17, _list_msmt17),
    "vehicleid": Layout(
        "VehicleID",
        _VEHICLEID,
        _is_vehicleid,
        _has_vehicleid,
        _list_vehicleid,
        takes=("split",),
        pooled=True,
        protocol="the gallery is one image of each vehicle, drawn at random, and no camera is"
        " known; the table is of one draw, and the mean over draws is printed below it",
    ),
}
