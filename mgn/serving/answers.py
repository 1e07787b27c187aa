"""What a model server says, checked: what its model takes, its embeddings, its errors."""

import re
from typing import NamedTuple

import numpy as np

from mgn.config.options import EMBEDDING_SIZE
from mgn.config.signatures import (
    INPUT_IMAGE,
    MEAN_AND_STD,
    PIXELS_SIGNATURE,
    REID_EMBEDDING,
    SERVING_SIGNATURE,
    SMALLER_SIGNATURE,
    WHOLE_EMBEDDING,
    WHOLE_SIGNATURE,
)
from mgn.serving.place import Place
from mgn.system.errors import CheckError, InputError

FILES, PIXELS, NORMALISED = "DT_STRING", "DT_UINT8", "DT_FLOAT"  # TensorFlow's names of types
_SHORTEST = 1e-12  # as in the networks' own normalisation
# Lines of TensorFlow's that say nothing.
CHECK_SERVER = "check which model it serves"
_FRAME = re.compile(r"^(Graph execution error|Detected at|Node:|\[\[)")


class RefusedError(InputError):
    """The server refuses an input."""


class NotFoundError(InputError):
    """The server has no such model, or no such version of it."""


class Tensor(NamedTuple):
    """A tensor that a signature has."""

    dtype: str  # "DT_FLOAT"
    shape: list[int] | None  # -1: of any size; None: of any rank


class Signature(NamedTuple):
    """A signature of a served model: tensors by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class Question(NamedTuple):
    """What a model is asked for."""

    signature: str
    output: str  # of that signature
    given: str = INPUT_IMAGE  # its input


EMBEDDINGS = Question(SERVING_SIGNATURE, REID_EMBEDDING)
OWN_PIXELS = Question(PIXELS_SIGNATURE, MEAN_AND_STD)
WHOLE = Question(WHOLE_SIGNATURE, WHOLE_EMBEDDING)
SMALLER = Question(SMALLER_SIGNATURE, REID_EMBEDDING, WHOLE_EMBEDDING)


class Served(NamedTuple):
    """A served model of this toolkit."""

    version: int
    dtype: str  # of what it takes: FILES, PIXELS or NORMALISED
    size: tuple[int, int] | None  # of a plain model: its height and width
    own_pixels: bool  # whether it can say by which mean and deviation images are normalised
    numbers: int = EMBEDDING_SIZE  # of an embedding
    reduced: bool = False  # whether it is plain, and makes smaller vectors of whole ones


def served(
    place: Place, answered: int | None, asked: int | None, signatures: dict[str, Signature]
) -> Served:
    """What a server's description of its model comes to.

    Args:
        place: named in messages.
        answered: the version that is described; None: the server does not say.
        asked: the version that was asked for; None: any.
        signatures: by name.

    Raises:
        InputError: it is another network's, or made to take what this client cannot send.
        CheckError: it is of another version, or nobody says of which.
    """
    try:
        ours = signatures[SERVING_SIGNATURE]
        given, made = ours.inputs[INPUT_IMAGE], ours.outputs[REID_EMBEDDING]
    except KeyError:
        what = f"no signature {SERVING_SIGNATURE} from {INPUT_IMAGE} to {REID_EMBEDDING}"
        raise InputError(
            f"{place.where}: model {place.model} has {what}; serve an export of MGN"
        ) from None
    told = f"{place.where}: model {place.model}: {INPUT_IMAGE} is {given.dtype} {given.shape or ''}"
    rank = None if given.shape is None else len(given.shape)
    fits = rank in (None, 1) if given.dtype == FILES else rank in (None, 4)
    size = None
    if rank == 4:
        fits = fits and given.shape[3] in (3, -1)
        if -1 not in given.shape[1:3]:
            size = tuple(given.shape[1:3])
            fits = fits and given.dtype == NORMALISED and min(size) > 0
    if given.dtype not in (FILES, PIXELS, NORMALISED) or not fits:
        wanted = f"{FILES} [-1], or {PIXELS} or {NORMALISED} [-1, H, W, 3]"
        raise InputError(f"{told.strip()}, not {wanted}; serve an export of MGN")
    if made.dtype != NORMALISED:
        what = f"{REID_EMBEDDING} is {made.dtype}, not {NORMALISED}; serve an export of MGN"
        raise InputError(f"{place.where}: model {place.model}: {what}")
    version = asked if answered is None else answered
    if version is None:
        what = "does not say which version of its model answers; name it with --version"
        raise CheckError(f"{place.where}: {what}")
    if asked is not None:
        check_version(place, version, asked)
    numbers = made.shape[1] if made.shape and len(made.shape) == 2 else -1
    reduced = {WHOLE_SIGNATURE, SMALLER_SIGNATURE} <= set(signatures)
    about = PIXELS_SIGNATURE in signatures, numbers if numbers > 0 else EMBEDDING_SIZE, reduced
    return Served(version, given.dtype, size, *about)


def check_version(place: Place, answered: int | None, asked: int) -> None:
    """Raise `CheckError` unless an answer is of the version that was asked for."""
    if answered != asked:
        other = "a version that it does not tell" if answered is None else f"version {answered}"
        raise CheckError(f"{place.where}: {other} answers, not version {asked}; start again")


def embedding_of(rows: np.ndarray, plain: bool, numbers: int = EMBEDDING_SIZE) -> np.ndarray:
    """One image's embedding, float32 [D] of length 1, of a server's answer.

    Args:
        rows: float32 [1, D], of length 1; of a plain model [2, D], of any length: the image and
            its mirror image.
        plain: whether it is one.
        numbers: D, that an embedding has.

    Raises:
        CheckError: another shape, NaN, infinite, of length 0; the message follows a file's name.
    """
    if rows.shape != (1 + plain, numbers):
        raise CheckError(
            f"the server's answer {list(rows.shape)} is not an embedding; {CHECK_SERVER}"
        )
    if not np.isfinite(rows).all():
        raise CheckError(f"the server's embedding is NaN or infinite; {CHECK_SERVER}")
    total = rows.sum(axis=0, dtype=np.float64)  # in which no length overflows
    length = np.linalg.norm(total)
    lengths = [*np.linalg.norm(rows.astype(np.float64), axis=1), length]
    if min(lengths) <= _SHORTEST:
        raise CheckError(f"the server's embedding has length 0; {CHECK_SERVER}")
    if not plain and abs(length - 1) >= 1e-2:
        raise CheckError(f"the server's embedding has length {length:.3g}, not 1; {CHECK_SERVER}")
    return (total / length).astype(np.float32)


def mean_and_std_of(place: Place, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and deviation in a model's answer, of 0 to 255; `CheckError` if it has none."""
    if rows.shape != (1, 6) or not np.isfinite(rows).all() or rows[0, 3:].min() <= 0:
        what = f"answers {rows.tolist() if rows.size < 10 else list(rows.shape)}"
        raise CheckError(
            f"{place.where}: {PIXELS_SIGNATURE} {what}, not mean and deviation; {CHECK_SERVER}"
        )
    return rows[0, :3], rows[0, 3:]


def error_text(message: str) -> str:
    """The line of a server's error that tells it: "image 0: has no pixels", say."""
    lines = [line.strip() for line in str(message).splitlines()]
    found = next((line for line in lines if line and not _FRAME.match(line)), "no reason given")
    found = re.sub(
        r"^.*assertion failed: \[picture\] \[(\d+)\] \[(.*?)\].*", r"image \1: \2", found
    )
    return found.split("[[")[0].strip()[:300]
