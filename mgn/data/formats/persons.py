"""A folder for each person; the camera is in the names of the images."""

import re
from pathlib import Path

from mgn.config.dataset import DataSet
from mgn.data import folders
from mgn.data.decoding import EXTENSIONS
from mgn.data.formats.layout import (
    Labelled,
    Layout,
    Listing,
    entries,
    holds_images,
    holds_people,
    people_in,
)
from mgn.data.names import DISTRACTOR, JUNK, parse_name
from mgn.system.errors import InputError
from mgn.system.numbers import is_digits

# Folders of the folders of people; of several names the first that is there.
_SPLITS = {
    "train": ("train_all", "train", "bounding_box_train"),
    "query": ("query",),
    "gallery": ("gallery", "test", "bounding_box_test"),
}
_NO_PERSON = {*_SPLITS["train"], *_SPLITS["query"], *_SPLITS["gallery"]}
_NO_PERSON |= {"val", "valid", "images", "image", "probe", "cam_a", "cam_b"}
_DIGITS = 9  # of an identity's number, at most
_NEEDED = (
    "train, query and gallery with a folder for each person, or these folders alone to train on"
)
_CAMERA = re.compile(
    r"(?:^|[ ._-])c(?:am(?:era)?)?[_-]?([0-9]{1,9})(?:s[0-9]+)?(?=[ ._-]|$)", re.IGNORECASE
)


def _split_folder(folder: Path, split: str) -> Path | None:
    """The folder of a split; of people without one, who can be trained on, the whole."""
    for name in _SPLITS[split]:
        if (folder / name).is_dir():
            return folder / name
    if split == "train" and not any((folder / name).is_dir() for name in _NO_PERSON):
        return folder
    return None


def _fits(folder: Path) -> bool:
    places = [_split_folder(folder, split) for split in _SPLITS]
    return any(place and holds_people(place) for place in places)


def holds_splits(folder: Path) -> bool:
    """Whether a split has a folder of its own, with folders of people in it."""
    return any(holds_people(folder / name) for names in _SPLITS.values() for name in names)


def images_beside_people(folder: Path) -> list[Path]:
    """The images that lie in a split's folder itself, where there are folders of people too."""
    found = []
    for names in _SPLITS.values():
        for place in (folder / name for name in names):
            if any(map(holds_images, people_in(place))):
                found += [file for file in entries(place) if file.suffix.lower() in EXTENSIONS]
    return found


def _has(dataset: DataSet, split: str) -> bool:
    return _split_folder(dataset.folder, split) is not None


def _list(dataset: DataSet, split: str) -> Listing:
    place = _split_folder(dataset.folder, split)
    if place is None:
        wanted = " or ".join(_SPLITS[split])
        raise InputError(f"{dataset}: no folder {wanted}; it must have {_NEEDED}")
    numbers = _numbers(dataset.folder)
    images, unnamed = [], []
    others = [file for file in sorted(place.iterdir()) if not file.is_dir()]
    others += [path for path in place.iterdir() if path.is_dir() and folders.is_hidden(path.name)]
    for person in people_in(place):
        files, left = folders.images_under(person)
        others += left
        for file in files:
            camera = _camera(file, person, dataset.cameras)
            if camera is None:
                unnamed.append(str(file))
            images.append((str(file), (numbers[person.name], 1 if camera is None else camera)))
    _check_cameras(unnamed, images, split)
    return Listing(place, images, others)


def _numbers(folder: Path) -> dict[str, int]:
    """The identity of each folder's name, the same in all splits.

    Numbers stay as they are; -1 is junk, and 0 is distractors if it is in the gallery alone, else
    a person, so that all numbers go up by one. Other names are numbered in their order,
    but for -1; so are digits, if one name has too many of them for a number.

    Raises:
        InputError: two names are one number.
    """
    names, labelled = set(), set()
    for split in _SPLITS:
        place = _split_folder(folder, split)
        found = {person.name for person in people_in(place)} if place else set()
        names |= found
        labelled |= found if split != "gallery" else set()
    persons = sorted(names - {str(JUNK)})
    if not all(map(is_digits, persons)):
        return {name: i for i, name in enumerate(persons, 1)} | {str(JUNK): JUNK}
    seen = {}
    for name in persons:
        other = seen.setdefault(name.lstrip("0"), name)
        if other != name:
            raise InputError(f"{folder}: folders {other} and {name} are one identity; rename one")
    if any(len(digits) > _DIGITS for digits in seen):
        return {name: i for i, name in enumerate(persons, 1)} | {str(JUNK): JUNK}
    first = 1 if any(int(name) == DISTRACTOR for name in labelled) else 0
    return {name: int(name) + first for name in persons} | {str(JUNK): JUNK}


def _camera(file: Path, person: Path, cameras: tuple[str, ...]) -> int | None:
    """The number of the camera that a name tells, of `cameras` its place in them, from 1.

    Raises:
        InputError: the name holds none or several of `cameras`.
    """
    if cameras:
        told = file.relative_to(person).with_suffix("").as_posix().lower()
        found = [i for i, name in enumerate(cameras, 1) if _has_word(told, name.lower())]
        if len(found) != 1:
            problem = f"none of --cameras {','.join(cameras)}"
            if found:
                problem = " and ".join(cameras[i - 1] for i in found) + " of --cameras"
            raise InputError(f"{file}: its name has {problem}; it must have exactly one")
        return found[0]
    if numbers := parse_name(file.name):
        return numbers[1]
    match = _CAMERA.search(file.stem)
    return int(match[1]) if match else None


def _has_word(text: str, word: str) -> bool:
    """Whether a text holds a word that no letter or digit touches: cam1 is not in cam10."""
    return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text) is not None


def _check_cameras(unnamed: list[str], images: list[Labelled], split: str) -> None:
    """Raise `InputError` if cameras are not known where they must be."""
    if not unnamed or (split == "train" and len(unnamed) == len(images)):
        return  # to train, nothing need be known of cameras
    problem = f"no camera in its name ({len(unnamed)} of {len(images)} images have none)"
    way = "name images like c1_0001.jpg, or say what their names call the cameras"
    raise InputError(f"{unnamed[0]}: {problem}; {way}: --cameras front,back")


LAYOUTS = {
    "folders": Layout("a folder for each person", _NEEDED, _fits, _has, _list, takes=("cameras",))
}
