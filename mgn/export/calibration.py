"""The images from which an eight-bit export takes its ranges, and those that judge it."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.config.options import Int8
from mgn.config.settings import datasets_of_run
from mgn.data.decoding import read_image
from mgn.data.demo import checked_dataset
from mgn.data.named import files_named
from mgn.data.records import read_split
from mgn.system.errors import InputError
from mgn.system.progress import Progress

_FEW = 32


class CalibrationImages(NamedTuple):
    """Images of people, uint8 RGB [H, W, 3] of any sizes."""

    choosing: list[np.ndarray]  # the ranges
    held_back: list[np.ndarray]  # on which the export is compared
    told: str  # what they are, for the description


def read(given: Path | None, checkpoint: Path, count: int) -> CalibrationImages:
    """Read `count` images to choose ranges, and half as many to judge them.

    Drawn by lot, always the same from the same files. Those that cannot be read, and those of one
    colour, are left out and printed.

    Args:
        given: a folder with images under it, an image list (`.txt`, `.csv`), or None: the training
            images of the checkpoint's run, else of the demo set.
        checkpoint: train_dir or prefix.
        count: at least 1. Where there are too few files, a third is held back.

    Raises:
        InputError: nothing to read, or fewer than two usable images.
    """
    files, told = _named(given) if given else _of_run(checkpoint)
    order = np.random.default_rng(0).permutation(len(files))
    wanted = count + (count + 1) // 2
    images: list[np.ndarray] = []
    with Progress(min(wanted, len(files)), "reading", "images") as progress:
        for index in order:
            if len(images) == wanted:
                break
            image = _usable(files[index])
            if image is not None:
                images.append(image)
                progress.advance()
    where = f"--calibration {given or told}"
    if len(images) < 2:
        problem = f"{len(images)} usable images are too few"
        raise InputError(f"{where}: {problem}; give about {Int8.calibration_images} of people")
    if len(images) < _FEW:
        few = f"only {len(images)} usable images"
        if len(images) == wanted:  # there may be more
            where, few = f"--calibration_images {count}", "few"
        better = f"give {Int8.calibration_images} or more"
        sys.stderr.write(f"warning: {where}: {few}, so ranges may be too small; {better}\n")
    choosing = min(count, max(1, len(images) * 2 // 3))  # a third judges, where there are few
    return CalibrationImages(images[:choosing], images[choosing:], told)


def _named(given: Path) -> tuple[list[str], str]:
    is_list = given.suffix.lower() in (".txt", ".csv")
    found = files_named([], [str(given)]) if is_list else files_named([given])
    return sorted(map(str, found)), given.name


def _of_run(checkpoint: Path) -> tuple[list[str], str]:
    """The training images of the run that a checkpoint is of; those of the demo set, else."""
    files = []
    try:
        for dataset in datasets_of_run(str(checkpoint)):
            files += read_split(checked_dataset(dataset), "train").paths
        problem = "no run beside it says what it was trained on"
    except InputError as error:
        problem = str(error)
    if files:
        return sorted(files), "training images of the run"
    todo = "ranges come from the demo set; name images like yours with --calibration"
    sys.stderr.write(f"warning: {checkpoint}: {problem}: {todo}\n")
    return sorted(read_split(checked_dataset(None), "train").paths), "demo set"


def _usable(file: str) -> np.ndarray | None:
    """An image, or None and a line that says why not."""
    try:
        image = read_image(file)
    except InputError as error:
        sys.stderr.write(f"left out: {error}\n")
        return None
    if image.min() == image.max():
        sys.stderr.write(f"left out: {file}: is of one colour\n")
        return None
    return image
