"""How images look: size, light, sharpness, and which are nearly the same."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mgn.system.progress import Progress

ALIKE = 8  # of the 128 bits of two hashes: up to so many differ when an image is saved again
_SIDE = 8  # steps of light to the right and downwards, in a hash
_HEIGHT, _WIDTH = 128, 64  # at which sharpness is judged; Market-1501's size
_FLAT = 1.0  # variance of grey levels below which there is nothing to be sharp or blurred
_ROWS = 64  # of hashes compared at once: 50 MB for 100,000 images


class Appearance(NamedTuple):
    """What is kept of an image once it was looked at: about a hundred bytes."""

    height: int
    width: int
    light: float  # mean grey level, 0 to 255
    sharpness: float  # variance of the second derivative by that of the grey levels
    hash: np.ndarray  # uint64 [2]


def look_at(image: np.ndarray) -> Appearance:
    """Measure uint8 RGB [H, W, 3].

    The hash tells where light grows to the right and downwards (a difference hash), and so stays
    nearly the same when an image is compressed again, resized, or made lighter.
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    sized = cv2.resize(grey, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    contrast = float(sized.var())
    sharpness = float(cv2.Laplacian(sized, cv2.CV_32F).var()) / max(contrast, _FLAT)
    columns = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    rows = cv2.resize(grey, (_SIDE, _SIDE + 1), interpolation=cv2.INTER_AREA)
    to_the_right = columns[:, 1:] > columns[:, :-1]
    downwards = rows[1:] > rows[:-1]
    bits = np.concatenate([to_the_right.ravel(), downwards.ravel()])
    return Appearance(
        height, width, float(grey.mean()), sharpness, np.packbits(bits).view(np.uint64)
    )


def near_copies(
    hashes: np.ndarray, identities: Sequence[int], most: int
) -> tuple[list[tuple[int, int, int]], int]:
    """Pairs of images of different identities that look nearly the same.

    Args:
        hashes: uint64 [N, 2].
        identities: N of them.
        most: pairs to return, so that many flat images, all alike, fill no memory.

    Returns:
        (bits that differ, first, second), the most alike first; first < second; and how many
        there are in all.
    """
    identities = np.asarray(identities)
    first, second = np.ascontiguousarray(hashes.reshape(-1, 2).T)  # the halves of each hash
    found = []
    total = 0
    with Progress(len(hashes), "comparing", "images") as progress:
        for start in range(0, len(hashes), _ROWS):
            rows = slice(start, start + _ROWS)
            different = np.bitwise_count(first[rows, None] ^ first[start:])
            different += np.bitwise_count(second[rows, None] ^ second[start:])
            # Each pair once, and not those of one identity.
            i, j = np.nonzero(different <= ALIKE)
            of_two = (i < j) & (identities[start + i] != identities[start + j])
            i, j = i[of_two], j[of_two]
            total += len(i)
            bits = different[i, j]
            nearest = np.argsort(bits, kind="stable")[:most]
            columns = bits[nearest], start + i[nearest], start + j[nearest]
            found += zip(*(column.tolist() for column in columns), strict=True)
            found = sorted(found)[:most]
            progress.advance(len(different))
    return found, total
