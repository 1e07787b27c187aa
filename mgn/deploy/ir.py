"""An IR made and run by OpenVINO, each in a process of its own, which loads no TensorFlow."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.system.apart import apart
from mgn.system.errors import CheckError, first_line

DATA, EMBEDDING = "data", "reid_embedding"  # the zoo's names, as of person-reidentification-retail


class Form(NamedTuple):
    """What an IR takes, and what it says of itself."""

    size: tuple[int, int]  # height and width of images
    mean: Sequence[float]  # of R, G and B, 0 to 255: goes inside
    std: Sequence[float]  # likewise
    description: tuple[str, str]  # name and text
    rgb: bool = False  # it takes RGB, not BGR
    half: bool = False  # its weights are float16


def convert(pb_path: Path, paths: Sequence[Path], form: Form) -> None:
    """Make an IR, `.xml` and `.bin`, of a frozen graph from normalised images to embeddings.

    Raises:
        CheckError: OpenVINO cannot.
    """
    _apart(_convert, pb_path, paths, form)


def infer(paths: Sequence[Path], images: np.ndarray) -> np.ndarray:
    """The embeddings, float32 [N, D], of uint8 [N, 3, H, W], by the files that were made.

    Raises:
        CheckError: OpenVINO cannot.
    """
    return _apart(_infer, paths, images)


def _apart(function: Callable, *arguments: object) -> object:
    """In a process of its own.

    OpenVINO 2026.4 leaves the thread that calls it an alternate signal stack that is unmapped: the
    next Ctrl-C would be a segmentation fault. And it reports its use unless `CI` is set.
    """
    try:
        return apart(function, *arguments)
    except (RuntimeError, OSError) as error:
        raise CheckError(f"OpenVINO: {first_line(error)}; nothing was written") from None


def _convert(pb_path: Path, paths: Sequence[Path], form: Form) -> None:
    os.environ["CI"] = "true"

    import openvino
    from openvino.preprocess import ColorFormat, PrePostProcessor

    model = openvino.Core().read_model(str(pb_path))
    processor = PrePostProcessor(model)
    given = processor.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NCHW"))
    given.model().set_layout(openvino.Layout("NHWC"))
    steps = given.preprocess().convert_element_type(openvino.Type.f32)
    if not form.rgb:
        given.tensor().set_color_format(ColorFormat.BGR)
        steps.convert_color(ColorFormat.RGB)
    steps.mean(list(form.mean)).scale(list(form.std))
    model = processor.build()
    model.reshape([1, 3, *form.size])
    for port, name in ((model.input(), DATA), (model.output(), EMBEDDING)):
        port.get_node().set_friendly_name(name)
        port.get_tensor().set_names({name})
    name, text = form.description
    model.set_rt_info(text, name)
    _shrink_kernels(model)
    openvino.save_model(model, str(paths[0]), compress_to_fp16=form.half)
    paths[0].with_suffix(".bin").replace(paths[1])  # a pair has one name and two folders here


def _shrink_kernels(model: object) -> None:
    """Keep kernels whose rounding is written down as the whole numbers that it gives."""
    from openvino import Type, opset13

    for rounding in model.get_ordered_ops():
        if rounding.get_type_name() != "FakeQuantize":
            continue
        values, _, largest = (rounding.input_value(i).get_node() for i in range(3))
        if values.get_type_name() != "Constant":  # a map
            continue
        step = largest.data / np.float32(127)
        whole = opset13.constant(np.rint(values.data / step).astype(np.int8))
        kernel = opset13.multiply(opset13.convert(whole, Type.f32), opset13.constant(step))
        rounding.output(0).replace(kernel.output(0))


def _infer(paths: Sequence[Path], images: np.ndarray) -> np.ndarray:
    os.environ["CI"] = "true"

    import openvino

    model = openvino.Core().read_model(str(paths[0]), str(paths[1]))
    model.reshape([len(images), *images.shape[1:]])
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({DATA: images})[EMBEDDING]
