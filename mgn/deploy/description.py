"""What a target's file says of itself, read from the file alone."""

import json
from collections.abc import Mapping
from pathlib import Path

from mgn.deploy import deepstream, openvino, tflite, triton
from mgn.deploy.packages import needed
from mgn.export.description import network_lines
from mgn.inference.exported import METADATA, metadata_of, read_graph_def
from mgn.system.errors import InputError, first_line


def as_text(path: Path) -> str:
    """A few lines for readers.

    Raises:
        InputError: not a file of a target, or one that does not describe itself.
    """
    file = _file_at(Path(path))
    description = description_of(file)
    try:
        lines = network_lines(description)
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{file}: its description is damaged ({error}); make it again") from None
    weights = [file.with_suffix(".bin")] if file.suffix == ".xml" else []
    size = sum(part.stat().st_size for part in (file, *weights) if part.exists())
    return "\n".join([f"{file}: {size / 1e6:.1f} MB", *lines])


def description_of(file: Path) -> Mapping:
    """The description in a target's file: that of the export that it was made of.

    Raises:
        InputError: as `as_text`.
    """
    read = _READERS.get(file.suffix)
    if read is None:
        raise InputError(f"{file}: must end in one of {', '.join(_READERS)}")
    try:
        found = read(file)
        description = json.loads(found) if found else {}
    except InputError:
        raise
    except Exception as error:  # each format's reader has its own kinds
        raise InputError(
            f"{file}: not a readable {file.suffix} ({first_line(error)}); make it again"
        ) from None
    if not description:
        raise InputError(f"{file}: has no description; name one made by python -m mgn.deploy")
    return description


def _file_at(path: Path) -> Path:
    """The model in a folder of deepstream or triton; a file as it is."""
    if not path.is_dir():
        return path
    for name in (deepstream.MODEL, triton.MODEL):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: has no {deepstream.MODEL} and no {triton.MODEL}; name a file")


def _of_onnx(file: Path) -> str:
    model = needed("onnx").load(str(file), load_external_data=False)
    return next((entry.value for entry in model.metadata_props if entry.key == METADATA), "")


def _of_graph(file: Path) -> str:
    return json.dumps(metadata_of(read_graph_def(file).node))


_READERS = {
    ".onnx": _of_onnx,
    ".xml": openvino.description_in,
    ".pb": _of_graph,
    ".tflite": tflite.description_in,
}
