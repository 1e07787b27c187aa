"""The data sets of a run: one training set of all of them, and what each is scored on."""

import itertools
import sys
from typing import NamedTuple

from mgn.config.dataset import DataSet
from mgn.config.settings import RunSettings
from mgn.data.formats.table import note
from mgn.data.joining import check_apart, join, names_of
from mgn.data.reading import check_readable
from mgn.data.records import Split, check_matches, describe, has_split, read_split, warn_of_zeros
from mgn.system.errors import InputError


class RunData(NamedTuple):
    """What a run trains on and is scored on."""

    training: Split  # of all data sets
    sources: dict[str, Split]  # by data set, as it numbers its identities and cameras
    test_sets: dict[str, DataSet]  # by data set: those that have query and gallery

    @property
    def without_test_set(self) -> list[str]:
        """The data sets that nothing is scored on."""
        return [name for name in self.sources if name not in self.test_sets]

    def describe(self) -> str:
        """Count images, identities and cameras; of several data sets a line each."""
        lines = [f"training set: {describe(self.training)}\n"]
        if len(self.sources) > 1:
            lines += [f"  {name}: {describe(split)}\n" for name, split in self.sources.items()]
        for name in self.without_test_set:
            lines.append(f"{name} has no query and gallery: nothing will be scored on it\n")
        return "".join(lines)


def read(settings: RunSettings) -> RunData:
    """List the images of a run's data sets, and look at each once.

    Raises:
        InputError: what would end the run after hours: an image that cannot be read, in the test
            sets too, test sets without a match, data sets that overlap, nothing to validate on;
            a test set that is a link to nowhere.
    """
    names = names_of(settings.datasets)
    sources, test_sets, scored_on = {}, {}, {}
    for name, dataset in zip(names, settings.datasets, strict=True):
        sources[name] = read_split(dataset, "train")
        splits = {"train": sources[name]}
        if has_test_set(dataset):
            splits["query"] = query = read_split(dataset, "query")
            gallery = read_split(dataset, "gallery")
            _check_matches(dataset, query, gallery)
            test_sets[name] = dataset
            sys.stderr.write(note(dataset))
            scored_on[name] = [*query.paths, *gallery.paths]
        warn_of_zeros(dataset, splits)
    every = settings.config.eval_every
    if every and not test_sets:
        told = " and ".join(str(dataset) for dataset in settings.datasets)
        raise InputError(f"--eval_every {every}: {told} has no query and gallery; leave it out")
    training = join(list(sources.values()))
    check_readable([*training.paths, *itertools.chain(*scored_on.values())])
    if len(sources) > 1:
        check_apart({name: split.paths for name, split in sources.items()}, scored_on)
    return RunData(training, sources, test_sets)


def has_test_set(dataset: DataSet) -> bool:
    """Whether a data set has query and gallery."""
    return has_split(dataset, "query") and has_split(dataset, "gallery")


def _check_matches(dataset: DataSet, query: Split, gallery: Split) -> None:
    try:
        check_matches(query, gallery)
    except InputError as error:
        way = "or move both elsewhere, to train without scores"
        raise InputError(f"{dataset}: {error}, {way}") from None
