"""File names, splits, labels and P×K batches."""

import numpy as np
import pytest

from mgn import data
from mgn.errors import InputError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0002_c1s1_000451_03.jpg", (2, 1)),
        ("1501_c6s4_001902_01.PNG", (1501, 6)),
        ("0000_c4s6_018191_01.bmp", (0, 4)),
        ("-1_c5s2_089113_01.jpg.jpg", (-1, 5)),
        ("0107_c12s1_000001_00.JPEG", (107, 12)),
        ("0002_c1s1_000451_03.gif", None),
        ("Thumbs.db", None),
        ("c1s1_000451_03.jpg", None),
        ("x0002_c1s1_000451_03.jpg", None),
    ],
)
def test_names(name, expected):
    assert data.parse_name(name) == expected


def test_splits_of_the_small_set(dataset):
    train, query, gallery = (data.read_split(dataset, split) for split in ("train", "query", "gallery"))
    assert [len(s.records) for s in (train, query, gallery)] == [48, 8, 25]
    assert [(s.junk, s.ignored) for s in (train, query, gallery)] == [(0, 1), (0, 1), (1, 1)]
    assert 0 in gallery.persons and -1 not in gallery.persons  # the distractor stays, the junk goes
    assert set(train.cameras) == {1, 2}


def test_a_distractor_is_never_a_label_or_a_query(tmp_path):
    for folder in ("bounding_box_train", "query"):
        (tmp_path / folder).mkdir()
        for name in ("0000_c1s1_000001_00.jpg", "0005_c1s1_000001_00.jpg", "-1_c1s1_000001_00.jpg"):
            (tmp_path / folder / name).touch()
    for split in ("train", "query"):
        assert data.read_split(tmp_path, split).persons.tolist() == [5]


def test_missing_folder_and_empty_split(tmp_path):
    with pytest.raises(InputError, match="no such folder; --dataset"):
        data.read_split(tmp_path, "train")
    (tmp_path / "bounding_box_train").mkdir()
    (tmp_path / "bounding_box_train" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no picture named like .* \(1 other files"):
        data.read_split(tmp_path, "train")


def test_what_is_no_file_is_ignored(tmp_path):
    folder = tmp_path / "query"
    folder.mkdir()
    (folder / "0001_c1s1_000001_00.jpg").touch()
    (folder / "0002_c1s1_000001_00.jpg").mkdir()
    (folder / "0003_c1s1_000001_00.jpg").symlink_to("nowhere")
    split = data.read_split(tmp_path, "query")
    assert (len(split.records), split.ignored) == (1, 2)


def test_a_test_set_without_any_match_is_refused():
    def split(*pairs):
        return data.Split(tuple(data.Record("x", *pair) for pair in pairs), 0, 0)

    data.check_matches(split((1, 1), (2, 1)), split((2, 2), (1, 1)))
    for gallery in (split((1, 1), (2, 1)), split((3, 2))):
        with pytest.raises(InputError, match="under another camera"):
            data.check_matches(split((1, 1), (2, 1)), gallery)


def test_labels_follow_the_sorted_people():
    assert data.labels_of([7, 2, 1500, 2]).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(("people", "ids"), [(24, 8), (10, 4), (9, 4), (5, 4), (3, 8), (2, 2), (751, 16)])
def test_batches_hold_every_person_once_with_k_pictures(people, ids):
    rng = np.random.default_rng(people)
    labels = rng.permutation(np.repeat(np.arange(people), rng.integers(1, 9, people)))
    batches = data.pk_batches(labels, ids, 4, seed=3, epoch=5)
    assert len(batches) == data.steps_per_epoch(people, ids)
    seen = []
    for batch in batches:
        rows = batch.reshape(-1, 4)
        assert 2 <= len(rows) <= ids + 1
        for row in rows:
            (person,) = set(labels[row])
            available = np.sum(labels == person)
            assert len(set(row)) == min(4, available)  # no picture twice while there are others
            assert np.unique(row, return_counts=True)[1].max() == -(-4 // min(4, available))
            seen.append(person)
    assert sorted(seen) == list(range(people))


def test_market_1501_has_47_steps_an_epoch():
    assert data.steps_per_epoch(751, 16) == 47  # as MGN-pytorch's 751 people at P=16


def test_batches_are_a_function_of_seed_and_epoch():
    labels = np.repeat(np.arange(12), 6)
    first, again = (np.concatenate(data.pk_batches(labels, 4, 4, 1, 2)) for _ in range(2))
    assert np.array_equal(first, again)
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        assert not np.array_equal(first, np.concatenate(data.pk_batches(labels, 4, 4, seed, epoch)))
