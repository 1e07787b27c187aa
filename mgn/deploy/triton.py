"""`triton`: a model's folder for the repository of NVIDIA's Triton server."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgn.deploy.onnxfile import ONNX_PACKAGES, run_onnx, write_onnx
from mgn.deploy.source import FEATURES, IMAGES, RAW, Source, nchw_graph
from mgn.deploy.target import Choices, Target, described, itself, nchw

MODEL = Path("1") / "model.onnx"  # of version 1; names that the server looks for
CONFIG = "config.pbtxt"

# Without a `name`, which would have to be that of the folder: users rename it.
_CONFIG = """\
backend: "onnxruntime"
max_batch_size: 64
input [
  {{ name: "{images}" data_type: TYPE_FP32 dims: [ 3, {height}, {width} ] }}
]
output [
  {{ name: "{features}" data_type: TYPE_FP32 dims: [ {dimensions} ] }}
]
dynamic_batching {{
  preferred_batch_size: [ 8, 32 ]
  max_queue_delay_microseconds: 2000
}}
model_warmup [
  {{
    name: "one image"
    batch_size: 1
    inputs {{
      key: "{images}"
      value {{ data_type: TYPE_FP32 dims: [ 3, {height}, {width} ] random_data: true }}
    }}
  }}
]
"""


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    (folder,) = paths
    (folder / MODEL).parent.mkdir(parents=True)
    graph_def = nchw_graph(source, RAW, length_1=True)
    write_onnx(graph_def, folder / MODEL, described(source, choices))
    height, width = source.size
    names = {"images": IMAGES, "features": FEATURES, "dimensions": source.dimensions}
    filled = _CONFIG.format(height=height, width=width, **names)
    (folder / CONFIG).write_text(filled, encoding="utf-8")


def _run(paths: Sequence[Path], images: np.ndarray, _: Choices) -> np.ndarray:
    return run_onnx(paths[0] / MODEL, nchw(images))


TARGET = Target(
    writes="a model's folder: config.pbtxt and an ONNX file; RGB of 0 to 255 to length 1",
    write=_write,
    run=_run,
    files=itself,
    runtime="ONNX Runtime",
    packages=ONNX_PACKAGES,
    holds=(str(MODEL), CONFIG),
    length_1=True,
)
