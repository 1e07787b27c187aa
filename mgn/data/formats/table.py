"""Every layout of a data set by name, and which one a folder has."""

import dataclasses
from pathlib import Path

from mgn.config.dataset import FORMATS, DataSet, as_data_set
from mgn.data import folders
from mgn.data.decoding import EXTENSIONS
from mgn.data.formats import listed, market, paired, persons
from mgn.data.formats.layout import Labelled, Layout, Listing, entries
from mgn.data.names import DISTRACTOR, JUNK, WAYS, parse_name
from mgn.system.errors import InputError

LAYOUTS = market.LAYOUTS | listed.LAYOUTS | paired.LAYOUTS | persons.LAYOUTS
_LAST = "folders"  # fits much: alone only if nothing else fits


def recognise(dataset: DataSet | Path) -> tuple[DataSet, Layout]:
    """The data set with its format, and what that means.

    Raises:
        InputError: no format fits, several do, or the chosen one has no use for an option.
    """
    dataset = as_data_set(dataset)
    name = dataset.format or _recognised(dataset.folder)
    layout = LAYOUTS[name]
    for option, given in (("cameras", dataset.cameras), ("split", dataset.split)):
        if given not in ((), None) and option not in layout.takes:
            takers = ", ".join(name for name in FORMATS if option in LAYOUTS[name].takes)
            several = f"of several --dataset, give it once for each: --{option} auto for this one"
            problem = f"{dataset} is read as {name}, and only {takers} take it"
            raise InputError(f"--{option}: {problem}; {several}")
    return dataclasses.replace(dataset, format=name), layout


def _recognised(folder: Path) -> str:
    fitting = [name for name in FORMATS if name != _LAST and LAYOUTS[name].fits(folder)]
    if persons.holds_splits(folder):
        if market.has_empty_query_alone(folder):  # nothing in it, or nothing that may be read
            fitting = [name for name in fitting if name != "market1501"]
        if fitting and fitting != ["msmt17"]:  # whose folders hold folders of people too
            fitting.append(_LAST)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        told = " and ".join(f"{name} ({LAYOUTS[name].needed})" for name in fitting)
        beside = ""
        if _LAST in fitting and (stray := persons.images_beside_people(folder)):
            beside = f"; {stray[0]} lies beside folders of people ({len(stray)} such images)"
        raise InputError(f"{folder}: fits the layouts of {told}; choose one with --format{beside}")
    inside = _recognised_inside(folder)
    if not inside and folder.is_dir() and LAYOUTS[_LAST].fits(folder):
        return _LAST
    needed = f"{market.NEEDED}; {market.LISTS}; or {LAYOUTS[_LAST].needed}"
    way = f"--dataset must name a folder that has {needed}; see --format for others"
    raise InputError(f"{folder}: no data set in it; {inside or _resembled(folder) or way}")


def _recognised_inside(folder: Path) -> str:
    """Which folders in a folder are data sets, as an advice; "" if none is."""
    found = []
    for path in filter(folders.may_be_read, entries(folder)):
        names = [name for name in FORMATS if name != _LAST and LAYOUTS[name].fits(path)]
        found += [f"{path} ({names[0]})"] if names else []
    return f"name one of those inside: {', '.join(found[:3])}" if found else ""


def _resembled(folder: Path) -> str:
    """Which layouts have the gallery of a folder, but not its names, as an advice; "" if none."""
    own = [name for name in FORMATS if name not in market.LAYOUTS]
    near = [name for name in own if LAYOUTS[name].has(DataSet(folder, name), "gallery")]
    told = " and ".join(f"{name} ({LAYOUTS[name].needed})" for name in near)
    return f"it resembles {told}: --format {near[0]} says what is wrong" if near else ""


def ways(layout: Layout) -> str:
    """How images must be named or listed to be found."""
    own = layout.title not in ("Market-1501", "CSV lists")
    return f"{layout.title} has {layout.needed}" if own else WAYS


def list_images(dataset: DataSet, layout: Layout, split: str) -> Listing:
    """What a split holds; the gallery with the images of `distractors`."""
    listing = layout.list_images(dataset, split)
    if split == "gallery" and dataset.distractors:
        images, others = _strangers(Path(dataset.distractors))
        listing.images.extend(images)
        listing.others.extend(others)
    return listing


def _strangers(folder: Path) -> tuple[list[Labelled], list[Path]]:
    """All images under a folder, as distractors, and what else lies there.

    Raises:
        InputError: there is none, or a name says that it is somebody.
    """
    if not folder.is_dir():
        raise InputError(f"--distractors {folder}: no such folder; name a folder of images")
    files, others = folders.images_under(folder)
    images = []
    for file in files:
        identity, camera = parse_name(file.name) or (DISTRACTOR, 0)
        if identity not in (DISTRACTOR, JUNK):
            problem = f"shows identity {identity}, which is no distractor"
            raise InputError(f"--distractors: {file} {problem}; name a folder of strangers alone")
        images.append((str(file), (identity, camera)))
    if not images:
        raise InputError(
            f"--distractors {folder}: no image in it ({', '.join(EXTENSIONS)}); name another"
        )
    return images, others


def is_pooled(dataset: DataSet | Path | None) -> bool:
    """Whether the gallery is to be drawn anew and anew from all test images; None: it is not."""
    if dataset is None:
        return False
    _, layout = recognise(dataset)
    return layout.pooled


def note(dataset: DataSet | Path) -> str:
    """How the evaluation of a data set differs from Market-1501's, as a line; "" if it does not."""
    dataset, layout = recognise(dataset)
    read_as = f"note: {dataset} is read as {dataset.format}: {layout.protocol}\n"
    return read_as if layout.protocol else ""
