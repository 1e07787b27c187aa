"""A gallery store of drawn vectors: added, searched, forgotten; beside our own exact search.

    pip install -r doc/store-requirements.txt
    python tests/benchmarks/benchmark_store.py FOLDER [--size 2048] [--images 100000] [--each 20]

20 images an identity, by 6 cameras in turn: a centre and noise, the centres in 64 dimensions of
them, so that neighbours are not all alike. `--each 1` has no clusters, which is harder for an
approximate index. Each step is a process of its own; its peak memory is the whole process's, with
what it reads of the vectors' file. FOLDER gets the file and the store.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from mgn.config.storing import APPROXIMATE, Where
from mgn.data.records import Record
from mgn.evaluation.forgotten import IDENTITY, Rule
from mgn.evaluation.rows import Stamp
from mgn.evaluation.store import open_store
from mgn.evaluation.stored import forget
from mgn.metrics.distances import nearest

CAMERAS, QUERIES, COUNT, BATCH = 6, 100, 10, 1000
STEPS = ("draw", "ours", "add", "search", "forget", "approximate", "search")
MODEL = "drawn"


def draw(folder, size, images, each):
    """Vectors of length 1, float32 [images + QUERIES, size]; the last are the queries."""
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((64, size), np.float32) / 8
    stored = np.lib.format.open_memmap(
        folder / "vectors.npy", "w+", np.float32, (images + QUERIES, size)
    )
    centres = rng.standard_normal((images // each, 64), np.float32)
    for start in range(0, images + QUERIES, BATCH):
        rows = np.arange(start, min(start + BATCH, images + QUERIES))
        who = np.where(rows < images, rows // each, (rows - images) * 7 % len(centres))
        noise = rng.standard_normal((len(rows), size), np.float32)
        made = centres[who] @ basis + 0.7 * noise
        stored[rows] = made / np.linalg.norm(made, axis=1, keepdims=True)


def records(rows, each):
    return [Record(f"/drawn/{i:07}.jpg", i // each, i % CAMERAS + 1) for i in rows]


def timed(what, function, *arguments):
    started = time.monotonic()
    value = function(*arguments)
    print(f"  {what}: {time.monotonic() - started:.3g} s", flush=True)
    return value


def add(folder, vectors, images, each):
    def all_of_them():
        with open_store(place(folder), MODEL, create=True) as store:
            for start in range(0, images, BATCH):
                rows = range(start, start + BATCH)
                stamps = [Stamp(i, i * 10**9) for i in rows]
                store.add(records(rows, each), stamps, vectors[start : start + BATCH])

    timed(f"{images} images added, and closed", all_of_them)


def ours(vectors, images):
    gallery, queries = vectors[:images], vectors[images:]
    camera = np.arange(images) % CAMERAS + 1 == 2
    timed("1 query", nearest, queries[:1], gallery, COUNT)
    timed(f"{QUERIES} queries", nearest, queries, gallery, COUNT)
    timed("1 query, one camera", lambda: nearest(queries[:1], gallery[camera], COUNT))


def search(folder, vectors, images, each):
    queries = vectors[images:]
    opened = open_store(place(folder), MODEL)
    store = timed("opened", opened.__enter__)
    print(f"  {store.count} images, {store.index}")
    timed("1 query, the first", store.nearest, queries[:1], COUNT)
    timed("1 query", store.nearest, queries[:1], COUNT)
    found = timed(f"{QUERIES} queries", store.nearest, queries, COUNT)
    part = timed("1 query, one camera", store.nearest, queries[:1], COUNT, Where(cameras=(2,)))
    timed("stamps of 1,000 images", store.stamps, [r.path for r in records(range(1000), each)])
    gone = forgotten(images, each)
    left = np.array([i for i in range(images) if i // each != gone or store.count == images])
    compare(found, queries, vectors, left)
    compare(part, queries[:1], vectors, left[left % CAMERAS + 1 == 2])
    timed("closed", opened.__exit__, None, None, None)


def compare(found, queries, vectors, rows):
    """Print recall@10, and the largest difference of a distance of an image that both found."""
    indices, distances = nearest(queries, vectors[rows], COUNT)
    shares, differences = [], [0.0]
    for row, some, far in zip(found, indices, distances, strict=True):
        right = dict(zip((f"/drawn/{i:07}.jpg" for i in rows[some]), far, strict=True))
        both = [(distance, right[r.path]) for r, distance in row if r.path in right]
        shares.append(len(both) / len(right))
        differences += [abs(a - b) for a, b in both]
    print(f"  recall@{COUNT} {np.mean(shares):.4f}, distances within {max(differences):.1e}")


def forgotten(images, each):
    return images // each // 2


def approximate(folder):
    with open_store(place(folder), MODEL) as store:
        share = timed("approximate index built", store.use_index, APPROXIMATE)
        print(f"  by stored images: recall@10 {share:.4f}")


def place(folder):
    return str(folder / "gallery.db")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--step", choices=STEPS)
    flags = parser.parse_args()
    folder, images = flags.folder, flags.images
    if not flags.step:
        folder.mkdir(parents=True, exist_ok=True)
        for step in STEPS:
            print(step, flush=True)
            subprocess.run([sys.executable, *sys.argv, "--step", step], check=True)
        return
    if flags.step == "draw":
        draw(folder, flags.size, images, flags.each)
        return
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    if flags.step == "ours":
        ours(vectors, images)
    elif flags.step == "add":
        add(folder, vectors, images, flags.each)
    elif flags.step == "search":
        search(folder, vectors, images, flags.each)
    elif flags.step == "forget":
        rule = Rule(IDENTITY, forgotten(images, flags.each))
        print(
            "", *timed("forgotten, opened again and checked", forget, place(folder), None, [rule])
        )
    else:
        approximate(folder)
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    files = [file for file in (folder / "gallery.db").rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"  peak {int(peak) / 1e6:.2f} GB; store {size / 1e6:.0f} MB in {len(files)} files")


if __name__ == "__main__":
    main()
