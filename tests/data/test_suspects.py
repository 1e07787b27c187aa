"""Which images are shown, where it is known which are odd."""

import numpy as np

from mgn.data.appearance import Appearance
from mgn.data.records import Record, Split
from mgn.data.suspects import find_near_copies, odd_images, samples


def seen(number, **changed):
    """An ordinary image, none like another."""
    bits = np.random.default_rng(number).integers(0, 2**63, 2).astype(np.uint64)
    return Appearance(128, 64, 100.0 + number, 0.5, bits)._replace(**changed)


def split_of(*records):
    return Split(tuple(Record(*record) for record in records), 0, 0)


def test_the_least_of_each_measure_comes_first():
    looks = {f"{i}.jpg": seen(i) for i in range(30)}
    looks["small.jpg"] = seen(1, height=20, width=10)
    looks["blurred.jpg"] = seen(2, sharpness=0.0123)
    looks["dark.jpg"] = seen(3, light=3.4)
    shown = odd_images(looks)
    assert [len(images) for images in shown.values()] == [12, 12, 12]
    assert [images[0] for images in shown.values()] == [
        ("small.jpg", "20x10"),
        ("blurred.jpg", "sharpness 0.012"),
        ("dark.jpg", "grey level 3"),
    ]


def test_near_copies_are_named_with_both_identities():
    looks = {f"{i}.jpg": seen(i) for i in range(4)}
    looks["3.jpg"] = seen(3, hash=looks["0.jpg"].hash ^ np.uint64(1))
    splits = {
        "train": split_of(("0.jpg", 7, 1), ("1.jpg", 7, 2), ("gone.jpg", 7, 1)),
        "query": split_of(("2.jpg", 8, 1), ("3.jpg", 9, 1)),
    }
    looks["again.jpg"] = looks["1.jpg"]  # the same bytes under another identity
    splits["gallery"] = split_of(("again.jpg", 5, 2))
    digests = {path: path.encode() for path in looks} | {"again.jpg": b"1.jpg"}
    pairs, total = find_near_copies(splits, looks, digests)
    assert total == 1
    assert pairs == [(("0.jpg", "person 7"), ("3.jpg", "person 9, 2 of 128 bits differ"))]


def test_a_row_of_each_camera():
    records = [(f"{i}.jpg", i // 10, 1 + i % 2) for i in range(100)]
    looks = {path: seen(i) for i, (path, *_) in enumerate(records)}
    del looks["0.jpg"]  # unreadable
    shown = samples({"train": split_of(*records[:50]), "query": split_of(*records[50:])}, looks)
    assert list(shown) == ["camera 1", "camera 2"]
    first, *_, last = shown["camera 1"]
    assert (first, last) == (("2.jpg", "person 0"), ("98.jpg", "person 9"))
    assert len(shown["camera 1"]) == len(shown["camera 2"]) == 12
    assert samples({}, {}) == {}
