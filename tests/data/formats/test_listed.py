"""MSMT17 and VehicleID, by tiny folders with lists that a reader can count."""

import pytest

from mgn.config.dataset import DataSet
from mgn.data.formats.table import is_pooled, recognise
from mgn.data.records import has_split, read_split
from mgn.system.errors import InputError

from .sets import msmt17, vehicleid


@pytest.mark.parametrize("folders", [("mask_train_v2", "mask_test_v2"), ("train", "test")])
def test_msmt17_starts_at_0_twice(tmp_path, folders):
    msmt17(tmp_path, *folders)
    assert recognise(tmp_path)[0].format == "msmt17"
    train, query, gallery = (read_split(tmp_path, s) for s in ("train", "query", "gallery"))
    assert train.persons.tolist() == [1, 2, 3] and train.cameras.tolist() == [1, 15, 3]
    assert query.persons.tolist() == gallery.persons.tolist() == [10_001, 10_002]
    assert gallery.cameras.tolist() == [7, 8]
    assert [split.junk for split in (train, query, gallery)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("val", None, r"list_val\.txt: No such file or directory; MSMT17 has list_train\.txt"),
        ("train", "0000/0000_000_01_a.jpg\n", r"line 1: .*must be an image's name and its"),
        ("train", "\n0000/x 1_2\n", r"line 2: '0000/x 1_2': must be"),
        ("train", "0000/0000_000_01_b.jpg 0\n", r"line 1: .*mask_train_v2.*_01_b.jpg: no such"),
        ("train", "0000/0000.jpg 0\n", r"line 1: 0000/0000.jpg: not named like 0000_000_01_"),
        (
            "train",
            f"0000/0000_000_01_a.jpg {10**9}\n",
            r"line 1: person 10{9}, .*: must be from -1 to 999,999,999$",
        ),
        (
            "train",
            f"0000/0000_000_{10**30}_a.jpg 0\n",
            r"line 1: person 0, camera 10{30}: must be from",
        ),
        ("train", b"\xff\xfe\x00", r"list_train\.txt: not a text file"),
        ("train", "", r"list_train\.txt: no usable line"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path, name, text, expected):
    path = msmt17(tmp_path) / f"list_{name}.txt"
    path.unlink()
    if isinstance(text, str):
        path.write_text(text)
        (tmp_path / "list_val.txt").write_text("")
    elif text:
        path.write_bytes(text)
    with pytest.raises(InputError, match=expected):
        read_split(tmp_path, "train")


def test_msmt17_without_its_folders_or_lists(tmp_path):
    msmt17(tmp_path)
    (tmp_path / "mask_test_v2").rename(tmp_path / "aside")
    with pytest.raises(InputError, match=r"no folder mask_test_v2 or test; MSMT17 has"):
        read_split(tmp_path, "query")
    (tmp_path / "list_gallery.txt").unlink()
    assert has_split(tmp_path, "query") and not has_split(tmp_path, "gallery")


def test_vehicleid_draws_one_image_of_each_as_gallery(tmp_path):
    vehicleid(tmp_path, 5, 4)
    assert recognise(tmp_path)[0].format == "vehicleid" and is_pooled(tmp_path)
    assert read_split(tmp_path, "train").persons.tolist() == [1, 8]  # 0 is a vehicle
    query, gallery = read_split(tmp_path, "query"), read_split(tmp_path, "gallery")
    assert sorted(gallery.persons) == [101, 102, 103, 104]  # of the smallest list
    assert sorted(query.persons) == sorted([101, 102, 103, 104] * 2)
    assert not set(query.paths) & set(gallery.paths)
    assert set(query.cameras.tolist()).isdisjoint(gallery.cameras.tolist())
    assert read_split(tmp_path, "gallery") == gallery  # the same draw
    assert len(read_split(DataSet(tmp_path, split=5), "gallery").records) == 5
    with pytest.raises(InputError, match=r"test_list_800.txt: No such file"):
        read_split(DataSet(tmp_path, split=800), "query")
