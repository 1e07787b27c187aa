"""What a target is: which files it makes, and how the program that loads them is fed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.config.options import Int8
from mgn.deploy.source import Source


class Choices(NamedTuple):
    """What the user chose; most targets have no use for it."""

    pre: bool = False  # onnx: images of 0 to 255, mean and deviation inside
    length_1: bool = False  # onnx: embeddings of length 1
    half: bool = False  # openvino, tflite: weights as float16
    dynamic_range: bool = False  # tflite: weights as whole numbers of 8 bits
    int8: Int8 | None = None  # openvino: convolutions of whole numbers of 8 bits
    rgb: bool = False  # openvino: images in RGB, not BGR
    input_size: tuple[int, int] | None = None  # deep_sort: of images, if not the network's own


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
    # In place of `write`, of images that choose ranges: float32 [N, height, width, 3], normalised.
    # Returns the names of the convolutions that stay in float32.
    write_int8: Callable[[Source, Sequence[Path], Choices, np.ndarray], list[str]] | None = None
    describe: Callable[[Sequence[Path], str], None] | None = None  # anew, once proven


def described(source: Source, choices: Choices) -> str:
    """What a target's file says of itself, as JSON: the export's own description."""
    smaller = {"precision": "float16"} if choices.half else {}
    if choices.dynamic_range:
        smaller = {"precision": "int8, computed as float32"}
    if choices.int8:
        smaller = {"precision": "int8"}
    sized = {"input_size": list(choices.input_size)} if choices.input_size else {}
    return json.dumps(source.description | smaller | sized, sort_keys=True)


def standardised(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Images [N, H, W, 3] less a mean, over a deviation: float32."""
    return (np.float32(images) - np.float32(mean)) / np.float32(std)


def nchw(images: np.ndarray) -> np.ndarray:
    """Any [N, H, W, 3] to float32 [N, 3, H, W]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def over_length(features: np.ndarray) -> np.ndarray:
    """Each row [N, D] divided by its length, as a program does by itself."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def itself(output: Path) -> list[Path]:
    """Of a target that makes one file, or one folder."""
    return [output]
