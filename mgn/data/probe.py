"""An image that tells models apart: two that embed it alike are one, whatever kind of file."""

import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from mgn.config.threshold import Threshold
from mgn.system.errors import ImageError, InputError

# Of distance: exports differ from their checkpoint by 1e-5 and less, other weights by 0.1 and more.
_SAME = 0.005


class OtherModelError(InputError):
    """Something was made for another model, or (not `seen`) that cannot be told."""

    def __init__(self, problem: str, seen: bool):
        super().__init__(problem)
        self.seen = seen


def image() -> np.ndarray:
    """The image, uint8 RGB [128, 64, 3]: slanted waves, of integers alone, the same everywhere."""
    row, column, channel = np.ogrid[:128, :64, :3]
    wave = (5 * row + 7 * column * (channel + 1) + 60 * channel) % 512
    return np.abs(wave - 256).clip(0, 255).astype(np.uint8)


def write(path: Path) -> None:
    """Make a PNG of it, for a model that takes files."""
    if not cv2.imwrite(str(path), cv2.cvtColor(image(), cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: could not be written; check the free disk space")


def embedded_by(embed: Callable[[Sequence[np.ndarray]], np.ndarray]) -> np.ndarray | None:
    """What a model makes of it, float32 [D]; None: the model takes images of one size alone."""
    try:
        return embed([image()])[0]
    except ImageError:
        return None


def as_text(embedding: np.ndarray | None) -> str | None:
    """For a JSON file."""
    if embedding is None:
        return None
    return base64.b64encode(embedding.astype("<f4").tobytes()).decode()


def check_same(
    known_hash: str | None,
    known: np.ndarray,
    model: str | None,
    embed: Callable[[], np.ndarray | None],
) -> None:
    """Raise `OtherModelError` unless something was made for the embeddings of this model.

    Args:
        known_hash: of the model that it was made for; None: not known.
        known: that model's embedding of `image`, float32 [D]; empty: not known.
        model: this one's hash; None: not known.
        embed: this one's embedding of `image`, float32 [D]; None: it takes no such image.
    """
    if model and model == known_hash:
        return
    if not known.size or (own := embed()) is None:
        raise OtherModelError("cannot tell whether it was made for this model", seen=False)
    if known.shape != own.shape:
        sizes = f"{known.size} numbers an embedding, and this one has {own.size}"
        raise OtherModelError(f"made for another model ({sizes})", seen=True)
    apart = float(np.linalg.norm(known - own))
    if not apart <= _SAME:
        raise OtherModelError(f"made for another model ({apart:.3f} apart)", seen=True)


def check_model(
    threshold: Threshold, model: str | None, embed: Callable[[], np.ndarray | None]
) -> None:
    """Raise `InputError` unless a threshold was made for the embeddings of this model.

    Args:
        threshold: a number without a file is for any.
        model: its hash; None: not known.
        embed: the model's embedding of `image`, float32 [D]; None: it takes no such image.
    """
    if not threshold.path:
        return
    where = f"--threshold {threshold.path}"
    number = f"or give the number itself (--threshold {threshold.distance:g})"
    known = np.zeros(0, np.float32)
    if threshold.probe is not None:
        try:
            known = np.frombuffer(base64.b64decode(threshold.probe, validate=True), "<f4")
        except (ValueError, binascii.Error):
            problem = "its model's probe is damaged"
            raise InputError(f"{where}: {problem}; make the file again") from None
    try:
        check_same(threshold.model, known, model, embed)
    except OtherModelError as error:
        todo = f"make it with evaluate.py --model, {number}"
        if error.seen:
            todo = "make one with evaluate.py --model for this one"
        raise InputError(f"{where}: {error}; {todo}") from None
