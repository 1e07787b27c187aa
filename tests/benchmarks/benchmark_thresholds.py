"""Thresholds with a guarantee on a model's embeddings of drawn people: how often the claim is true.

Each of 200 splits calibrates on 700 identities drawn at random, and the share of strangers accepted
is measured on all others.

    python tests/benchmarks/benchmark_thresholds.py MODEL FEATURES.npz [DATASET]

With a data set, what is calibrated on drawn people is used on its photographs too. The benchmark
draws and embeds 2,000 people under the demo set's three cameras, two images each, into
FEATURES.npz, unless that is there.
"""

import sys
from contextlib import closing
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mgn.data import demo
from mgn.data.records import read_split
from mgn.evaluation.embedding import embed_query_and_gallery
from mgn.inference import load_embedder
from mgn.metrics import thresholds

PEOPLE, CAMERAS, FIRST = 2000, 3, 100_000  # none of the people of a demo set
SPLITS, CALIBRATED = 200, 700
BOUND, CONFIDENCE = 0.01, 0.95


def embedded(model, path):
    """Features of length 1, float32 [2, cameras, people, 2048]: query and gallery images."""
    if not path.exists():
        made = np.empty((2, CAMERAS, PEOPLE, 2048), np.float32)
        with closing(load_embedder(model)) as embed:
            for view in range(2):
                for camera in range(CAMERAS):
                    for start in range(0, PEOPLE, 100):
                        someone = range(FIRST + start, FIRST + start + 100)
                        images = [demo.draw_image(0, who, camera + 1, view) for who in someone]
                        made[view, camera, start : start + 100] = embed(images)
        np.savez(path, features=made)
    return np.load(path)["features"]


class Drawn:
    """One image of each person as query, one as gallery; each by a camera, or by any (None)."""

    def __init__(self, features, here, there):
        rng = np.random.default_rng(0)
        who = np.arange(PEOPLE)
        self.query = features[0, rng.integers(0, CAMERAS, PEOPLE) if here is None else here, who]
        self.gallery = features[
            1, rng.integers(0, CAMERAS, PEOPLE) if there is None else there, who
        ]
        squared = 2 - 2 * self.query.astype(np.float64) @ self.gallery.T.astype(np.float64)
        self.distances = np.sqrt(np.maximum(squared, 0))

    def accepted(self, distance, people):
        """The share of all pairs of these people that a threshold accepts, but of one person."""
        among = self.distances[np.ix_(people, people)] <= distance
        strangers = len(people) * (len(people) - 1)
        return (np.count_nonzero(among) - np.count_nonzero(np.diag(among))) / strangers

    def found(self, distance, people):
        """The share of these people that are accepted as themselves."""
        return np.mean(self.distances[people, people] <= distance)


class Photographed:
    """All pairs of a query and a gallery image of a data set, whoever was drawn."""

    def __init__(self, model, folder):
        splits = read_split(Path(folder), "query"), read_split(Path(folder), "gallery")
        with closing(load_embedder(model)) as embed:
            made = embed_query_and_gallery(embed, *splits)
        squared = 2 - 2 * made.query_features @ made.gallery_features.T
        distances = np.sqrt(np.maximum(squared, 0))
        same = made.query.persons[:, None] == made.gallery.persons
        crossing = made.query.cameras[:, None] != made.gallery.cameras
        self.strangers, self.same = distances[~same], distances[same & crossing]

    def accepted(self, distance, _people):
        return np.mean(self.strangers <= distance)

    def found(self, distance, _people):
        return np.mean(self.same <= distance)


def claim_of(distances):
    return thresholds.claim(distances, BOUND, CONFIDENCE).distance


def pair_row(name, calibrated, used, naive=False):
    """A claim for pairs, calibrated on some cameras and used on others."""
    rates, found, chosen = [], [], []
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(PEOPLE)
        known, others = order[:CALIBRATED], order[CALIBRATED:]
        if naive:
            among = calibrated.distances[np.ix_(known, known)]
            distance = np.quantile(among[~np.eye(len(known), dtype=bool)], BOUND)
        else:
            rows, columns = thresholds.stranger_pairs(known + 1, known + 1, seed=split)
            distance = claim_of(calibrated.distances[known[rows], known[columns]])
        chosen.append(distance)
        rates.append(used.accepted(distance, others))
        found.append(used.found(distance, others))
    return report(name, chosen, rates, found)


def gallery_row(name, drawn, used=None):
    """A claim for a gallery: the same one for the strangers to come, under the same cameras or
    others."""
    used = used or drawn
    rates, found, chosen = [], [], []
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(PEOPLE)
        known, others = order[:CALIBRATED], order[CALIBRATED:]
        ids = known + 1
        needed = thresholds.needed_units(BOUND, CONFIDENCE)
        rows, there = thresholds.strangers_to_a_gallery(ids, ids, None, needed, seed=split)
        gallery = known[there]
        distance = claim_of(drawn.distances[np.ix_(known[rows], gallery)].min(axis=1))
        chosen.append(distance)
        rates.append(np.mean(used.distances[np.ix_(others, gallery)].min(axis=1) <= distance))
        found.append(used.found(distance, gallery))
    return report(name, chosen, rates, found)


def report(name, chosen, rates, found):
    held = np.mean(np.array(rates) <= BOUND)
    spread = f"{np.quantile(chosen, 0.05):.3f} to {np.quantile(chosen, 0.95):.3f}"
    print(
        f"| {name} | {held:.1%} | {np.mean(rates):.2%} | {np.quantile(rates, 0.95):.2%}"
        f" | {spread} | {np.mean(found):.1%} |",
        flush=True,
    )


def main(model, path, dataset=None):
    features = embedded(model, Path(path))
    print(f"{SPLITS} splits, {CALIBRATED} of {PEOPLE} identities, {BOUND:g} at {CONFIDENCE:g}")
    print(
        "| claim | true | strangers accepted, mean | 95 % of splits | threshold | same accepted |"
    )
    print("|---|---|---|---|---|---|")
    any_camera = Drawn(features, None, None)
    across, within = Drawn(features, 0, 1), Drawn(features, 0, 0)
    pair_row("pair, all cameras", any_camera, any_camera)
    pair_row("pair, all cameras, quantile of all pairs", any_camera, any_camera, naive=True)
    pair_row("pair, camera 1 to 2", across, across)
    pair_row("pair, camera 1 to 2, quantile of all pairs", across, across, naive=True)
    pair_row("pair, calibrated 1 to 2, used 2 to 3", across, Drawn(features, 1, 2))
    pair_row("pair, calibrated 1 to 2, used 1 to 1", across, within)
    pair_row("pair, all cameras, used 1 to 1", any_camera, within)
    if dataset:
        pair_row("pair, all cameras, used on photographs", any_camera, Photographed(model, dataset))
    gallery_row("gallery of 350, all cameras", any_camera)
    gallery_row("gallery of 350, camera 1 to 2", across)
    gallery_row("gallery of 350, calibrated 1 to 2, used 1 to 1", across, within)


if __name__ == "__main__":
    main(*sys.argv[1:])
