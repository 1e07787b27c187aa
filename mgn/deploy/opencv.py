"""`opencv`: the plain export as it is, run as OpenCV's `person_reid` sample does."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mgn.config.variants import MEAN, STD, options_in
from mgn.deploy.source import Source
from mgn.deploy.target import Choices, Target, itself, nchw, over_length, standardised
from mgn.inference.exported import metadata_of, read_graph_def
from mgn.system.errors import InputError


def _write(source: Source, paths: Sequence[Path], _: Choices) -> None:
    if (source.options.mean, source.options.std) != (MEAN, STD):
        problem = "has a mean and deviation of its own, and OpenCV's sample takes ImageNet's"
        raise InputError(f"{source.path}: {problem}; use the target onnx")
    shutil.copyfile(source.path, paths[0])


def _run(paths: Sequence[Path], images: np.ndarray, _: Choices) -> np.ndarray:
    """NCHW, RGB, with the network's mean and deviation outside."""
    options = options_in(metadata_of(read_graph_def(paths[0]).node))
    loaded = cv2.dnn.readNetFromTensorflow(str(paths[0]))
    loaded.setInput(nchw(standardised(images, options.mean, options.std)))
    return over_length(loaded.forward())


TARGET = Target(
    writes="the same file: mean and deviation, and the length, are outside",
    write=_write,
    run=_run,
    files=itself,
    runtime="OpenCV",
    length_1=True,
)
