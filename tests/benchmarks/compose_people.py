"""Makes a training set of many identities from photographs of few: the upper half of one person
over the lower half of another.

    python tests/benchmarks/compose_people.py --dataset pku-reid --output composed600

Each identity is an ordered pair of training identities, now and then of one with himself, with 4
images a camera. Query and gallery are those of the data set, so that the test people are real. For
questions about the number of identities that synthetic images cannot answer.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import cv2
import numpy as np

from mgn.config.dataset import DataSet
from mgn.data.names import FOLDERS
from mgn.data.records import read_split

VIEWS = 4  # of an identity, of each camera


def main() -> None:
    """Compose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dataset",
        type=Path,
        required=True,
        help="Market-1501 layout; each camera has the same views of each person, four or more",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--identities", type=int, default=600, help="default: %(default)s")
    flags = parser.parse_args()
    if flags.output.exists():
        parser.error(f"{flags.output} exists; name another folder")
    for split in ("query", "gallery"):
        shutil.copytree(flags.dataset / FOLDERS[split], flags.output / FOLDERS[split])
    train = read_split(DataSet(flags.dataset), "train")
    people = np.unique(train.persons).tolist()
    pairs = [(upper, lower) for upper in people for lower in people]
    rng = np.random.default_rng(0)
    rng.shuffle(pairs)
    folder = flags.output / FOLDERS["train"]
    folder.mkdir()
    for identity, pair in enumerate(pairs[: flags.identities], 1001):
        for camera in np.unique(train.cameras).tolist():
            compose(train, pair, camera, rng, folder / f"{identity:04}_c{camera}s1")


def compose(train, pair, camera, rng, prefix: Path) -> None:
    """Write one identity's images of one camera; the two people are seen from the same side."""
    views = [images_of(train, person, camera) for person in pair]
    for view in rng.choice(len(views[0]), VIEWS, replace=False).tolist():
        upper, lower = (cv2.imread(of_person[view]) for of_person in views)
        middle = len(upper) // 2
        lower = cv2.resize(lower, (upper.shape[1], len(upper)))
        image = np.vstack([upper[:middle], lower[middle:]])
        path = f"{prefix}_{view + 1:06}_00.jpg"
        cv2.imwrite(path, image, [cv2.IMWRITE_JPEG_QUALITY, 95])


def images_of(train, person: int, camera: int) -> list[str]:
    """Paths, in the order of their views."""
    chosen = (train.persons == person) & (train.cameras == camera)
    return sorted(np.array(train.paths)[chosen].tolist())


if __name__ == "__main__":
    main()
