"""A small drawn data set like Market-1501: pedestrians under three cameras of unlike colours."""

import functools
import itertools
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np

from mgn.config.dataset import DataSet
from mgn.config.settings import DEMO_SET
from mgn.data.formats.table import recognise
from mgn.data.pedestrians import HEIGHT, SCALE, WIDTH, Body, draw_person, make_look
from mgn.data.records import read_split
from mgn.system.errors import InputError
from mgn.system.files import atomic_write

TRAIN_IDENTITIES, TEST_IDENTITIES = 24, 24  # numbered from 1, training identities first
TRAIN_IMAGES, QUERY_IMAGES, GALLERY_IMAGES = 4, 1, 2  # of each identity by each camera
DISTRACTORS, JUNK = 40, 6  # images, in the gallery only
MARKER = "demo.txt"  # its text says which drawing and seed a finished folder holds
_DRAWING = 1  # raise it when a pixel changes, so that an older set is not taken for this one
_MARGIN = 6  # pixels of a place beyond the image: each view looks at another part of it


# A channel becomes gain * channel ** gamma + offset, 0 to 1. A person's size is in image heights.
Camera = namedtuple("Camera", "gain offset gamma size blur place")
# Wall, its blocks' (width, height), how unlike they are, floor, its strokes' (width, height).
_STREET = ((180, 110, 80), (48, 20), 0.1, (165, 150, 135), (250, 2))
_PARK = ((70, 115, 60), (18, 22), 0.3, (120, 150, 80), (3, 16))
_HALL = ((165, 170, 170), (60, 240), 0.4, (110, 110, 110), (2, 90))
# So unlike that they outweigh the clothes, in which identity lies, until a network has learnt.
CAMERAS = (
    Camera((0.95, 0.72, 0.42), (0.06, 0.02, 0.0), gamma=0.9, size=0.88, blur=0.4, place=_STREET),
    Camera((0.5, 0.65, 0.75), (0.08, 0.14, 0.22), gamma=0.8, size=0.80, blur=0.7, place=_PARK),
    Camera((0.45, 0.72, 0.42), (0.0, 0.05, 0.02), gamma=1.2, size=0.92, blur=0.55, place=_HALL),
)


def checked_dataset(dataset: DataSet | None, *splits: str) -> DataSet:
    """That of `--dataset`, recognised, or the demo set; `InputError` if a split is wrong."""
    dataset, _ = recognise(dataset or make(DEMO_SET))
    for split in splits:
        read_split(dataset, split)
    return dataset


def make(directory: Path, seed: int = 0, train_identities: int = TRAIN_IDENTITIES) -> Path:
    """Draw the set into `directory` unless it is there; `InputError` if anything else is there.

    Query and gallery show `TEST_IDENTITIES` others, whatever the number of training identities.
    """
    directory = Path(directory)
    plan = _plan(train_identities)
    # The text names this file as it was called when the first sets were drawn; they stay valid.
    marker = f"pedestrians drawn by mgn/demo.py, drawing {_DRAWING}, seed {seed}\n"
    if train_identities != TRAIN_IDENTITIES:
        marker += f"{train_identities} training identities\n"
    marker = marker.encode()
    if directory.exists():
        marked = (directory / MARKER).is_file() and (directory / MARKER).read_bytes() == marker
        if marked and all((directory / name).is_file() for name in plan):
            return directory
        problem = f"not a finished demo set of seed {seed}; remove the folder, or name another"
        raise InputError(f"{directory}: {problem}")
    with atomic_write(directory) as folder:
        for name, (person, camera, view, cut_off) in plan.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image = draw_image(seed, person, camera, view, cut_off)
            pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95]):
                raise OSError(f"{path}: could not be written; check the free disk space")
        (folder / MARKER).write_bytes(marker)
    return directory


def _plan(train_identities: int) -> dict[str, tuple[int, int, int, bool]]:
    """Every file's name, with the (person, camera, view, cut_off) that it is drawn from."""
    stranger = train_identities + TEST_IDENTITIES + 1  # the first distractor's number
    passer = stranger + DISTRACTORS  # the first junk image's
    plan = {}

    def add(folder: str, label: str, person: int, camera: int, view: int) -> None:
        name = f"{folder}/{label}_c{camera}s1_{person:04d}{view:02d}_00.jpg"
        plan[name] = person, camera, view, person >= passer

    train = ["bounding_box_train"] * TRAIN_IMAGES
    test = ["query"] * QUERY_IMAGES + ["bounding_box_test"] * GALLERY_IMAGES
    for person, camera in itertools.product(range(1, stranger), range(1, len(CAMERAS) + 1)):
        for view, folder in enumerate(train if person <= train_identities else test):
            add(folder, f"{person:04d}", person, camera, view)
    for label, first, count in (("0000", stranger, DISTRACTORS), ("-1", passer, JUNK)):
        for i in range(count):
            person = first + i * 2 // 3  # of three images two show one person
            add("bounding_box_test", label, person, i % len(CAMERAS) + 1, i)
    return plan


def draw_image(seed: int, person: int, camera: int, view: int, cut_off: bool = False) -> np.ndarray:
    """One image, uint8 [128, 64, 3] RGB, a function of its arguments; cameras count from 1.

    With `cut_off` it shows a part of the person only, as a detector's bad boxes do.
    """
    rng = np.random.default_rng((seed, person, camera, view))
    optics = CAMERAS[camera - 1]
    x, y = rng.integers(0, 2 * _MARGIN + 1, 2)
    scene = _place(*optics.place)[y : y + HEIGHT, x : x + WIDTH].copy()
    body = Body(rng, optics.size, cut_off=cut_off)
    draw_person(body, make_look(seed, person))
    body.put_into(scene, rng)
    if rng.random() < 0.2:  # a post, or a bin before the legs
        x = rng.integers(WIDTH)
        width, top = ((3, 0), (12, HEIGHT * 3 // 4))[rng.integers(2)]
        scene[top:, max(x - width, 0) : x + width] = rng.integers(50, 140, 3)
    return _photograph(scene, optics, rng)


@functools.cache
def _place(wall: tuple, block: tuple, contrast: float, floor: tuple, stroke: tuple) -> np.ndarray:
    """What one camera looks at, float [H, W, 3], a margin larger than an image."""
    rng = np.random.default_rng(0)
    tall = (HEIGHT + 2 * _MARGIN) * SCALE
    wide = (WIDTH + 2 * _MARGIN) * SCALE
    horizon = tall * 2 // 5
    image = np.full((tall, wide, 3), floor, float)
    # The wall's blocks, every other row half a block to the left.
    for row, y in enumerate(range(0, horizon, block[1])):
        for x in range(-(row % 2) * block[0] // 2, wide, block[0]):
            colour = np.multiply(wall, rng.uniform(1 - contrast, 1 + contrast))
            cv2.rectangle(image, (x, y), (x + block[0] - 4, y + block[1] - 4), colour, -1)
    # The floor's strokes.
    for x, y in rng.integers((-100, horizon), (wide, tall), (400, 2)).tolist():
        colour = np.multiply(floor, rng.uniform(0.8, 1.1))
        cv2.rectangle(image, (x, y), (x + stroke[0], y + stroke[1]), colour, -1)
    return cv2.resize(image, None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA)


def _photograph(scene: np.ndarray, optics: Camera, rng: np.random.Generator) -> np.ndarray:
    """The scene with the camera's colours, blur and noise, uint8."""
    light = rng.uniform(0.9, 1.1) * rng.uniform(0.97, 1.03, 3)
    pixels = np.clip(scene / 255, 0, 1) ** optics.gamma * optics.gain * light + optics.offset
    pixels = cv2.GaussianBlur(pixels, (0, 0), optics.blur * rng.uniform(0.8, 1.2))
    noise = rng.normal(0, 0.015, pixels.shape)
    return np.clip(255 * (pixels + noise), 0, 255).round().astype(np.uint8)
