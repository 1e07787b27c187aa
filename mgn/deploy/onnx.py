"""`onnx`: one file for every ONNX runtime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgn.config.variants import MEAN, STD
from mgn.deploy.onnxfile import ONNX_PACKAGES, run_onnx, write_onnx
from mgn.deploy.source import RAW, Source, nchw_graph
from mgn.deploy.target import Choices, Target, itself


def nchw(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W], 0 to 255."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    given = RAW if choices.pre else (MEAN, STD)
    write_onnx(nchw_graph(source, given, choices.length_1), paths[0], source.described)


def _run(paths: Sequence[Path], images: np.ndarray, choices: Choices) -> np.ndarray:
    mean, std = RAW if choices.pre else (MEAN, STD)
    shape = 1, 3, 1, 1
    given = (nchw(images) - np.float32(mean).reshape(shape)) / np.float32(std).reshape(shape)
    return run_onnx(paths[0], given)


TARGET = Target(
    writes="an ONNX file: images [batch, 3, H, W], RGB with ImageNet's mean and deviation outside",
    write=_write,
    run=_run,
    files=itself,
    runtime="ONNX Runtime",
    packages=ONNX_PACKAGES,
    takes=("pre", "length_1"),
)
