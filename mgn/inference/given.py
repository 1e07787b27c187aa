"""What an embedder is given: images that are what they should be, or why they are not."""

from collections.abc import Iterable
from pathlib import PurePath

import numpy as np

from mgn.system.errors import ImageError, InputError

_WANTED = "must be uint8 RGB [H, W, 3]"
_FILE = "read the file: mgn.data.decoding.read_image(path)"


def checked(images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Images as every form of a model takes them: uint8 RGB [H, W, 3], H and W above 0.

    Nothing is converted, as nobody can tell what a number of another type stands for: as uint8,
    floats of 0 to 1 are black images, of which one looks like another.

    Args:
        images: a list, an array [N, H, W, 3], or anything else that has one image after another.

    Raises:
        ImageError: an image is something else. It tells type, shape and what to do.
        InputError: this is a single image, or nothing that has images.
    """
    if isinstance(images, str | bytes | PurePath):
        raise InputError(f"a name instead of a list of images; {_FILE}")
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        told = f"{images.dtype} {list(images.shape)}"
        raise InputError(f"{told} instead of a list of images; give a single one as [image]")
    try:
        listed = list(images)
    except TypeError:
        kind = type(images).__name__
        raise InputError(f"{kind} instead of a list of images, each uint8 RGB [H, W, 3]") from None
    for position, image in enumerate(listed):
        problem = _problem(image)
        if problem:
            raise ImageError(position, problem)
    return [np.asarray(image) for image in listed]


def _problem(image: object) -> str | None:
    """What is wrong with an image, and what to do; None: nothing."""
    if image is None:
        return f"None: {_WANTED}; cv2.imread gives None where it cannot read a file"
    if not isinstance(image, np.ndarray):
        advice = _FILE if isinstance(image, str | bytes | PurePath) else "try np.asarray(image)"
        return f"{type(image).__name__}: {_WANTED}; {advice}"
    told = f"{image.dtype} {list(image.shape)}: {_WANTED}"
    if 0 in image.shape:
        return f"{told}, H and W above 0; leave it out"
    shape = _advice_on_shape(image.shape)
    kind = _advice_on_type(image.dtype)
    if shape or kind:
        return "; ".join(filter(None, [told, shape, kind]))
    if np.ma.is_masked(image):
        return f"{told}, but pixels are masked; fill them: image.filled(0)"
    return None


def _advice_on_shape(shape: tuple[int, ...]) -> str | None:
    if len(shape) == 3 and shape[2] == 3:
        return None
    if len(shape) == 3 and shape[0] == 3:
        return "channels last: image.transpose(1, 2, 0)"
    if len(shape) == 2:
        return "grey: np.stack([image] * 3, axis=-1)"
    if len(shape) == 3 and shape[2] == 1:
        return "grey: np.concatenate([image] * 3, axis=-1)"
    if len(shape) == 3 and shape[2] == 4:
        return "drop the fourth channel: image[..., :3]"
    if len(shape) == 4:
        return "a batch inside of a list: give the batch itself, or a list of its images"
    return "not an image"


def _advice_on_type(dtype: np.dtype) -> str | None:
    if dtype == np.uint8:
        return None
    to_uint8 = "astype(np.uint8)"
    if dtype.kind == "b":
        return f"multiply by 255: (255 * image).{to_uint8}"
    if dtype == np.uint16:
        return f"if white is 65535: np.rint(image / 257).{to_uint8}; if it is 255: image.{to_uint8}"
    if dtype.kind == "f":
        scaled = f"floats in 0 to 1: multiply by 255 and round, np.rint(255 * image).{to_uint8}"
        return f"{scaled}; floats in 0 to 255: np.rint(image).{to_uint8}"
    if dtype.kind in "iu":
        return f"if its numbers are 0 to 255: image.{to_uint8}"
    return "convert it to uint8"
