"""The programs that load an export, by name; and a file made for one of them, proven first."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import cv2
import numpy as np

from mgn.data.demo import draw_image
from mgn.deploy import boxmot, deep_sort, deepstream, onnx, opencv, openvino, source, tflite, triton
from mgn.deploy.int8 import write_int8
from mgn.deploy.packages import needed
from mgn.deploy.target import Choices, Target
from mgn.export.price import Price
from mgn.inference.embedder import open_exported
from mgn.system.errors import CheckError, InputError
from mgn.system.files import atomic_write

TARGETS = {
    "onnx": onnx.TARGET,
    "boxmot": boxmot.TARGET,
    "deepstream": deepstream.TARGET,
    "triton": triton.TARGET,
    "openvino": openvino.TARGET,
    "deep_sort": deep_sort.TARGET,
    "tflite": tflite.TARGET,
    "opencv": opencv.TARGET,
}
_LARGEST = 1e-5  # difference over the largest value, of float32
_COSINE = 0.999  # least, of smaller weights
_IDENTITIES = 3  # drawn pedestrians that both go through


def deploy(
    name: str, pb_path: Path, output: Path, choices: Choices, overwrite: bool = False
) -> tuple[list[Path], float | Price]:
    """Make a target's files from a plain export, and put them in place once they are proven.

    Args:
        name: one of `TARGETS`.
        pb_path: a plain float32 export.
        output: file or folder to make.
        choices: of the user.
        overwrite: replace what is there.

    Returns:
        The files, and the largest difference between the embeddings of drawn pedestrians by the
        program's own runtime and by the export, over the largest value; of eight bits their price.

    Raises:
        InputError: another kind of export, a missing package, or something exists at `output`.
        CheckError: the runtime's embeddings differ by more than 1e-5 (smaller weights: a cosine
            below 0.999; eight bits: see `int8.write_int8`); nothing is put in place.
    """
    target = TARGETS[name]
    paths = target.files(Path(output))
    for path in paths:
        _check_replaceable(path, target)
    exported = source.read(pb_path)
    for package in target.packages:
        needed(package)
    with ExitStack() as stack:
        temporary = [stack.enter_context(atomic_write(path, overwrite)) for path in paths]
        what = f"{output} against {pb_path}"
        if choices.int8:
            return paths, write_int8(target, exported, temporary, choices, what)
        target.write(exported, temporary, choices)
        images = _drawn(choices.input_size or exported.size)
        made = target.run(temporary, images, choices)
        with closing(open_exported(Path(pb_path), rewrite=False)) as embed:
            divided = target.length_1 or choices.length_1 or embed.reduced
            expected = embed(images, flip=False) if divided else embed.original(images)
        exact = not (choices.half or choices.dynamic_range)
        return paths, _difference(made, expected, what, exact)


def _check_replaceable(path: Path, target: Target) -> None:
    """Of a folder: it has nothing but what this target made."""
    if not path.is_dir():
        return
    if not target.holds:
        raise InputError(f"{path}: is a folder; name a file to write")
    for file in sorted(path.rglob("*")):
        if not file.is_dir() and str(file.relative_to(path)) not in target.holds:
            raise InputError(f"{path}: holds {file.name}, of another program; name another folder")


def _drawn(size: tuple[int, int]) -> np.ndarray:
    """Pedestrians of the size that a program feeds: uint8 [N, H, W, 3]."""
    drawn = [draw_image(0, person, 1, 0) for person in range(1, _IDENTITIES + 1)]
    return np.stack([cv2.resize(image, size[::-1]) for image in drawn])


def _difference(made: np.ndarray, expected: np.ndarray, what: str, exact: bool) -> float:
    difference = float(np.abs(made - expected).max() / np.abs(expected).max())
    lengths = np.linalg.norm(made, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float(((made * expected).sum(axis=1) / lengths).min())
    right = difference <= _LARGEST if exact else cosine >= _COSINE
    if not right:
        problem = f"differs by {difference:.1e} of the largest value (cosine {cosine:.4f})"
        todo = "report this" if exact else "leave out --half and --dynamic_range"
        raise CheckError(f"{what}: {problem}; nothing was written; {todo}")
    return difference


def listed() -> Sequence[str]:
    """A line for each target."""
    width = max(map(len, TARGETS))
    return [f"{name:<{width}}  {target.writes}" for name, target in TARGETS.items()]
