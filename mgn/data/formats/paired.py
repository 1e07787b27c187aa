"""Small data sets of two views: VIPeR, PRID and GRID, halved at random into training and test."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.config.dataset import DataSet
from mgn.data.formats.layout import Layout, Listing, images_in, looks_like

HALVES = 10  # random halves over which results are published as means


class _Views(NamedTuple):
    """Where the two views of a data set lie, and what its names say."""

    query: str
    gallery: str
    name: re.Pattern  # its first group is the identity, its second, if any, the camera
    first: int  # number of identity 0
    paired: Callable[[int], bool]  # whether an identity of both views is one person


_END = r"(?i:\.(?:bmp|png|jpe?g))"  # as published, or saved again
_VIPER = _Views("cam_a", "cam_b", re.compile(rf"([0-9]{{3}})_[0-9]+{_END}"), 1, lambda _: True)
# Beyond 200, equal numbers of the two views are different people.
_PRID = _Views(
    "cam_a", "cam_b", re.compile(rf"person_([0-9]{{4}}){_END}"), 0, lambda who: who <= 200
)
# 0 is all the people of the gallery that no probe shows.
_GRID = _Views(
    "probe", "gallery", re.compile(rf"([0-9]{{4}})_([0-9])_.*{_END}"), 0, lambda who: who > 0
)


def _root(folder: Path, views: _Views) -> Path:
    """The folder of both views: the data set's, or the one inside it that its archive makes."""
    inside = ("", "VIPeR", "single_shot", "prid_2011/single_shot", "underground_reid")
    for name in inside:
        if looks_like(folder / name / views.query, views.name):
            return folder / name
    return folder


def _view(dataset: DataSet, views: _Views, side: str) -> tuple[list, list[Path]]:
    """(file, (identity, camera)) of each image of a view, and what else lies there."""
    folder = _root(dataset.folder, views) / side
    found, others = images_in(folder, views.name, f"{views.query} and {views.gallery} are needed")
    images = []
    for file, match in found:
        camera = 1 if side == views.query else 2
        if views.name.groups > 1:
            camera = int(match[2])
        images.append((file, (int(match[1]) + views.first, camera)))
    return images, others


def _reader(views: _Views) -> Callable[[DataSet, str], Listing]:
    def list_images(dataset: DataSet, split: str) -> Listing:
        """Half of the people that both views show are trained on, the others tested.

        Who is in the gallery alone stays there, as a wrong answer.
        """
        one, one_others = _view(dataset, views, views.query)
        other, other_others = _view(dataset, views, views.gallery)
        both = {who for _, (who, _) in one} & {who for _, (who, _) in other}
        pairs = sorted(who for who in both if views.paired(who))
        order = np.random.default_rng(dataset.split or 0).permutation(pairs)
        trained = set(order[: len(pairs) // 2].tolist())
        tested = set(pairs) - trained
        place = _root(dataset.folder, views)
        if split == "train":
            images = [image for image in one + other if image[1][0] in trained]
            return Listing(place, images, one_others + other_others)
        if split == "query":
            return Listing(place, [image for image in one if image[1][0] in tested], one_others)
        unknown = {who for _, (who, _) in other} - set(pairs)
        images = [image for image in other if image[1][0] in tested | unknown]
        return Listing(place, images, other_others)

    return list_images


def _layout(title: str, views: _Views, needed: str) -> Layout:
    def fits(folder: Path) -> bool:
        root = _root(folder, views)
        return looks_like(root / views.query, views.name) and (root / views.gallery).is_dir()

    def has(dataset: DataSet, _split: str) -> bool:
        return (_root(dataset.folder, views) / views.gallery).is_dir()

    means = f"published figures are means over {HALVES} random halves, each trained on anew"
    protocol = f"{means}: this is the one of --split, 0 to {HALVES - 1}, drawn by this toolkit"
    return Layout(title, needed, fits, has, _reader(views), takes=("split",), protocol=protocol)


LAYOUTS = {
    "viper": _layout("VIPeR", _VIPER, "cam_a and cam_b with names like 000_45.bmp"),
    "prid": _layout("PRID", _PRID, "single_shot with cam_a and cam_b, person_0001.png"),
    "grid": _layout("GRID", _GRID, "probe and gallery, 0001_1_25008_169_19_94_239.jpeg"),
}
