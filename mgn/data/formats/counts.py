"""How many images, identities and cameras the named data sets have, as published."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mgn.data.formats.layout import entries
from mgn.data.names import CALLED

Figures = Mapping[str, Mapping[str, int]]  # {"train": {"images": 12936}}
_DUKE_GALLERY = {"images": 17661, "identities": 1110, "cameras": 8}
_MSMT17 = {
    "train": {"images": 32621, "identities": 1041, "cameras": 15},
    "query": {"images": 11659, "identities": 3060, "cameras": 15},
    "gallery": {"images": 82161, "identities": 3060, "cameras": 15},
}


class _Published(NamedTuple):
    title: str
    figures: Figures
    mark: str = ""  # of a variant: what its folder's name holds, or a name in that folder


def _cuhk03(kind: str, train: int, gallery: int) -> _Published:
    figures = {
        "train": {"images": train, "identities": 767, "cameras": 2},
        "query": {"images": 1400, "identities": 700, "cameras": 2},
        "gallery": {"images": gallery, "identities": 700, "cameras": 2},
    }
    return _Published(f"CUHK03-NP {kind}", figures, kind)


def _halves(title: str, identities: int, strangers: int) -> _Published:
    """Of one image by each of two views, half of the identities in training and in test."""
    figures = {
        "train": {"images": 2 * identities, "identities": identities},
        "query": {"images": identities, "identities": identities},
        "gallery": {"images": identities + strangers},
    }
    return _Published(title, figures)


PUBLISHED = {  # images are those that are used; sources: doc/datasets.md
    "market1501": [
        _Published(
            "Market-1501",
            {
                "train": {"images": 12936, "identities": 751, "cameras": 6},
                "query": {"images": 3368, "identities": 750, "cameras": 6},
                "gallery": {"images": 15913, "cameras": 6, "junk": 3819},
            },
        )
    ],
    "dukemtmc": [
        _Published(
            "DukeMTMC-reID",
            {
                "train": {"images": 16522, "identities": 702, "cameras": 8},
                "query": {"images": 2228, "identities": 702, "cameras": 8},
                "gallery": _DUKE_GALLERY,
            },
        )
    ],
    "occluded-duke": [
        _Published(
            "Occluded-Duke",
            {
                "train": {"images": 15618, "identities": 702, "cameras": 8},
                "query": {"images": 2210},
                "gallery": {"images": 17661},
            },
        )
    ],
    "cuhk03-np": [_cuhk03("labeled", 7368, 5328), _cuhk03("detected", 7365, 5332)],
    "veri776": [
        _Published(
            "VeRi-776",
            {
                "train": {"images": 37778, "identities": 576, "cameras": 20},
                "query": {"images": 1678, "identities": 200},
                "gallery": {"images": 11579, "identities": 200},
            },
        )
    ],
    "msmt17": [_Published("MSMT17 V1", _MSMT17), _Published("MSMT17 V2", _MSMT17, "v2")],
    "vehicleid": [_Published("VehicleID", {"train": {"identities": 13164}})],
    "viper": [_halves("VIPeR", 316, 0)],
    "prid": [_halves("PRID", 100, 549)],
    "grid": [_halves("GRID", 125, 775)],
}
# Layouts that other data sets have too: only a name or an equal figure tells.
_COMMON = {"market1501": "market", "dukemtmc": "duke", "cuhk03-np": "cuhk03", "csv": "market"}


def compare(folder: Path, name: str, found: Figures) -> tuple[str, Figures, list[str]]:
    """What a data set looks like, the figures of that, and what differs, in words.

    Args:
        folder: the data set's; its name or its parts may tell the kind.
        name: of the layout that it is read by.
        found: its own figures, of the splits that are there.

    Returns:
        "", {} and [] of a data set that looks like none of the published ones.
    """
    published = PUBLISHED.get("market1501" if name == "csv" else name)
    if not published:
        return "", {}, []
    likely = _variant(folder, published, found)
    differing, agreeing = _differences(likely.figures, found)
    if name in _COMMON and not agreeing and _COMMON[name] not in folder.resolve().name.lower():
        return "", {}, []
    return likely.title, likely.figures, differing


def _variant(folder: Path, published: list[_Published], found: Figures) -> _Published:
    """The variant whose mark is there; of several or none, the one that fewest figures deny."""
    names = [folder.resolve().name, *(path.name for path in entries(folder))]
    told = " ".join(names).lower()
    marked = [variant for variant in published if variant.mark and variant.mark in told]
    return min(marked or published, key=lambda one: len(_differences(one.figures, found)[0]))


def _differences(wanted: Figures, found: Figures) -> tuple[list[str], int]:
    """What differs, in words, and how many figures agree; not of cameras: many sets have six."""
    differing, agreeing = [], 0
    for split, figures in wanted.items():
        for figure, number in figures.items():
            there = found.get(split, figures)[figure]
            if there != number:
                what = f"{number:,} {CALLED[split]} {figure} expected"
                differing.append(f"{what}, {there:,} found")
            elif split in found and figure != "cameras":
                agreeing += 1
    return differing, agreeing
