"""Does the alarm without labels tell images like training from others, and follow the loss?

    python tests/benchmarks/benchmark_familiarity.py RUN ... [--rows FILE]

Each RUN is the folder of `train.py` on its own data set. Its model meets the query and gallery
images of its own set, the same spoilt in many ways, those of the other runs, drawn people it has
not seen, and drawn people under other cameras. Prints a row for each: mAP, the real loss, the
shift. Then AUC, rank correlations and the limit that other models choose. FILE keeps the rows:
models that are in it are not run again.
"""

import argparse
import json
import os
import sys
from contextlib import closing
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the scripts do

import cv2
import numpy as np
from scipy.stats import rankdata, spearmanr

sys.path.insert(0, str(Path(__file__).parents[2]))

from mgn import metrics
from mgn.config.settings import datasets_of_run
from mgn.data import demo
from mgn.data.appearance import look_at
from mgn.data.decoding import read_image
from mgn.data.records import read_split
from mgn.evaluation.batchnorms import BatchNorms
from mgn.evaluation.verdicts import LIMIT, Looks, what_differs
from mgn.inference.embedder import load_embedder
from mgn.metrics.shift import FEWEST, squared_shift
from mgn.weights import checkpoints

LOSS, NO_LOSS = 0.15, 0.05  # of mAP, relative: what should and what should not alarm
DRAWS = 4  # of half of a camera's identities, and of "few": 4 to 8, which make FEWEST images
NIGHT = ((40, 45, 70), (30, 14), 0.2, (60, 60, 70), (40, 3))
SNOW = ((210, 215, 225), (25, 60), 0.1, (235, 235, 240), (60, 2))
BRICK = ((150, 70, 55), (20, 9), 0.25, (90, 90, 95), (12, 12))
OTHER_CAMERAS = (
    demo.Camera((0.55, 0.55, 0.65), (0, 0, 0.03), gamma=1.4, size=0.84, blur=0.5, place=NIGHT),
    demo.Camera((0.95, 0.95, 0.9), (0.04, 0.04, 0.06), gamma=0.8, size=0.75, blur=0.6, place=SNOW),
    demo.Camera((0.8, 0.7, 0.7), (0.02, 0.02, 0.02), gamma=1.0, size=0.95, blur=0.9, place=BRICK),
)


def adjusted(camera, gain, gamma):
    """The same camera with its colours set a little differently."""
    return camera._replace(gain=tuple(gain * g for g in camera.gain), gamma=gamma * camera.gamma)


ADJUSTED_CAMERAS = tuple(
    adjusted(camera, gain, gamma)
    for camera, gain, gamma in zip(demo.CAMERAS, (0.9, 1.1, 1.05), (1.1, 0.95, 0.95), strict=True)
)


def gain(*factors):
    return lambda image: np.clip(image * np.float64(factors), 0, 255).astype(np.uint8)


def blurred(pixels):
    """By a Gaussian of so many pixels, were the image 128 high."""
    return lambda image: cv2.GaussianBlur(image, (0, 0), pixels * len(image) / 128)


def jpeg(quality):
    def saved(image):
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]

    return saved


def shrunk(height):
    def resized(image):
        size = max(1, image.shape[1] * height // len(image)), height
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    return resized


def squeezed(image):
    """In a box twice as wide as the person."""
    edge = image.shape[1] // 2
    return cv2.copyMakeBorder(image, 0, 0, edge, edge, cv2.BORDER_REPLICATE)


def noisy(image):
    noise = np.random.default_rng(int(image.sum())).normal(0, 20, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def grey(image):
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def half_covered(image):
    covered = image.copy()
    covered[len(image) // 2 :] = 128
    return covered


def every_tenth_dark(image):
    return gain(0.4)(image) if image.sum() % 10 == 0 else image


SPOILT = {
    "mirrored": lambda image: image[:, ::-1],
    "dark, x 0.4": gain(0.4),
    "dimmed, x 0.7": gain(0.7),
    "bright, x 1.6": gain(1.6),
    "every tenth image dark": every_tenth_dark,
    "colour cast 1.1 0.85 0.6": gain(1.1, 0.85, 0.6),
    "colour cast 1.05 1 0.85": gain(1.05, 1, 0.85),
    "grey": grey,
    "blurred by 2 pixels": blurred(2),
    "blurred by 1 pixel": blurred(1),
    "24 pixels high": shrunk(24),
    "48 pixels high": shrunk(48),
    "JPEG quality 10": jpeg(10),
    "JPEG quality 40": jpeg(40),
    "noise of 20 levels": noisy,
    "lower 30 % cut off": lambda image: image[: len(image) * 7 // 10],
    "upper 30 % cut off": lambda image: image[len(image) * 3 // 10 :],
    "lower half covered": half_covered,
    "box twice as wide": squeezed,
}


class Set:
    """Query and gallery images of a data set, and their labels."""

    def __init__(self, rows):
        self.images, persons, cameras, queries = zip(*rows, strict=True)
        self.persons, self.cameras = np.array(persons), np.array(cameras)
        self.query = np.array(queries)

    def changed(self, change):
        images = [np.ascontiguousarray(change(image)) for image in self.images]
        changed = Set([(0, 0, 0, 0)])
        changed.__dict__.update(vars(self), images=images)
        return changed


def photographed(dataset):
    rows = []
    for split in ("query", "gallery"):
        for record in read_split(dataset, split).records:
            rows.append((read_image(record.path), record.person, record.camera, split == "query"))
    return Set(rows)


def drawn(cameras, seed=0, first=25, count=24):
    """So many people by three cameras: an image each as query, two as gallery."""
    rows = []
    usual, demo.CAMERAS = demo.CAMERAS, cameras
    try:
        for person in range(first, first + count):
            for place in range(1, len(cameras) + 1):
                for view in range(3):
                    image = demo.draw_image(seed, person, place, view)
                    rows.append((image, person, place, view == 0))
    finally:
        demo.CAMERAS = usual
    return Set(rows)


def shifts_of(norms, values, images):
    """A camera's shift by all of its images, by half of its identities, and by few images."""
    for camera in np.unique(images.cameras):
        of_it = images.cameras == camera
        persons = np.unique(images.persons[of_it])
        each = of_it.sum() / len(persons)
        few = min(int(np.ceil(FEWEST / each)) + 1, len(persons))
        sizes = {"all": (len(persons), 1), "half": (len(persons) // 2, DRAWS), "few": (few, DRAWS)}
        for kind, (size, draws) in sizes.items():
            for draw in range(draws):
                chosen = np.random.default_rng(draw).permutation(persons)[:size]
                places = np.flatnonzero(of_it & np.isin(images.persons, chosen))
                places = places[np.argsort(images.persons[places], kind="stable")]
                if len(places) >= FEWEST:
                    squared = squared_shift(values[places], norms.mean, norms.variance)
                    shift = float(np.sqrt(max(squared.mean(), 0)))
                    told = {"camera": int(camera), "kind": kind, "images": len(places)}
                    yield told | {"shift": shift, "heads": squared.round(4).tolist()}


def meet(norms, embed, images):
    """What a model makes of a set."""
    values, features = norms.values(images.images), embed(images.images)
    query, gallery = images.query, ~images.query
    score = metrics.evaluate(
        *(features[query], features[gallery], images.persons[query], images.persons[gallery]),
        *(images.cameras[query], images.cameras[gallery]),
    )
    units = list(shifts_of(norms, values, images))
    return {"mAP": float(score.mAP), "units": units, "differs": differs(norms, units, images)}


def differs(norms, units, images):
    """What the alarm says of the cameras for which it sounds: {camera: first words}."""
    said = {}
    for unit in units:
        if unit["kind"] == "all" and unit["shift"] >= LIMIT:
            chosen = np.flatnonzero(images.cameras == unit["camera"])
            looks = [look_at(images.images[i]) for i in chosen]
            sizes = [(look.height, look.width, look.sharpness) for look in looks]
            colour = np.mean([images.images[i].mean(axis=(0, 1)) for i in chosen], axis=0)
            seen = Looks(*np.median(sizes, axis=0), tuple(colour))
            lines = what_differs(seen, norms.height, tuple(norms.colour), unit["heads"][-3:])
            said[unit["camera"]] = [line.split(":")[0] for line in lines]
    return said


def run(model, sets, own):
    """A row for each set that a model meets."""
    others = {name: images for name, images in sets.items() if name != own}
    drawn_sets = {
        "drawn, new people": drawn(demo.CAMERAS, seed=5, first=1000),
        "drawn, cameras adjusted": drawn(ADJUSTED_CAMERAS),
        "drawn, other cameras": drawn(OTHER_CAMERAS),
    }
    met = {"own": sets[own]} | others | drawn_sets
    rows = {}
    with (
        closing(BatchNorms(checkpoints.find(model))) as norms,
        closing(load_embedder(model)) as embed,
    ):
        print(f"{own}: colour of training images by the first batch norm: {norms.colour.round(1)}")
        for name, images in met.items():
            rows[name] = meet(norms, embed, images)
            print(own, name, rows[name]["mAP"], flush=True)
        for name, change in SPOILT.items():
            rows[name] = meet(norms, embed, sets[own].changed(change))
            print(own, name, rows[name]["mAP"], flush=True)
    return rows


def losses(rows, own, is_drawn):
    """{set: share of mAP lost}: of the own set's mAP, or of that of the model trained there."""
    lost = {}
    drawn_best = max(rows[name]["own"]["mAP"] for name in rows if is_drawn[name])
    for name, row in rows[own].items():
        if name in rows:  # another run's set
            best = rows[name]["own"]["mAP"]
            best = rows[own]["own"]["mAP"] if is_drawn[own] and is_drawn[name] else best
        elif name.startswith("drawn") and not is_drawn[own]:
            best = drawn_best
        else:
            best = rows[own]["own"]["mAP"]
        lost[name] = 1 - row["mAP"] / best
    return lost


def auc(unlike, like):
    """The share of pairs in which the unlike one has the greater shift; ties count half."""
    ranks = rankdata([*unlike, *like])[: len(unlike)]
    return (ranks.sum() - len(unlike) * (len(unlike) + 1) / 2) / (len(unlike) * len(like))


def shift_of(row):
    return float(np.mean([unit["shift"] for unit in row["units"] if unit["kind"] == "all"]))


def best_limit(like, unlike):
    """The limit of the best mean of both rates."""
    limits = np.unique([*like, *unlike])
    rates = [np.mean(unlike >= limit) + np.mean(like < limit) for limit in limits]
    return limits[int(np.argmax(rates))]


def report(rows, is_drawn):
    lost = {own: losses(rows, own, is_drawn) for own in rows}
    print("| model | images | mAP | lost | shift by camera | what it names |")
    print("|---|---|---|---|---|---|")
    for own in rows:
        for name, row in sorted(rows[own].items(), key=lambda item: shift_of(item[1])):
            shifts = [f"{u['shift']:.2f}" for u in row["units"] if u["kind"] == "all"]
            share = f"{lost[own][name]:.0%}"
            named = ", ".join(sorted({word for words in row["differs"].values() for word in words}))
            told = f"{row['mAP']:.3f} | {share} | {', '.join(shifts)} | {named}"
            print(f"| {own} | {name} | {told} |")

    pairs = [(own, name) for own in rows for name in rows[own]]
    together = spearmanr(
        [lost[o][n] for o, n in pairs], [shift_of(rows[o][n]) for o, n in pairs]
    ).statistic
    print(f"\nrank correlation of shift and loss: {together:.2f} over {len(pairs)} pairs")
    for own in rows:
        shifts = [shift_of(row) for row in rows[own].values()]
        print(f"  {own}: {spearmanr(list(lost[own].values()), shifts).statistic:.2f}")
    whole = [(own, name) for own, name in pairs if name not in SPOILT]
    alone = spearmanr([lost[o][n] for o, n in whole], [shift_of(rows[o][n]) for o, n in whole])
    print(f"  {len(whole)} pairs without spoilt images: {alone.statistic:.2f}")

    def units(kind, keep):
        found = []
        for own, name in pairs:
            if keep(own, name, lost[own][name]):
                found += [u["shift"] for u in rows[own][name]["units"] if u["kind"] == kind]
        return np.array(found)

    def is_like_by_origin(own, name, _):
        usual = ("own", "mirrored", "drawn, new people")
        return name in usual[: 2 + is_drawn[own]] or (is_drawn[own] and is_drawn.get(name, False))

    def compare(title, unlike, like):
        told = f"{title}: AUC {auc(unlike, like):.3f}, {len(unlike)} unlike, {len(like)} like"
        found, false = np.mean(unlike >= LIMIT), np.mean(like >= LIMIT)
        print(f"{told}; limit {LIMIT}: {found:.0%} found, {false:.0%} false; ", end="")
        print(f"best limit {best_limit(like, unlike):.2f}")

    for kind in ("all", "half", "few"):
        like = units(kind, lambda *which: which[-1] <= NO_LOSS)
        for loss in (LOSS, 2 * LOSS):
            unlike = units(kind, lambda *which, loss=loss: which[-1] >= loss)
            compare(f"{kind}, loss of {loss:.0%} and more", unlike, like)
        origin = units(kind, is_like_by_origin)
        compare(f"{kind}, by origin", units(kind, lambda *w: not is_like_by_origin(*w)), origin)
    for left_out in rows:
        of_others = [
            units("half", lambda own, _, loss, out=left_out: own != out and loss <= NO_LOSS),
            units("half", lambda own, _, loss, out=left_out: own != out and loss >= LOSS),
        ]
        limit = best_limit(*of_others)
        like = units("half", lambda own, _, loss, one=left_out: own == one and loss <= NO_LOSS)
        unlike = units("half", lambda own, _, loss, one=left_out: own == one and loss >= LOSS)
        print(f"{left_out} by the limit {limit:.2f} of the others: ", end="")
        print(f"{np.mean(unlike >= limit):.0%} found, {np.mean(like >= limit):.0%} false; ", end="")
        print(f"AUC {auc(unlike, like):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--rows", type=Path)
    flags = parser.parse_args()
    datasets = {path.name: datasets_of_run(path)[0] for path in flags.runs}
    is_drawn = {name: (Path(d.folder) / demo.MARKER).is_file() for name, d in datasets.items()}
    rows = json.loads(flags.rows.read_text()) if flags.rows and flags.rows.exists() else {}
    missing = [path for path in flags.runs if path.name not in rows]
    for name, dataset in datasets.items():
        colours = [
            read_image(r.path).mean(axis=(0, 1)) for r in read_split(dataset, "train").records
        ]
        print(f"{name}: their colour {np.mean(colours, axis=0).round(1)}")
    if missing:
        sets = {name: photographed(dataset) for name, dataset in datasets.items()}
        for path in missing:
            rows[path.name] = run(path, sets, path.name)
            if flags.rows:
                flags.rows.write_text(json.dumps(rows))
    report(rows, is_drawn)


if __name__ == "__main__":
    main()
