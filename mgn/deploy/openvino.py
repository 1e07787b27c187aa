"""`openvino`: an IR with its preprocessing inside, in the form of the Open Model Zoo's networks."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mgn.deploy.source import Source
from mgn.deploy.target import Choices, Target, described, nchw
from mgn.inference.exported import METADATA
from mgn.system.apart import apart
from mgn.system.errors import CheckError, first_line

DATA, EMBEDDING = "data", "reid_embedding"  # the zoo's names, as of person-reidentification-retail


def _files(output: Path) -> list[Path]:
    return [output, output.with_suffix(".bin")]


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    options = source.options
    pixels = options.mean, options.std
    said = described(source, choices)
    _apart(_convert, source.path, paths, choices, source.size, pixels, said)


def _run(paths: Sequence[Path], images: np.ndarray, choices: Choices) -> np.ndarray:
    given = images if choices.rgb else images[..., ::-1]
    return _apart(_infer, paths, nchw(given).astype(np.uint8))


def _apart(function: Callable, *arguments: object) -> object:
    """In a process of its own.

    OpenVINO 2026.4 leaves the thread that calls it an alternate signal stack that is unmapped: the
    next Ctrl-C would be a segmentation fault. And it reports its use unless `CI` is set.
    """
    try:
        return apart(function, *arguments)
    except (RuntimeError, OSError) as error:
        raise CheckError(f"OpenVINO: {first_line(error)}") from None


def _convert(
    pb_path: Path,
    paths: Sequence[Path],
    choices: Choices,
    size: tuple[int, int],
    pixels: tuple[Sequence[float], Sequence[float]],
    described: str,
) -> None:
    os.environ["CI"] = "true"

    import openvino
    from openvino.preprocess import ColorFormat, PrePostProcessor

    model = openvino.Core().read_model(str(pb_path))
    processor = PrePostProcessor(model)
    given = processor.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NCHW"))
    given.model().set_layout(openvino.Layout("NHWC"))
    steps = given.preprocess().convert_element_type(openvino.Type.f32)
    if not choices.rgb:
        given.tensor().set_color_format(ColorFormat.BGR)
        steps.convert_color(ColorFormat.RGB)
    mean, std = pixels
    steps.mean(list(mean)).scale(list(std))
    model = processor.build()
    model.reshape([1, 3, *size])
    for port, name in ((model.input(), DATA), (model.output(), EMBEDDING)):
        port.get_node().set_friendly_name(name)
        port.get_tensor().set_names({name})
    model.set_rt_info(described, METADATA)
    openvino.save_model(model, str(paths[0]), compress_to_fp16=choices.half)
    paths[0].with_suffix(".bin").replace(paths[1])  # a pair has one name and two folders here


def _infer(paths: Sequence[Path], images: np.ndarray) -> np.ndarray:
    os.environ["CI"] = "true"

    import openvino

    model = openvino.Core().read_model(str(paths[0]), str(paths[1]))
    model.reshape([len(images), *images.shape[1:]])
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({DATA: images})[EMBEDDING]


TARGET = Target(
    writes="an IR (.xml and .bin): data u8 BGR [1, 3, H, W], preprocessing inside; reshapeable",
    write=_write,
    run=_run,
    files=_files,
    runtime="OpenVINO",
    packages=("openvino",),
    takes=("half", "rgb"),
)
