"""`openvino`: an IR with its preprocessing inside, in the form of the Open Model Zoo's networks."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mgn.deploy import ir
from mgn.deploy.fake_quantised import fake_quantised
from mgn.deploy.source import Source
from mgn.deploy.target import Choices, Target, described, nchw
from mgn.inference.exported import METADATA


def _files(output: Path) -> list[Path]:
    return [output, output.with_suffix(".bin")]


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    _convert_graph(source.path, source, paths, choices)


def _write_int8(
    source: Source, paths: Sequence[Path], choices: Choices, prepared: np.ndarray
) -> list[str]:
    graph_def, kept = fake_quantised(source, prepared, choices.int8.keep_float)
    file = paths[0].with_suffix(".pb")
    try:
        file.write_bytes(graph_def.SerializeToString(deterministic=True))
        _convert_graph(file, source, paths, choices)
    finally:
        file.unlink(missing_ok=True)
    return kept


def _convert_graph(pb_path: Path, source: Source, paths: Sequence[Path], choices: Choices) -> None:
    options = source.options
    description = METADATA, described(source, choices)
    of_pixels = options.mean, options.std
    form = ir.Form(source.size, *of_pixels, description, choices.rgb, choices.half)
    ir.convert(pb_path, paths, form)


def _describe(paths: Sequence[Path], description: str) -> None:
    """Replace what an IR says of itself."""
    tree = ElementTree.parse(paths[0])
    tree.find(f"rt_info/{METADATA}").set("value", description)
    tree.write(paths[0])


def description_in(path: Path) -> str:
    """The description in an IR; empty if it has none.

    Raises:
        Exception: of any kind, for a damaged file.
    """
    entry = ElementTree.parse(path).getroot().find(f"rt_info/{METADATA}")
    return "" if entry is None else entry.get("value", "")


def _run(paths: Sequence[Path], images: np.ndarray, choices: Choices) -> np.ndarray:
    given = images if choices.rgb else images[..., ::-1]
    return ir.infer(paths, nchw(given).astype(np.uint8))


TARGET = Target(
    writes="an IR (.xml and .bin): data u8 BGR [1, 3, H, W], preprocessing inside; reshapeable",
    write=_write,
    run=_run,
    files=_files,
    runtime="OpenVINO",
    packages=("openvino",),
    takes=("half", "int8", "rgb"),
    write_int8=_write_int8,
    describe=_describe,
)
