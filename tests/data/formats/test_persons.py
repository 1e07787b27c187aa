"""A folder for each person: identities by folders, cameras by names."""

import pytest

from mgn.config.dataset import DataSet
from mgn.data.formats.table import recognise
from mgn.data.records import has_split, read_split
from mgn.system.errors import InputError

from .sets import make


def labels(dataset, split="train"):
    return [(r.person, r.camera) for r in read_split(dataset, split).records]


def test_numbers_stay_and_market_names_tell_cameras(tmp_path):
    make(tmp_path / "train", "0002/0002_c1s1_000451_03.jpg", "0007/0007_c2s3_070952_01.jpg")
    make(tmp_path / "query", "0003/0003_c4s1_000001_00.jpg", "notes.txt", ".hidden/a.jpg")
    folders = ("-1/-1_c1s1_000001_00.jpg", "0000/0000_c1s1_000001_00.jpg")
    make(tmp_path / "gallery", "0003/0003_c5s1_000001_00.jpg", *folders)
    assert recognise(tmp_path)[0].format == "folders"
    assert labels(tmp_path) == [(2, 1), (7, 2)]
    query, gallery = read_split(tmp_path, "query"), read_split(tmp_path, "gallery")
    assert (query.ignored, query.kinds) == (2, {".txt": 1, "hidden": 1})
    assert gallery.persons.tolist() == [0, 3] and gallery.junk == 1


def test_a_folder_0_that_is_trained_on_is_a_person(tmp_path):
    make(tmp_path, "0/c1_1.jpg", "1/c2_1.jpg")
    assert labels(tmp_path) == [(1, 1), (2, 2)]


def test_names_are_numbered_alike_in_all_splits(tmp_path):
    make(tmp_path / "train", "carla/cam3_a.png", "dora/x-camera_12.png")
    make(tmp_path / "query", "bert/c1.png")
    make(tmp_path / "gallery", "anna/c2.png", "bert/c2.png")
    assert labels(tmp_path) == [(3, 3), (4, 12)]
    assert labels(tmp_path, "query") == [(2, 1)]
    assert labels(tmp_path, "gallery") == [(1, 2), (2, 2)]


def test_folders_alone_can_be_trained_on_without_cameras(tmp_path):
    make(tmp_path, "anna/1.jpg", "anna/2.jpg", "bert/1.jpg", "notes.txt")
    split = read_split(tmp_path, "train")
    assert split.persons.tolist() == [1, 1, 2] and set(split.cameras) == {1}
    assert split.ignored == 1 and not has_split(tmp_path, "query")
    with pytest.raises(InputError, match=r"no folder query; it must have train, query and gallery"):
        read_split(tmp_path, "query")


def test_cameras_by_name(tmp_path):
    make(tmp_path, "anna/Front_1.jpg", "anna/back/1.jpg", "back/front-2.jpg", "cab/front.back2.png")
    given = DataSet(tmp_path, cameras=("front", "back"))
    assert labels(given) == [(1, 1), (1, 2), (2, 1), (3, 1)]
    with pytest.raises(InputError, match=r"Front_1.jpg: its name has none of --cameras cam1,ca"):
        read_split(DataSet(tmp_path, cameras=("cam1", "cam2")), "train")
    make(tmp_path, "anna/front_back.jpg")
    with pytest.raises(InputError, match=r"front_back.jpg: its name has front and back of"):
        read_split(given, "train")
    make(tmp_path / "b", "anna/cam10.jpg")
    assert labels(DataSet(tmp_path / "b", cameras=("cam1", "cam10"))) == [(1, 2)]


def test_cameras_that_are_not_known_are_not_guessed(tmp_path):
    make(tmp_path / "query", "anna/1.jpg")
    make(tmp_path / "gallery", "anna/c2.jpg", "anna/3.jpg")
    for split, counted in (("query", "1 of 1"), ("gallery", "1 of 2")):
        with pytest.raises(InputError, match=rf"no camera in its name \({counted} .*--cameras"):
            read_split(tmp_path, split)


def test_a_folder_called_minus_1_is_junk_beside_names_too(tmp_path):
    make(tmp_path / "train", "-1/c1_1.jpg", "anna/c1_1.jpg", "bob/c1_1.jpg")
    assert labels(tmp_path) == [(1, 1), (2, 1)] and read_split(tmp_path, "train").junk == 1


def test_digits_that_are_no_number_are_names(tmp_path):
    """A stamp of time or a telephone number, as the people's folders of some programs have."""
    long = str(10**19)
    make(tmp_path / "a", f"{long}/c1_1.jpg", "7/c1_1.jpg", "123456789/c1_1.jpg", "-1/c1_1.jpg")
    assert labels(tmp_path / "a") == [(1, 1), (2, 1), (3, 1)]  # 10..., 123456789, 7
    make(tmp_path / "b", "7/c1_1.jpg", "123456789/c1_1.jpg")
    assert labels(tmp_path / "b") == [(123456789, 1), (7, 1)]
    make(tmp_path / "c" / "train", "7/c1_1.jpg")
    make(tmp_path / "c" / "query", "8/c1_1.jpg")
    make(tmp_path / "c" / "gallery", "8/c2_1.jpg", f"{long}/c2_1.jpg")  # another split has one
    both = [read_split(tmp_path / "c", split).persons.tolist() for split in ("query", "gallery")]
    assert both == [[3], [1, 3]] and labels(tmp_path / "c") == [(2, 1)]
    make(tmp_path / "d", f"{long}/c1_1.jpg", f"0{long}/c1_1.jpg")
    with pytest.raises(InputError, match=r"are one identity; rename one"):
        read_split(tmp_path / "d", "train")


def test_two_folders_of_one_number(tmp_path):
    make(tmp_path, "7/c1_1.jpg", "07/c1_1.jpg")
    with pytest.raises(InputError, match=r"folders 07 and 7 are one identity"):
        read_split(tmp_path, "train")


def test_a_split_that_holds_images_is_no_person(tmp_path):
    make(tmp_path, "train/0001_c1.jpg", "test/0002_c1.jpg")
    with pytest.raises(InputError, match=r"no data set in it"):
        read_split(tmp_path, "train")
