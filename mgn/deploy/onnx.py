"""`onnx`: one file for every ONNX runtime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgn.config.variants import MEAN, STD
from mgn.deploy.onnxfile import ONNX_PACKAGES, run_onnx, write_onnx
from mgn.deploy.source import RAW, Source, nchw_graph
from mgn.deploy.target import Choices, Target, described, itself, nchw, standardised


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    given = RAW if choices.pre else (MEAN, STD)
    graph_def = nchw_graph(source, given, choices.length_1)
    write_onnx(graph_def, paths[0], described(source, choices))


def _run(paths: Sequence[Path], images: np.ndarray, choices: Choices) -> np.ndarray:
    given = RAW if choices.pre else (MEAN, STD)
    return run_onnx(paths[0], nchw(standardised(images, *given)))


TARGET = Target(
    writes="an ONNX file: images [batch, 3, H, W], RGB with ImageNet's mean and deviation outside",
    write=_write,
    run=_run,
    files=itself,
    runtime="ONNX Runtime",
    packages=ONNX_PACKAGES,
    takes=("pre", "length_1"),
)
