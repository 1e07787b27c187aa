"""File names, CSV lists and splits."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import pytest

from data.test_lists import write_list
from mgn.config.dataset import DataSet
from mgn.data import names, records
from mgn.system.errors import InputError


def test_splits_of_the_small_set(dataset):
    train, query, gallery = (
        records.read_split(dataset, split) for split in ("train", "query", "gallery")
    )
    assert [len(s.records) for s in (train, query, gallery)] == [48, 8, 25]
    assert [(s.junk, s.ignored) for s in (train, query, gallery)] == [(0, 1), (0, 1), (1, 1)]
    assert 0 in gallery.persons and -1 not in gallery.persons  # the distractor stays, the junk goes
    assert set(train.cameras) == {1, 2}
    left_out = "1 junk, 0 distractors, 1 other files: 1 hidden"  # Thumbs.db
    text = f"25 images of 4 identities by 2 cameras (left out: {left_out})"
    assert records.describe(gallery) == text


def test_a_distractor_is_never_a_label_or_a_query(tmp_path):
    for folder in ("bounding_box_train", "query"):
        (tmp_path / folder).mkdir()
        for name in ("0000_c1s1_000001_00.jpg", "0005_c1s1_000001_00.jpg", "-1_c1s1_000001_00.jpg"):
            (tmp_path / folder / name).touch()
    for split in ("train", "query"):
        found = records.read_split(tmp_path, split)
        assert found.persons.tolist() == [5] and found.junk == 2
        zero = tmp_path / names.FOLDERS[split] / "0000_c1s1_000001_00.jpg"
        assert found.zeros == (str(zero),)  # which may be somebody
        assert found.left_out == "1 junk, 1 distractors, 0 other files"


def test_images_of_identity_0_are_missed_aloud(capsys):
    one = split_of((1, 1))
    lost = dataclasses.replace(one, zeros=("a.jpg", "b.jpg"))
    records.warn_of_zeros("duke", {"query": one})
    assert capsys.readouterr().err == ""
    records.warn_of_zeros("duke", {"train": lost, "query": one})
    what = "2 training images of identity 0, which Market-1501 uses for distractors"
    expected = f"warning: duke: {what}; left out; if 0 is a person, number identities from 1\n"
    assert capsys.readouterr().err == expected
    records.warn_of_zeros("duke", {"train": lost, "query": dataclasses.replace(one, zeros=("c",))})
    assert "duke: 2 training and 1 query images of identity 0" in capsys.readouterr().err


def test_missing_folder_and_empty_split(tmp_path):
    with pytest.raises(InputError, match="no data set in it; --dataset"):
        records.read_split(tmp_path, "train")
    (tmp_path / "bounding_box_train").mkdir()
    (tmp_path / "bounding_box_train" / "notes.txt").touch()
    expected = r"no image named like .*, 1 other files: 1 \.txt\); other names need lists"
    with pytest.raises(InputError, match=expected):
        records.read_split(tmp_path, "train")
    for name in ("0001", "0002"):
        (tmp_path / "bounding_box_train" / name).mkdir()
    with pytest.raises(InputError, match=r"3 other files: 2 folders, 1 \.txt.*a folder for each"):
        records.read_split(tmp_path, "train")


def test_a_folder_is_ignored_and_a_link_to_nowhere_is_an_image_to_be_missed(tmp_path):
    folder = tmp_path / "query"
    folder.mkdir()
    (folder / "0001_c1s1_000001_00.jpg").touch()
    (folder / "0002_c1s1_000001_00.jpg").mkdir()
    (folder / "0003_c1s1_000001_00.jpg").symlink_to("nowhere")
    split = records.read_split(tmp_path, "query")
    assert [record.person for record in split.records] == [1, 3]
    assert (split.ignored, split.kinds) == (1, {"folders": 1})


def test_a_list_beside_the_folder_is_not_ignored_silently(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    for name in names.FOLDERS:
        (copy / f"{name}.csv").write_text(f"path,person,camera\n{copy / 'one.jpg'},7,1\n")
        (copy / "one.jpg").touch()
        expected = r"layouts of market1501 \(bounding_box_train.* and csv \(.*; choose one"
        with pytest.raises(InputError, match=expected):
            records.read_split(copy, name)
        assert records.read_split(DataSet(copy, "csv"), name).persons.tolist() == [7]
        assert len(records.read_split(DataSet(copy, "market1501"), name).records) > 1
        (copy / f"{name}.csv").unlink()


def test_folders_and_lists_may_be_mixed(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    shutil.rmtree(copy / "query")
    (copy / "one.jpg").touch()
    (copy / "query.csv").write_text("path,person,camera\none.jpg,9,3\n")
    assert records.read_split(copy, "query").cameras.tolist() == [3]
    assert len(records.read_split(copy, "train").records) == 48


def test_a_split_that_is_a_link(dataset, tmp_path):
    for name, folder in names.FOLDERS.items():
        (tmp_path / folder).symlink_to(dataset / folder)
        assert len(records.read_split(tmp_path, name).records) > 0
        (tmp_path / folder).unlink()
        (tmp_path / folder).symlink_to("/nowhere/at/all")
        with pytest.raises(InputError, match=f"{folder}: a link to /nowhere/at/all, which does"):
            records.has_split(tmp_path, name)


def test_a_csv_list_is_relative_to_itself_in_its_order(tmp_path):
    lines = (
        "\ufeffperson,camera,path,remark\n7,2,y.png,\n3,1,a\\x.jpg,back\n-1,1,y.png,\n0,3,y.png,\n"
    )
    path = write_list(tmp_path / "gallery.csv", lines)
    split = records.read_images(path, "gallery")
    expected = [(str(tmp_path / "y.png"), 7, 2), (str(tmp_path / "a" / "x.jpg"), 3, 1)]
    assert [(r.path, r.person, r.camera) for r in split.records[:2]] == expected
    assert split.records[2].person == 0 and (split.junk, split.ignored) == (1, 0)
    assert len(records.read_images(path, "query").records) == 2  # a distractor is no query


def test_a_data_set_of_csv_lists(tmp_path):
    write_list(tmp_path / "train.csv", "path,person,camera\na/x.jpg,3,1\n")
    assert records.read_split(tmp_path, "train").persons.tolist() == [3]
    expected = r"no such folder; --dataset .*train\.csv, query\.csv, gallery\.csv"
    with pytest.raises(InputError, match=expected):
        records.read_split(tmp_path, "query")


def test_a_list_in_capitals(tmp_path):
    write_list(tmp_path / "TRAIN.CSV", "path,person,camera\na/x.jpg,3,1\n")
    assert records.read_split(tmp_path, "train").persons.tolist() == [3]


def test_a_list_without_a_line(tmp_path):
    path = write_list(tmp_path / "query.csv", "path,person,camera\n")
    with pytest.raises(InputError, match=r"query\.csv: no usable line"):
        records.read_images(path, "query")


def split_of(*persons_and_cameras):
    found = [records.Record(f"{i}.jpg", *pair) for i, pair in enumerate(persons_and_cameras)]
    return records.Split(tuple(found), 0, 0)


def test_no_match_is_said_with_its_reason():
    query = split_of((1, 1), (2, 2))
    records.check_matches(query, split_of((1, 1), (2, 1)))
    with pytest.raises(InputError, match="every query person is seen by one camera only"):
        records.check_matches(query, split_of((1, 1), (2, 2), (3, 1)))
    with pytest.raises(InputError, match="no query person is in the gallery"):
        records.check_matches(query, split_of((0, 1), (3, 2)))


def test_what_is_no_folder_and_no_list_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    expected = r"notes\.txt: neither a folder of images nor a \.csv list"
    with pytest.raises(InputError, match=expected):
        records.read_images(tmp_path / "notes.txt", "query")


def test_every_image_under_a_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.JPG", "0002_c3s1_000001_00.png", "sub/a.bmp", "notes.txt"):
        (tmp_path / name).touch()
    split = records.image_files(tmp_path)
    found = [(Path(r.path).name, r.person, r.camera) for r in split.records]
    assert found == [("0002_c3s1_000001_00.png", 2, 3), ("b.JPG", -2, -2), ("a.bmp", -2, -2)]
    assert (split.ignored, split.kinds) == (1, {".txt": 1})
    assert len(records.image_files(tmp_path / "notes.txt").records) == 1  # named by the user
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no image in it \(\.jpg, .*\.ppm\); name another$"):
        records.image_files(tmp_path / "empty")
    for name in ("a.heic", "b.HEIC", "c.txt", ".d.jpg"):
        (tmp_path / "empty" / name).touch()
    with pytest.raises(InputError, match=r"; left out: 2 \.heic, 1 \.txt, 1 hidden; name"):
        records.image_files(tmp_path / "empty")


def test_links_are_images_wherever_they_lead(tmp_path):
    """As data kept by git-annex or DVC: the names are links into a store."""
    (tmp_path / "gallery").mkdir()
    (tmp_path / "store").mkdir()
    for name in ("a.jpg", "b.webp"):
        (tmp_path / "store" / name).touch()
        (tmp_path / "gallery" / name).symlink_to(f"../store/{name}")
    (tmp_path / "gallery" / "c.png").symlink_to("../store/not-mounted")
    (tmp_path / "gallery" / "all").symlink_to("../store")
    (tmp_path / "store" / "back").symlink_to("../gallery")  # a circle
    found = [
        str(Path(path).relative_to(tmp_path / "gallery"))
        for path in records.image_files(tmp_path / "gallery").paths
    ]
    assert found == ["a.jpg", "all/a.jpg", "all/b.webp", "b.webp", "c.png"]


def test_several_splits_are_one():
    """In order, each image once, and what was left out of either counted."""
    one = records.Split((records.Record("a", 1, 1), records.Record("b", 2, 1)), 0, 1, Counter(x=1))
    two = records.Split(
        (records.Record("b", 2, 1), records.Record("c", 3, 1)), 0, 3, Counter(x=2, y=1)
    )
    both = records.joined([one, two])
    assert both.paths == ["a", "b", "c"] and both.kinds == {"x": 3, "y": 1} and both.ignored == 4
