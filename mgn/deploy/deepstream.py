"""`deepstream`: an ONNX file and the ReID block of a tracker's configuration."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgn.deploy.onnxfile import ONNX_PACKAGES, run_onnx, write_onnx
from mgn.deploy.source import RAW, Source, nchw_graph
from mgn.deploy.target import Choices, Target, described, itself, nchw, over_length

MODEL, BLOCK = "mgn.onnx", "reid.yml"  # what the folder holds

# Its preprocessing is factor * (x - offsets) with one factor, where a deviation has three
# numbers; so mean and deviation are inside, and it passes images on as they are.
_BLOCK = """\
# Put this in place of the ReID block of a tracker's configuration, such as NvDCF's.
ReID:
  reidType: 2  # 1 in a configuration of NvDeepSORT
  batchSize: 100
  workspaceSize: 1000
  reidFeatureSize: {dimensions}
  reidHistorySize: 100
  inferDims: [3, {height}, {width}]
  networkMode: 0  # float32, as it was proven; 1: float16
  inputOrder: 0  # NCHW
  colorFormat: 0  # RGB
  offsets: [0.0, 0.0, 0.0]
  netScaleFactor: 1.0
  keepAspc: 0
  addFeatureNormalization: 1
  onnxFile: "{model}"  # make this an absolute path
"""


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    (folder,) = paths
    folder.mkdir()
    graph_def = nchw_graph(source, RAW, length_1=False)
    write_onnx(graph_def, folder / MODEL, described(source, choices))
    height, width = source.size
    filled = _BLOCK.format(dimensions=source.dimensions, height=height, width=width, model=MODEL)
    (folder / BLOCK).write_text(filled, encoding="utf-8")


def _run(paths: Sequence[Path], images: np.ndarray, _: Choices) -> np.ndarray:
    return over_length(run_onnx(paths[0] / MODEL, nchw(images)))


TARGET = Target(
    writes="a folder: an ONNX file with mean and deviation inside, and the tracker's ReID block",
    write=_write,
    run=_run,
    files=itself,
    runtime="ONNX Runtime",
    packages=ONNX_PACKAGES,
    holds=(MODEL, BLOCK),
    length_1=True,
)
