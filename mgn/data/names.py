"""Market-1501's file names, and how else a data set may say who is on an image."""

import re
from pathlib import Path

from mgn.data import folders
from mgn.data.decoding import EXTENSIONS
from mgn.data.lists import HEADER

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
CALLED = {"train": "training", "query": "query", "gallery": "gallery"}  # before "images"
JUNK, DISTRACTOR = -1, 0  # identity numbers with a meaning of their own in Market-1501
EXAMPLE = "0002_c1s1_000451_03.jpg"
WAYS = (  # other than these names
    f"other names need lists (train.csv, query.csv, gallery.csv, with {HEADER}),"
    " a folder for each person, or --format with the data set's name"
)
_EXTENSION = "|".join(map(re.escape, EXTENSIONS))
_NAME = re.compile(
    rf"(-1|[0-9]{{1,9}})_c([0-9]{{1,9}})(?:s[0-9]+)?_.*?({_EXTENSION})+", re.IGNORECASE | re.ASCII
)


def parse_name(name: str) -> tuple[int, int] | None:
    """Return (person, camera) of `PPPP_cCsS_FFFFFF_NN.jpg` (.png, .tif, .jpg.jpg), or None."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def fits(file: Path) -> bool:
    """Whether a file is named like an image of Market-1501; it may be a link to nowhere."""
    return parse_name(file.name) is not None and folders.is_file(file)
