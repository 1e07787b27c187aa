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


def image() -> np.ndarray:
    """The image, uint8 RGB [128, 64, 3]: slanted waves, of integers alone, the same everywhere."""
    row, column, channel = np.ogrid[:128, :64, :3]
    wave = (5 * row + 7 * column * (channel + 1) + 60 * channel) % 512
    return np.abs(wave - 256).clip(0, 255).astype(np.uint8)


def write(path: Path) -> None:
    """Make a PNG of it, for a model that takes files."""
    if not cv2.imwrite(str(path), cv2.cvtColor(image(), cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: could not be written")


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


def check_model(
    threshold: Threshold, model: str | None, embed: Callable[[], np.ndarray | None]
) -> None:
    """Raise `InputError` unless a threshold was made for the embeddings of this model.

    Args:
        threshold: a number without a file is for any.
        model: its hash; None: not known.
        embed: the model's embedding of `image`, float32 [D]; None: it takes no such image.
    """
    if not threshold.path or (model and model == threshold.model):
        return
    where = f"--threshold {threshold.path}"
    number = f"or give the number itself (--threshold {threshold.distance:g})"
    if threshold.probe is None or (own := embed()) is None:
        problem = "whether it was made for this model cannot be seen"
        raise InputError(f"{where}: {problem}; make it with evaluate.py --model, {number}")
    try:
        known = np.frombuffer(base64.b64decode(threshold.probe, validate=True), "<f4")
    except (ValueError, binascii.Error):
        raise InputError(f"{where}: its model's probe is damaged; make the file again") from None
    if known.shape != own.shape or not np.linalg.norm(known - own) <= _SAME:
        how = f" ({np.linalg.norm(known - own):.3f} apart)" if known.shape == own.shape else ""
        problem = f"made for another model{how}"
        raise InputError(f"{where}: {problem}; make one with evaluate.py --model for this one")
