"""What is wrong with a data set, before anyone trains or evaluates on it."""

import hashlib
import math
import statistics
from collections import Counter, defaultdict, namedtuple
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from mgn.data import records
from mgn.data.records import DISTRACTOR, FOLDERS, Record, Split
from mgn.system.errors import InputError
from mgn.system.progress import Progress

FIGURES = ("images", "identities", "cameras", "junk", "distractors", "other files")
MARKET = {  # Market-1501's own; images are those that are used
    "train": {"images": 12936, "identities": 751, "cameras": 6},
    "query": {"images": 3368, "identities": 750, "cameras": 6},
    "gallery": {"images": 15913, "cameras": 6, "junk": 3819},
}
# What TensorFlow decodes whatever the file's name: {its beginning: what marks its end, or nothing}.
_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82"}
_ENDS |= {b"BM": b"", b"GIF8": b"", b"RIFF": b""}
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # training ignores EXIF too
# None or a few words; (height, width); hash of the file's bytes.
Image = namedtuple("Image", "fault size digest")


def examine(dataset: Path, batch_images: int) -> tuple[str, list[str]]:
    """The figures, and the findings: each begins "ok:", "warning:" or "problem:"."""
    splits, findings = read_splits(dataset)
    images = open_all([path for split in splits.values() for path in split.paths])
    unreadable = [f"{path} ({image.fault})" for path, image in images.items() if image.fault]
    advice = "training stops; mend or remove them"
    findings.append(_finding(unreadable, "problem: unreadable images", advice))
    if "train" in splits:
        findings += check_training(splits["train"], batch_images)
    if "query" in splits and "gallery" in splits:
        findings += check_matches(splits["query"], splits["gallery"])
    findings += check_overlap(splits, images)
    counts = {name: count(split) for name, split in splits.items()}
    figures, about_market = compare(counts, "market" in dataset.resolve().name.lower())
    return f"{dataset}\n\n{figures}\n\n{sizes(images)}", findings + about_market


def read_splits(dataset: Path) -> tuple[dict[str, Split], list[str]]:
    """The splits that can be used, and what is wrong with the others and with names."""
    splits, findings, misnamed = {}, [], []
    for name in FOLDERS:
        path = records.split_path(dataset, name)
        if path.is_dir():  # a list may name an image as it likes
            misnamed += [str(file) for file in sorted(path.iterdir()) if _is_misnamed(file)]
        try:
            if path.exists():
                splits[name] = records.read_split(dataset, name)
        except InputError as error:  # no reason not to look at the other splits
            findings.append(f"problem: {error}")
    if not splits:
        none = f"{dataset}: no {', '.join(FOLDERS.values())}; no train.csv, query.csv, gallery.csv"
        raise InputError(findings[0].removeprefix("problem: ") if findings else none)
    trainable = "train" in splits
    scorable = "query" in splits and "gallery" in splits
    if not trainable and not scorable:
        missing = "no training split, and not both query and gallery"
        findings.append(f"problem: {missing}: of no use for either")
    elif not trainable:
        findings.append("warning: no training split: can be evaluated, not trained on")
    elif not scorable:
        findings.append("warning: not both query and gallery: can be trained on, not evaluated")
    advice = "left out; name images like 0002_c1s1_000451_03.jpg, or list them in a CSV file"
    findings.append(_finding(misnamed, "warning: files with other names", advice))
    return splits, findings


def _is_misnamed(file: Path) -> bool:
    if file.name.startswith(".") or file.name.lower() == "thumbs.db":
        return False  # macOS and Windows leave them
    return not (records.parse_name(file.name) and file.is_file())


def _finding(found: Sequence[str], text: str, advice: str) -> str:
    """How many there are, what to do, and the first five; or that there are none."""
    if not found:
        return f"ok: {text.partition(': ')[2]}: none"
    return "\n    ".join([f"{text}: {len(found):,}; {advice}", *found[:5]])


def open_all(paths: list[str]) -> dict[str, Image]:
    """Open each file, in threads: reading, decoding and hashing all let go of Python's lock."""
    images = {}
    with Progress(len(paths), "opening", "images") as progress, ThreadPoolExecutor() as pool:
        for path, image in zip(paths, pool.map(open_image, paths), strict=True):
            images[path] = image
            progress.advance()
    return images


def open_image(path: str) -> Image:
    """Read, decode and hash one file."""
    pixels = None
    try:
        contents = Path(path).read_bytes()
        fault = find_fault(contents)
        if not fault:
            pixels = cv2.imdecode(np.frombuffer(contents, np.uint8), _FLAGS)
    except (OSError, cv2.error) as error:  # cv2.error: a size beyond its limit, say
        fault = getattr(error, "strerror", None)
    if pixels is None:
        return Image(fault or "damaged", None, None)
    return Image(None, pixels.shape[:2], hashlib.sha256(contents).digest())


def find_fault(contents: bytes) -> str | None:
    """What shows without decoding: OpenCV before version 5 makes grey of what is cut off."""
    for start, end in _ENDS.items():
        if contents.startswith(start):  # bytes behind the end are allowed: decoders pass over them
            return None if end in contents else "cut off"
    return "not a JPEG, PNG or BMP" if contents else "empty"


def check_training(train: Split, batch_images: int) -> Iterator[str]:
    """What P×K batches and triplets need."""
    numbers = Counter(train.persons.tolist())  # of images of each identity
    if len(numbers) < 2:
        yield "problem: training is impossible with one person; a triplet needs another"
    what = "warning: training identities under one camera only"
    advice = "they teach nothing about the change of cameras"
    yield _finding(_seen_once(train.records), what, advice)
    few = [f"person {person}" for person, number in numbers.items() if number < batch_images]
    what = f"warning: training identities with fewer than {batch_images} images"
    yield _finding(few, what, "they repeat in a batch, unless --batch_images is lower")


def check_matches(query: Split, gallery: Split) -> Iterator[str]:
    """What a score needs: the query's person in the gallery, under another camera."""
    try:
        records.check_matches(query, gallery)
    except InputError as error:
        yield f"problem: evaluation would be meaningless: {error}"
    cameras = records.cameras_of(gallery.records)
    lost = [r.path for r in query.records if not cameras.get(r.person, set()) - {r.camera}]
    what = "warning: queries without a match in another camera"
    yield _finding(lost, what, "not counted in the scores")
    alone = _seen_once(r for r in query.records + gallery.records if r.person != DISTRACTOR)
    what = "warning: test identities under one camera only"
    yield _finding(alone, what, "they cannot be matched; check the cameras")


def _seen_once(found: Iterable[Record]) -> list[str]:
    cameras = records.cameras_of(found)
    return [f"person {person}" for person in sorted(cameras) if len(cameras[person]) == 1]


def check_overlap(splits: dict[str, Split], images: dict[str, Image]) -> Iterator[str]:
    """Identities and images that are in more than one split."""
    train, query, gallery = (splits[name].records if name in splits else () for name in FOLDERS)
    test = query + gallery
    # Identities. Train holds no distractors.
    both = {r.person for r in train} & {r.person for r in test}
    named = [f"person {person}" for person in sorted(both)]
    advice = "scores flatter; move or renumber them"
    yield _finding(named, "problem: identities in training and test", advice)
    # Images of training.
    leaks = [f"{r.path} = {twins[0].path}" for r, twins in _twins(train, test, images)]
    what = "problem: training images in query or gallery"
    yield _finding(leaks, what, "scores flatter; remove one copy")
    # Images of the query. With the same labels they are ignored, as they are no match.
    same, wrong = [], []
    for r, twins in _twins(query, gallery, images):
        others = [twin for twin in twins if (twin.person, twin.camera) != (r.person, r.camera)]
        if others:
            wrong.append(f"{r.path} = {others[0].path}")
        else:
            same.append(f"{r.path} = {twins[0].path}")
    what = "query images in the gallery"
    yield _finding(same, f"ok: {what}", "ignored: of the query's person and camera")
    yield _finding(wrong, f"warning: {what} under other labels", "one of the two labels is wrong")


def _twins(found: Iterable, others: Iterable, images: dict[str, Image]) -> Iterator[tuple]:
    """Yield (record, those of the others with the same bytes) where there are any."""
    by_digest = defaultdict(list)
    for other in others:
        by_digest[images[other.path].digest].append(other)
    by_digest.pop(None, None)  # of what is unreadable
    for record in found:
        digest = images[record.path].digest
        if digest in by_digest:
            yield record, by_digest[digest]


def count(split: Split) -> dict[str, int]:
    """The figures of one split."""
    persons = split.persons.tolist()
    distractors = persons.count(DISTRACTOR)
    identities = len({*persons} - {DISTRACTOR})
    cameras = len({*split.cameras.tolist()})
    figures = (len(persons), identities, cameras, split.junk, distractors, split.ignored)
    return dict(zip(FIGURES, figures, strict=True))


def compare(counts: dict[str, dict], called_market: bool) -> tuple[str, list[str]]:
    """The splits side by side, beside Market-1501's if they look like it; and then what differs."""
    like_market = called_market
    unlike = []
    for name, figures in counts.items():
        for figure, wanted in MARKET[name].items():
            if figures[figure] != wanted:
                unlike.append(f"{name}: {figures[figure]:,} {figure}, not {wanted:,}")
            elif figure != "cameras":  # many sets have six
                like_market = True
    # A column for each split, and Market-1501's beside it.
    columns = []
    for name, market in MARKET.items():
        columns.append((name, counts.get(name, {})))
        if like_market:
            columns.append(("Market-1501", market))
    lines = [" " * 12 + "".join(f"{title:>12}" for title, _ in columns)]
    for figure in FIGURES:
        cells = [f"{figures[figure]:,}" if figure in figures else "-" for _, figures in columns]
        lines.append(f"{figure:<12}" + "".join(f"{cell:>12}" for cell in cells))
    advice = "if it is Market-1501, unpack it again"
    differs = _finding(unlike, "warning: figures unlike Market-1501's", advice)
    return "\n".join(lines), [differs] if like_market else []


def sizes(images: dict[str, Image]) -> str:
    """Smallest and largest by area, and the median of heights and of widths."""
    found = [image.size for image in images.values() if image.size] or [(0, 0)]
    found.sort(key=math.prod)
    heights, widths = zip(*found, strict=True)
    median = (statistics.median_low(heights), statistics.median_low(widths))
    shown = {"smallest": found[0], "median": median, "largest": found[-1]}
    return "height x width: " + ", ".join(f"{name} {h}x{w}" for name, (h, w) in shown.items())
