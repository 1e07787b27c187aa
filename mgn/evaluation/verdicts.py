"""Verdicts on cameras: like the images that a model was trained on, or unlike, and what differs."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LIKE, UNLIKE = "like training", "unlike: expect a loss"
LIMIT = 0.5  # of a shift, from which on images are unlike; measured in doc/results-decisions.md
# From where on something is named as what differs; doc/results-decisions.md has the measurements.
_DARKER, _LIGHTER = 0.75, 1.33  # of the training images' grey level
_CAST = 0.05  # of a channel's share of red, green and blue
_SMALL = 0.5  # of the height that the network looks at
_BLURRED = 0.1  # sharpness; sharp images have 0.29 and more
_ONE_PART = 3.0  # times the squared shift of the other thirds of the image
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
_THIRDS = ("top", "middle", "bottom")
_NOTHING = "not size, light, colour or sharpness: clothes, pose, cropping, place or compression"
MEANING = (
    "how far a feature's mean moved, in its own spread."
    f" From {LIMIT} on, expect a loss. A smaller shift does not rule one out"
    " (doc/results-decisions.md)"
)
Colour = tuple[float, float, float]  # mean RGB, 0 to 255


@dataclass(frozen=True)
class Looks:
    """How images look: medians, and their mean colour."""

    height: float  # pixels
    width: float
    sharpness: float  # see `data.appearance.Appearance`
    colour: Colour


@dataclass(frozen=True)
class Camera:
    """What was found of the images of one camera."""

    name: str
    images: int  # in all
    looked_at: int
    unreadable: int  # of those that were to be looked at
    verdict: str
    shift: float | None = None  # in spreads of a feature; None: too few images
    looks: Looks | None = None
    differs: tuple[str, ...] = ()  # in words; of an unlike camera

    @property
    def line(self) -> str:
        """Verdict and counts: "like training (shift 0.21; 200 of 272 images)"."""
        shift = "" if self.shift is None else f"shift {self.shift:.2f}; "
        unreadable = f", {self.unreadable} unreadable" if self.unreadable else ""
        return f"{self.verdict} ({shift}{self.looked_at} of {self.images} images{unreadable})"


@dataclass(frozen=True)
class Familiarity:
    """The verdicts on the cameras of a folder."""

    model: str
    height: int  # pixels that the network looks at
    colour: Colour  # of the training images, from the first batch norm
    cameras: tuple[Camera, ...]

    @property
    def alarms(self) -> int:
        """How many cameras are unlike training."""
        return sum(camera.verdict == UNLIKE for camera in self.cameras)

    def values(self) -> dict:
        """Everything, as JSON takes it."""
        return dataclasses.asdict(self) | {"limit": LIMIT}

    def text(self) -> str:
        """Everything, for people."""
        lines = [f"like the training images of {self.model}?"]
        width = max(len(camera.name) for camera in self.cameras)
        for camera in self.cameras:
            lines.append(f"{camera.name:<{width}}  {camera.line}")
            lines += [f"    {reason}" for reason in camera.differs]
        lines.append(f"shift: {MEANING}")
        return "\n".join(lines)


def what_differs(looks: Looks, height: int, colour: Colour, thirds: Sequence[float]) -> list[str]:
    """What differs from training, in words; never empty.

    Colour and light are compared with the training images', all cameras together. Of size and
    sharpness a network holds nothing, so they have fixed bounds.

    Args:
        looks: of the images.
        height: pixels that the network looks at.
        colour: of the training images.
        thirds: squared shift of the top, the middle and the bottom third of the image.
    """
    found = []
    if looks.height < _SMALL * height:
        found.append(f"small: {looks.height:.0f} pixels high; the network looks at {height}")
    here, there = np.array(looks.colour), np.array(colour)
    grey, held = here @ _GREY, there @ _GREY
    for name, is_so in (("dark", grey < _DARKER * held), ("light", grey > _LIGHTER * held)):
        if is_so:
            found.append(f"{name}: grey level {grey:.0f}; in training {held:.0f}")
    shares = [rgb / max(rgb.sum(), 1) for rgb in (here, there)]
    if np.abs(shares[0] - shares[1]).max() > _CAST:
        found.append(f"colour: mean RGB {_numbers(here)}; in training {_numbers(there)}")
    if looks.sharpness < _BLURRED:
        found.append(f"blurred: sharpness {looks.sharpness:.2f}; sharp images have 0.3 and more")
    most = int(np.argmax(thirds))
    if thirds[most] > _ONE_PART * max(np.median(thirds), 0):
        found.append(f"above all the {_THIRDS[most]} third of the image: covered, or cropped?")
    return found or [_NOTHING]


def _numbers(rgb: Sequence[float]) -> str:
    return " ".join(f"{value:.0f}" for value in rgb)
