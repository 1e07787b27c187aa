"""Several data sets to train on as one: identities and cameras kept apart, no image twice."""

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mgn.data.records import Split
from mgn.system.errors import InputError
from mgn.system.progress import Progress


def names_of(datasets: Sequence[Path]) -> list[str]:
    """A short name for each data set: its folder's, or its whole path where two have that.

    Raises:
        InputError: one is given twice.
    """
    whole = [Path(dataset).resolve() for dataset in datasets]
    short = [path.name for path in whole]
    for dataset, path in zip(datasets, whole, strict=True):
        if whole.count(path) > 1:
            raise InputError(f"--dataset {dataset}: given twice; name it once")
    return [
        name if short.count(name) == 1 else str(path)
        for name, path in zip(short, whole, strict=True)
    ]


def join(splits: Sequence[Split]) -> Split:
    """One split of several, in their order.

    Identities and cameras are numbered on from one split to the next: identity 7 of one is not
    identity 7 of another. Those of the first keep their numbers.
    """
    records, identities, cameras = [], 0, 0
    for split in splits:
        for record in split.records:
            shifted = {"person": record.person + identities, "camera": record.camera + cameras}
            records.append(dataclasses.replace(record, **shifted))
        identities += int(split.persons.max()) + 1
        cameras += int(split.cameras.max()) + 1
    junk = sum(split.junk for split in splits)
    ignored = sum(split.ignored for split in splits)
    kinds = sum((split.kinds for split in splits), Counter())
    zeros = tuple(itertools.chain.from_iterable(split.zeros for split in splits))
    return Split(tuple(records), junk, ignored, kinds, zeros)


def check_apart(
    training: Mapping[str, Sequence[str]], scored_on: Mapping[str, Sequence[str]]
) -> None:
    """Compare the contents of files: data sets that are trained on together must not overlap.

    Args:
        training: by data set, its training images.
        scored_on: by data set, its query and gallery images.

    Raises:
        InputError: a training image of one is a training image of another, under two identities
            then, or an image that another is scored on.
    """
    total = sum(map(len, training.values())) + sum(map(len, scored_on.values()))
    seen = {}  # by contents: data set and file of a training image
    with Progress(total, "comparing", "images") as progress:
        for dataset, path, contents in _files(training, progress):
            other, same = seen.setdefault(contents, (dataset, path))
            if other != dataset:
                problem = "the data sets overlap; remove one copy"
                raise InputError(f"{path} is the same training image as {same}: {problem}")
        for dataset, path, contents in _files(scored_on, progress):
            other, same = seen.get(contents, (dataset, path))
            if other != dataset:
                problem = "training and test overlap; remove one copy"
                raise InputError(f"{path} is the same image as {same}: {problem}")


def _files(
    datasets: Mapping[str, Sequence[str]], progress: Progress
) -> Iterator[tuple[str, str, bytes]]:
    """Yield (data set, file, digest of its contents)."""
    for dataset, paths in datasets.items():
        for path in paths:
            yield dataset, path, hashlib.sha256(Path(path).read_bytes()).digest()
            progress.advance()
