"""Copies inside a split and between splits, on digests by hand."""

import pytest

from mgn.data.duplicates import check_overlap, check_splits
from mgn.data.records import Record, Split

# Path: identity and digest. Images of one letter have the same bytes.
IMAGES = {
    "train": {"t1": (1, "a"), "t1 (1)": (1, "a"), "t2": (2, "a"), "t3": (2, "b"), "t4": (2, None)},
    "query": {"q1": (7, "c"), "q2": (8, "d"), "q3": (8, None)},
    "gallery": {"g1": (7, "c"), "g2": (7, "c"), "g3": (0, "d"), "g4": (9, "b"), "g5": (9, "e")},
}


@pytest.fixture
def found():
    """{what: (level, examples)} of all that is not as it should be."""
    splits, digests = {}, {}
    for name, images in IMAGES.items():
        records = [Record(path, person, 1) for path, (person, _) in images.items()]
        splits[name] = Split(tuple(records), 0, 0)
        digests |= {path: digest for path, (_, digest) in images.items() if digest}
    findings = [*check_splits(splits, digests), *check_overlap(splits, digests)]
    return {f.what: (f.level, f.examples) for f in findings if f.count}


def test_what_is_there_twice(found):
    assert found == {
        "training images under two identities": ("problem", ("t2 = t1 (person 2 and person 1)",)),
        "copies of training images": ("warning", ("t1 (1) = t1",)),
        "copies of gallery images": ("warning", ("g2 = g1",)),
        "training images in query or gallery": ("problem", ("t3 = g4",)),
        "query images in the gallery": ("ok", ("q1 = g1",)),
        "query images in the gallery under other labels": ("warning", ("q2 = g3",)),
    }
