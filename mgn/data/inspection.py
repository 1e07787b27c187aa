"""What is wrong with a data set, before somebody trains or evaluates on it."""

import hashlib
import statistics
from collections import Counter, defaultdict, namedtuple
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from mgn.data import records
from mgn.data.records import Record, Split
from mgn.system.errors import InputError
from mgn.system.progress import Progress

FIGURES = ("images", "identities", "cameras", "junk", "distractors", "other files")
MARKET = {  # Market-1501's own; images are those that are used
    "train": {"images": 12936, "identities": 751, "cameras": 6},
    "query": {"images": 3368, "identities": 750, "cameras": 6},
    "gallery": {"images": 15913, "cameras": 6, "junk": 3819},
}
# What TensorFlow decodes whatever the file's name (OpenCV takes more): how it begins, and what
# marks its end.
_ENDS = {
    b"\xff\xd8\xff": b"\xff\xd9",
    b"\x89PNG": b"IEND\xaeB`\x82",
    b"BM": b"",
    b"GIF8": b"",
    b"RIFF": b"",
}
Image = namedtuple(
    "Image", "fault size digest"
)  # None or a few words; (height, width); of the bytes


def examine(dataset: Path, batch_images: int) -> tuple[str, list[str]]:
    """The figures, and what is to be said about them: each begins "ok:", "warning:" or "problem:"."""
    splits, findings = read_splits(dataset)
    images = open_all([record.path for split in splits.values() for record in split.records])
    unreadable = [f"{path} ({image.fault})" for path, image in images.items() if image.fault]
    findings += [
        _finding(unreadable, "problem: unreadable images", "training stops; mend or remove them")
    ]
    if "train" in splits:
        findings += check_training(splits["train"], batch_images)
    if "query" in splits and "gallery" in splits:
        findings += check_matches(splits["query"], splits["gallery"])
    findings += check_overlap(splits, images)
    counts = {name: count(split) for name, split in splits.items()}
    figures, about_market = compare(counts, "market" in dataset.resolve().name.lower())
    return f"{dataset}\n\n{figures}\n\n{sizes(images)}", findings + about_market


def read_splits(dataset: Path) -> tuple[dict[str, "Split"], list[str]]:
    """The splits that can be used, and what is wrong with the others and with names."""
    splits, findings, misnamed = {}, [], []
    for name in records.FOLDERS:
        path = records.split_path(dataset, name)
        for file in (
            sorted(path.iterdir()) if path.is_dir() else ()
        ):  # a list may name an image as it likes
            known = (
                file.name[0] == "." or file.name.lower() == "thumbs.db"
            )  # macOS and Windows leave them
            if not known and not (records.parse_name(file.name) and file.is_file()):
                misnamed.append(str(file))
        try:
            splits.update({name: records.read_split(dataset, name)} if path.exists() else {})
        except InputError as error:  # no reason not to look at the other splits
            findings.append(f"problem: {error}")
    if not splits:
        none = f"{dataset}: no {', '.join(records.FOLDERS.values())}; no train.csv, query.csv, gallery.csv"
        raise InputError(findings[0].removeprefix("problem: ") if findings else none)
    trainable, scorable = "train" in splits, {"query", "gallery"} <= splits.keys()
    if not trainable and not scorable:
        findings.append(
            "problem: no training split, and not both query and gallery: of no use for either"
        )
    elif not trainable:
        findings.append("warning: no training split: can be evaluated, not trained on")
    elif not scorable:
        findings.append("warning: not both query and gallery: can be trained on, not evaluated")
    advice = "left out; name images like 0002_c1s1_000451_03.jpg, or list them in a CSV file"
    return splits, [*findings, _finding(misnamed, "warning: files with other names", advice)]


def _finding(found: Sequence[str], text: str, advice: str) -> str:
    """How many there are, what to do, and the first five; or that there are none."""
    if not found:
        return f"ok: {text.partition(': ')[2]}: none"
    return "\n    ".join([f"{text}: {len(found):,}; {advice}", *found[:5]])


def open_all(paths: list[str]) -> dict[str, Image]:
    """Open each file, in threads: reading, decoding and hashing all let go of Python's lock."""
    with Progress(len(paths), "opening", "images") as progress, ThreadPoolExecutor() as pool:
        images = {}
        for path, image in zip(paths, pool.map(open_image, paths), strict=True):
            images[path] = image
            progress.advance()
    return images


def open_image(path: str) -> Image:
    """Read, decode and hash one file."""
    flags = (
        cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )  # training does not look at EXIF either
    try:
        contents = Path(path).read_bytes()
        fault = find_fault(contents)
        pixels = None if fault else cv2.imdecode(np.frombuffer(contents, np.uint8), flags)
    except (OSError, cv2.error) as error:  # cv2.error: a size beyond its limit, say
        fault, pixels = getattr(error, "strerror", None), None
    if pixels is None:
        return Image(fault or "damaged", None, None)
    return Image(None, pixels.shape[:2], hashlib.sha256(contents).digest())


def find_fault(contents: bytes) -> str | None:
    """What shows without decoding: OpenCV before version 5 makes grey of what is cut off."""
    for start, end in _ENDS.items():
        if contents.startswith(start):  # bytes behind the end are allowed: decoders pass over them
            return None if end in contents else "cut off"
    return "not a JPEG, PNG or BMP" if contents else "empty"


def check_training(train: "Split", batch_images: int) -> Iterator[str]:
    """What P×K batches and triplets need."""
    identities = Counter(train.persons.tolist())
    if len(identities) < 2:
        yield "problem: training is impossible with one person; a triplet needs another"
    alone, advice = _seen_once(train.records), "they teach nothing about the change of cameras"
    yield _finding(alone, "warning: training identities under one camera only", advice)
    few = [f"person {person}" for person, images in identities.items() if images < batch_images]
    what = f"warning: training identities with fewer than {batch_images} images"
    yield _finding(few, what, "they repeat in a batch, unless --batch_images is lower")


def check_matches(query: "Split", gallery: "Split") -> Iterator[str]:
    """What a score needs: the query's person in the gallery, under another camera."""
    try:
        records.check_matches(query, gallery)
    except InputError as error:
        yield f"problem: evaluation would be meaningless: {error}"
    seen = {(r.person, r.camera) for r in gallery.records}
    cameras = Counter(person for person, _ in seen)  # if it is the query's own alone: lost
    lost = [r.path for r in query.records if not cameras[r.person] - ((r.person, r.camera) in seen)]
    yield _finding(
        lost, "warning: queries without a match in another camera", "not counted in the scores"
    )
    alone = _seen_once(r for r in query.records + gallery.records if r.person != records.DISTRACTOR)
    advice = "they cannot be matched; check the cameras"
    yield _finding(alone, "warning: test identities under one camera only", advice)


def _seen_once(records: Iterable["Record"]) -> list[str]:
    cameras = Counter(person for person, _ in {(r.person, r.camera) for r in records})
    return [f"person {person}" for person in sorted(cameras) if cameras[person] == 1]


def check_overlap(splits: dict[str, "Split"], images: dict[str, Image]) -> Iterator[str]:
    """Identities and images that are in more than one split."""
    train, query, gallery = (
        splits[n].records if n in splits else () for n in ("train", "query", "gallery")
    )
    both = {r.person for r in train} & {
        r.person for r in query + gallery
    }  # train holds no distractors
    identities, advice = (
        [f"person {n}" for n in sorted(both)],
        "scores flatter; move or renumber them",
    )
    yield _finding(identities, "problem: identities in training and test", advice)
    leaks = [f"{a.path} = {twins[0].path}" for a, twins in _twins(train, query + gallery, images)]
    yield _finding(
        leaks, "problem: training images in query or gallery", "scores flatter; remove one copy"
    )
    same, wrong = [], []
    for a, twins in _twins(query, gallery, images):
        others = [b for b in twins if (b.person, b.camera) != (a.person, a.camera)]
        (wrong if others else same).append(f"{a.path} = {(others or twins)[0].path}")
    yield _finding(
        same, "ok: query images in the gallery", "ignored: of the query's person and camera"
    )
    advice = "one of the two labels is wrong"
    yield _finding(wrong, "warning: query images in the gallery under other labels", advice)


def _twins(records: Iterable, others: Iterable, images: dict[str, Image]) -> Iterator[tuple]:
    """Yield (record, those of the others with the same bytes) where there are any; not what is unreadable."""
    by_digest = defaultdict(list)
    for other in others:
        by_digest[images[other.path].digest].append(other)
    yield from (
        (r, by_digest[d]) for r in records if (d := images[r.path].digest) and d in by_digest
    )


def count(split: "Split") -> dict[str, int]:
    """The figures of one split."""
    identities, cameras = split.persons.tolist(), {*split.cameras.tolist()}
    figures = (
        len(identities),
        len({*identities} - {0}),
        len(cameras),
        split.junk,
        identities.count(0),
        split.ignored,
    )
    return dict(zip(FIGURES, figures, strict=True))


def compare(counts: dict[str, dict], called_market: bool) -> tuple[str, list[str]]:
    """The splits side by side, beside Market-1501's if they look like it; and then what differs."""
    pairs = [
        (name, figure, counts[name][figure], n)
        for name in counts
        for figure, n in MARKET[name].items()
    ]
    unlike = [f"{name}: {got:,} {figure}, not {n:,}" for name, figure, got, n in pairs if got != n]
    alike = [
        figure for _, figure, got, n in pairs if got == n and figure != "cameras"
    ]  # many sets have six
    columns, like_market = [], called_market or bool(alike)
    for name, market in MARKET.items():
        columns += [(name, counts.get(name, {})), ("Market-1501", market)][: 1 + like_market]
    rows = [["", *(title for title, _ in columns)]]
    rows += [
        [name, *(f"{c[name]:,}" if name in c else "-" for _, c in columns)] for name in FIGURES
    ]
    table = "\n".join(
        f"{first:<12}" + "".join(f"{cell:>12}" for cell in cells) for first, *cells in rows
    )
    advice = "if it is Market-1501, unpack it again"
    return table, [_finding(unlike, "warning: figures unlike Market-1501's", advice)] * like_market


def sizes(images: dict[str, Image]) -> str:
    """Smallest and largest by area, and the median of heights and of widths."""
    found = sorted((p.size for p in images.values() if p.size), key=lambda s: s[0] * s[1]) or [
        (0, 0)
    ]
    median = [statistics.median_low(lengths) for lengths in zip(*found, strict=True)]
    shown = {"smallest": found[0], "median": median, "largest": found[-1]}
    return "height x width: " + ", ".join(f"{name} {h}x{w}" for name, (h, w) in shown.items())
