"""File names, CSV lists and splits."""

import shutil
from pathlib import Path

import pytest

from mgn.data import records
from mgn.system.errors import InputError


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
    assert records.parse_name(name) == expected


def test_splits_of_the_small_set(dataset):
    train, query, gallery = (
        records.read_split(dataset, split) for split in ("train", "query", "gallery")
    )
    assert [len(s.records) for s in (train, query, gallery)] == [48, 8, 25]
    assert [(s.junk, s.ignored) for s in (train, query, gallery)] == [(0, 1), (0, 1), (1, 1)]
    assert 0 in gallery.persons and -1 not in gallery.persons  # the distractor stays, the junk goes
    assert set(train.cameras) == {1, 2}
    text = "25 images of 4 identities by 2 cameras (left out: 1 junk or distractors, 1 other files)"
    assert records.describe(gallery) == text


def test_a_distractor_is_never_a_label_or_a_query(tmp_path):
    for folder in ("bounding_box_train", "query"):
        (tmp_path / folder).mkdir()
        for name in ("0000_c1s1_000001_00.jpg", "0005_c1s1_000001_00.jpg", "-1_c1s1_000001_00.jpg"):
            (tmp_path / folder / name).touch()
    for split in ("train", "query"):
        assert records.read_split(tmp_path, split).persons.tolist() == [5]


def test_missing_folder_and_empty_split(tmp_path):
    with pytest.raises(InputError, match="no such folder; --dataset"):
        records.read_split(tmp_path, "train")
    (tmp_path / "bounding_box_train").mkdir()
    (tmp_path / "bounding_box_train" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no image named like .* \(1 other files"):
        records.read_split(tmp_path, "train")


def test_what_is_no_file_is_ignored(tmp_path):
    folder = tmp_path / "query"
    folder.mkdir()
    (folder / "0001_c1s1_000001_00.jpg").touch()
    (folder / "0002_c1s1_000001_00.jpg").mkdir()
    (folder / "0003_c1s1_000001_00.jpg").symlink_to("nowhere")
    split = records.read_split(tmp_path, "query")
    assert (len(split.records), split.ignored) == (1, 2)


def write_list(path, text, images=("a/x.jpg", "y.png")):
    for name in images:
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).touch()
    path.write_text(text, encoding="utf-8")
    return path


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,person\nx,1\n", "no column path and no camera"),
        ("", "no column path and no person and no camera"),
        (
            "path,person,camera\ny.png,anna,1\n",
            "line 2: person 'anna', camera '1': must be whole numbers",
        ),
        ("path,person,camera\ny.png,1\n", "line 2: person '1', camera None"),
        ("path,person,camera\ny.png,1,1\nz.png,1,1\n", "line 3: .*z.png: no such image"),
        ("path,person,camera\ny.png,-2,1\n", "line 2: person -2, camera 1: not from -1"),
        (
            "path,person,camera\ny.png,12345678901234567890123,1\n",
            "line 2: person 123456.*: not from -1 to",
        ),
        ("path,person,camera\n", "no usable line"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected):
        records.read_images(write_list(tmp_path / "query.csv", text), "query")


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "query.csv").write_bytes(b"path,person,camera\n\xff\xfe\x00")
    with pytest.raises(InputError, match="save it as UTF-8"):
        records.read_images(tmp_path / "query.csv", "query")


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


def test_the_fingerprint_tells_images_apart_not_places(dataset, tmp_path):
    split = records.read_split(dataset, "query")
    moved = records.read_images(shutil.copytree(dataset / "query", tmp_path / "elsewhere"), "query")
    assert moved.fingerprint() == split.fingerprint()
    assert moved.only([False] + [True] * 7).fingerprint() != split.fingerprint()
    relabelled = records.Record(moved.records[0].path, 99, 1)
    changed = records.Split((relabelled, *moved.records[1:]), 0, 0)
    assert changed.fingerprint() != split.fingerprint()
    Path(moved.paths[0]).write_bytes(b"another image")
    assert moved.fingerprint() != split.fingerprint()


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
    assert split.ignored == 1 and len(records.image_files(tmp_path / "b.JPG").records) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in it"):
        records.image_files(tmp_path / "empty")
