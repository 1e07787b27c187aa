"""What is wrong with a data set, before anyone trains or evaluates on it."""

import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mgn.config.dataset import DataSet
from mgn.data import records
from mgn.data.appearance import Appearance
from mgn.data.duplicates import check_overlap, check_splits
from mgn.data.findings import FIGURES, OK, PROBLEM, WARNING, Finding, Report, look_for
from mgn.data.formats import counts, table
from mgn.data.formats.layout import Layout
from mgn.data.names import CALLED, DISTRACTOR, EXAMPLE, FOLDERS, WAYS
from mgn.data.opening import open_all
from mgn.data.records import ZEROS, ZEROS_ADVICE, Record, Split
from mgn.data.suspects import SHOWN, Suspect, find_near_copies, odd_images, samples
from mgn.system.errors import InputError
from mgn.system.errors import advice as advice_on

NEAR_COPIES = "pairs of images of different identities that look nearly the same"


def examine(dataset: DataSet | Path, batch_images: int) -> Report:
    """Look at names, images, identities and cameras of all splits.

    Raises:
        InputError: there is no split at all.
    """
    try:
        dataset, layout = table.recognise(dataset)
        splits, findings = read_splits(dataset, layout)
    except OSError as error:
        raise InputError(_told(error)) from None
    images = open_all([path for split in splits.values() for path in split.paths])
    unreadable = [image.fault for image in images.values() if image.fault]
    advice = "training stops; repair or remove them"
    findings.append(look_for(PROBLEM, "unreadable images", unreadable, advice))
    if "train" in splits:
        findings += check_training(splits["train"], batch_images)
    if "query" in splits and "gallery" in splits:
        findings += check_matches(splits["query"], splits["gallery"])
    digests = {path: image.digest for path, image in images.items() if image.digest}
    findings += check_overlap(splits, digests)
    findings += check_splits(splits, digests)
    looks = {path: image.appearance for path, image in images.items() if image.appearance}
    copies, number = find_near_copies(splits, looks, digests)
    findings.append(_near_copies(copies, number))
    suspects = {NEAR_COPIES: list(itertools.chain(*copies[:SHOWN]))}
    suspects |= odd_images(looks) | samples(splits, looks)
    figures = {name: count(split) for name, split in splits.items()}
    like, expected, differing = compare(dataset, figures)
    findings += differing
    return Report(str(dataset), figures, expected, like, sizes(looks), tuple(findings), suspects)


def examine_unlabelled(folder: Path) -> Report:
    """Look at every image under a folder, whoever is on it.

    Raises:
        InputError: there is none.
    """
    images = records.image_files(folder)
    opened = open_all(images.paths)
    unreadable = [image.fault for image in opened.values() if image.fault]
    findings = (look_for(WARNING, "unreadable images", unreadable, "left out"),)
    looks = {path: image.appearance for path, image in opened.items() if image.appearance}
    return Report(str(folder), {}, {}, "", sizes(looks), findings, odd_images(looks))


def all_images(dataset: DataSet | Path) -> Split:
    """The images of all splits that can be used.

    Raises:
        InputError: there is none.
    """
    splits, _ = read_splits(*table.recognise(dataset))
    return records.joined(list(splits.values()))


def read_splits(dataset: DataSet, layout: Layout) -> tuple[dict[str, Split], list[Finding]]:
    """The splits that can be used, and what is wrong with the others and with names."""
    splits, findings, misnamed = {}, [], []
    for name in FOLDERS:
        try:
            if records.has_split(dataset, name):
                splits[name] = records.read_split(dataset, name)
                misnamed += splits[name].others
        except (InputError, OSError) as error:  # no reason not to look at the other splits
            findings.append(Finding(PROBLEM, _told(error)))
    if not splits:
        raise InputError(findings[0].what if findings else f"{dataset}: must have {layout.needed}")
    readable = " that can be read" if findings else ""
    trainable = "train" in splits
    scorable = "query" in splits and "gallery" in splits
    if not trainable and not scorable:
        missing = f"no training split, and not both query and gallery{readable}"
        findings.append(Finding(PROBLEM, f"{missing}: can be neither trained on nor evaluated"))
    elif not trainable:
        missing = f"no training split{readable}: can be evaluated, not trained on"
        findings.append(Finding(WARNING, missing))
    elif not scorable:
        missing = f"not both query and gallery{readable}: can be trained on, not evaluated"
        findings.append(Finding(WARNING, missing))
    ways = table.ways(layout)
    named = f", as not named like {EXAMPLE}" if ways == WAYS else ""
    advice = f"left out{named}; {ways}"
    findings.append(look_for(WARNING, "files with other names", misnamed, advice))
    for name, split in splits.items():
        if split.zeros:
            what = f"{CALLED[name]} {ZEROS}"
            findings.append(look_for(WARNING, what, split.zeros, ZEROS_ADVICE))
    return splits, findings


def _told(error: InputError | OSError) -> str:
    """What an error says; of one of the system also where, and what it means."""
    if isinstance(error, InputError):
        return str(error)
    return f"{error.filename}: {advice_on(error) or error.strerror}"


def _near_copies(copies: Sequence[tuple[Suspect, Suspect]], number: int) -> Finding:
    examples = []
    for first, second in copies:
        examples.append(f"{second.path} ~ {first.path} ({first.note}; {second.note})")
    advice = "one person under two numbers?"
    found = look_for(WARNING, NEAR_COPIES, examples, advice)
    return dataclasses.replace(found, count=number)


def check_training(train: Split, batch_images: int) -> Iterator[Finding]:
    """What P×K batches and triplets need."""
    numbers = Counter(train.persons.tolist())  # of images of each identity
    if len(numbers) < 2:
        impossible = "training is impossible with one person; a triplet needs another"
        yield Finding(PROBLEM, impossible)
    what = "training identities under one camera only"
    advice = "they teach nothing about the change of cameras"
    yield look_for(WARNING, what, _seen_once(train.records), advice)
    few = [f"person {person}" for person, number in numbers.items() if number < batch_images]
    what = f"training identities with fewer than {batch_images} images"
    advice = "they repeat in a batch, unless --batch_images is lower"
    yield look_for(WARNING, what, few, advice)


def check_matches(query: Split, gallery: Split) -> Iterator[Finding]:
    """What a score needs: the query's person in the gallery, under another camera."""
    try:
        records.check_matches(query, gallery)
    except InputError as error:
        yield Finding(PROBLEM, f"evaluation would be meaningless: {error}")
    cameras = records.cameras_of(gallery.records)
    lost = [r.path for r in query.records if not cameras.get(r.person, set()) - {r.camera}]
    what = "queries without a match in another camera"
    yield look_for(WARNING, what, lost, "not counted in the scores")
    alone = _seen_once(r for r in query.records + gallery.records if r.person != DISTRACTOR)
    what = "test identities under one camera only"
    yield look_for(WARNING, what, alone, "they cannot be matched; check the cameras")


def _seen_once(found: Iterable[Record]) -> list[str]:
    cameras = records.cameras_of(found)
    return [f"person {person}" for person in sorted(cameras) if len(cameras[person]) == 1]


def count(split: Split) -> dict[str, int]:
    """The figures of one split."""
    persons = split.persons.tolist()
    distractors = persons.count(DISTRACTOR)
    identities = len({*persons} - {DISTRACTOR})
    cameras = len({*split.cameras.tolist()})
    figures = (len(persons), identities, cameras, split.junk, distractors, split.ignored)
    return dict(zip(FIGURES, figures, strict=True))


def compare(
    dataset: DataSet, figures: dict[str, dict]
) -> tuple[str, counts.Figures, list[Finding]]:
    """The published data set that this one looks like, its figures, and what differs."""
    like, expected, differing = counts.compare(dataset.folder, dataset.format, figures)
    if not like:
        return "", {}, []
    if not differing:
        return like, expected, [Finding(OK, f"looks like {like}, and has its figures")]
    advice = "if it is that data set, unpack it again"
    what = f"looks like {like}: {'; '.join(differing)}"
    return like, expected, [Finding(WARNING, what, advice=advice)]


def sizes(looks: Mapping[str, Appearance]) -> dict[str, tuple[int, int]]:
    """Smallest and largest by area, and the median of heights and of widths; {} of no image."""
    found = sorted(((look.height, look.width) for look in looks.values()), key=math.prod)
    if not found:
        return {}
    heights, widths = zip(*found, strict=True)
    median = (statistics.median_low(heights), statistics.median_low(widths))
    return {"smallest": found[0], "median": median, "largest": found[-1]}
