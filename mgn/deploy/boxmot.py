"""`boxmot`: an ONNX file and its sidecar, as boxmot's trackers load a network of their own."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgn.config.variants import MEAN, STD
from mgn.deploy.onnxfile import ONNX_PACKAGES, run_onnx, write_onnx
from mgn.deploy.source import Source, nchw_graph
from mgn.deploy.target import Choices, Target, described, nchw, over_length, standardised

_SCHEMA = 1  # of its sidecars (boxmot/reid/core/artifacts.py)


def _files(output: Path) -> list[Path]:
    return [output, output.with_name(f"{output.name}.metadata.json")]


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    graph_def = nchw_graph(source, (MEAN, STD), length_1=False)
    write_onnx(graph_def, paths[0], described(source, choices))
    about = {
        "schema_version": _SCHEMA,
        "model_name": "mgn",
        "preprocess": "resize",
        "img_size": list(source.size),
    }
    paths[1].write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _run(paths: Sequence[Path], images: np.ndarray, _: Choices) -> np.ndarray:
    """Its preprocessing, which has ImageNet's mean and deviation of images in 0 to 1."""
    given = standardised(images / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return over_length(run_onnx(paths[0], nchw(given)))


TARGET = Target(
    writes="an ONNX file and its .metadata.json: boxmot resizes, normalises, divides by the length",
    write=_write,
    run=_run,
    files=_files,
    runtime="ONNX Runtime",
    packages=ONNX_PACKAGES,
    length_1=True,
)
