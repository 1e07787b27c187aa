"""Time and memory of what looks at every image of a data set, on drawn ones of 128x64.

    python tests/benchmarks/benchmark_data.py doctor --images 100000
    python tests/benchmarks/benchmark_data.py fingerprint --images 100000
    python tests/benchmarks/benchmark_data.py check --images 100000  # as train.py before a run

Files lie in the page cache, as they were just written; a disk adds its own time.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

import cv2
import numpy as np

from mgn import doctor
from mgn.data.reading import check_readable
from mgn.data.records import read_split

PER_IDENTITY, CAMERAS = 20, 6


def draw_set(folder, number):
    """Images of coloured spots, about 4 KB each, all different."""
    rng = np.random.default_rng(0)
    train = folder / "bounding_box_train"
    train.mkdir()
    for i in range(number):
        spots = rng.integers(0, 256, (16, 8, 3), np.uint8)
        image = cv2.resize(spots, (64, 128), interpolation=cv2.INTER_LINEAR)
        name = f"{1 + i // PER_IDENTITY:05}_c{1 + i % CAMERAS}s1_{i:06}_00.jpg"
        cv2.imwrite(str(train / name), image)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["doctor", "fingerprint", "check"])
    parser.add_argument("--images", type=int, default=10_000)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_set(folder, flags.images)
        start = time.perf_counter()
        if flags.what == "doctor":
            doctor.main([name, "--output_dir", str(folder / "examined")])
        elif flags.what == "fingerprint":
            read_split(folder, "train").fingerprint()
        else:
            check_readable(read_split(folder, "train").paths)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{flags.what}: {flags.images:,} images, {seconds:.1f} s, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
