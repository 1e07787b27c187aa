"""What a target is: which files it makes, and how the program that loads them is fed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.deploy.source import Source


class Choices(NamedTuple):
    """What the user chose; most targets have no use for it."""

    pre: bool = False  # onnx: images of 0 to 255, mean and deviation inside
    length_1: bool = False  # onnx: embeddings of length 1
    half: bool = False  # openvino, tflite: weights as float16
    dynamic_range: bool = False  # tflite: weights as whole numbers of 8 bits
    rgb: bool = False  # openvino: images in RGB, not BGR


class Target(NamedTuple):
    """A program that loads an export."""

    writes: str  # what, in a few words
    write: Callable[[Source, Sequence[Path], Choices], None]  # to temporary paths of `files`
    run: Callable[[Sequence[Path], np.ndarray, Choices], np.ndarray]  # uint8 RGB [N, H, W, 3]
    files: Callable[[Path], list[Path]]  # from what the user named
    runtime: str  # what `run` runs in
    packages: tuple[str, ...] = ()  # that it needs, by the names by which Python imports them
    holds: tuple[str, ...] = ()  # of a folder: all its files
    length_1: bool = False  # its embeddings are of length 1
    takes: tuple[str, ...] = ()  # names of `Choices` that it knows


def itself(output: Path) -> list[Path]:
    """Of a target that makes one file, or one folder."""
    return [output]
