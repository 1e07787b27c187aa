"""Which layout a folder has; distractors; options that a layout has no use for."""

import os

import pytest

from mgn.config.dataset import FORMATS, DataSet
from mgn.data.formats.table import LAYOUTS, note, recognise
from mgn.data.records import read_split
from mgn.system.errors import InputError

from .sets import make, msmt17


def test_every_format_has_a_layout():
    assert sorted(FORMATS) == sorted(LAYOUTS)


def test_two_layouts_in_one_folder(tmp_path):
    msmt17(tmp_path)
    make(tmp_path / "query", "0001_c1s1_000001_00.jpg")
    expected = r"layouts of market1501 \(.*\) and msmt17 \(.*\); choose one with --format"
    with pytest.raises(InputError, match=expected):
        read_split(tmp_path, "query")
    assert read_split(DataSet(tmp_path, "market1501"), "query").persons.tolist() == [1]
    assert len(read_split(DataSet(tmp_path, "msmt17"), "query").records) == 2


def test_a_stray_image_beside_folders_of_people_is_named(tmp_path):
    people = [f"{split}/bob/c{n}_1.jpg" for n, split in enumerate(("train", "query", "gallery"))]
    make(tmp_path, *people, "query/0002_c1s1_000451_03.jpg", "query/b.jpg", "query/notes.txt")
    stray = r"query/0002_c1s1_000451_03\.jpg lies beside folders of people \(2 such images\)$"
    with pytest.raises(InputError, match=rf"choose one with --format; .*{stray}"):
        read_split(tmp_path, "query")


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("train.csv", "csv"),
        ("TRAIN.CSV", "csv"),
        ("bounding_box_test/0001_c1s1_000001_00.jpg", "market1501"),
        ("query/Thumb.JPG", "market1501"),  # one file among the folders of people
    ],
)
def test_a_folder_for_each_person_beside_another_layout(tmp_path, other, name):
    people = [f"{split}/bob/c{n}_1.jpg" for n, split in enumerate(("train", "query", "gallery"))]
    make(tmp_path, *people)
    (tmp_path / "query" / "bob").rename(tmp_path / "bob")
    assert recognise(tmp_path)[0].format == "folders"  # its query is empty
    (tmp_path / "bob").rename(tmp_path / "query" / "bob")
    assert recognise(tmp_path)[0].format == "folders"
    make(tmp_path, other)
    with pytest.raises(InputError, match=rf"layouts of {name} \(.*\) and folders \(.*--format"):
        recognise(tmp_path)
    assert read_split(DataSet(tmp_path, "folders"), "query").persons.tolist() == [1]


def test_a_layout_that_nearly_fits_is_named(tmp_path):
    make(tmp_path, "cam_a/anna.bmp", "cam_b/anna.bmp")
    with pytest.raises(
        InputError, match=r"it resembles viper \(.*000_45.bmp\) and prid .*--format"
    ):
        recognise(tmp_path)
    with pytest.raises(InputError, match=r"no usable image .*2 \.bmp\); VIPeR has cam_a and cam_b"):
        read_split(DataSet(tmp_path, "viper"), "train")


def test_the_folder_above_is_told_what_is_inside(tmp_path):
    msmt17(tmp_path / "MSMT17_V2")
    make(tmp_path, "notes.txt", "results/cmc.png")  # and results is no person
    with pytest.raises(InputError, match=r"no data set in it; name one .*MSMT17_V2 \(msmt17\)"):
        recognise(tmp_path)


def test_distractors_join_the_gallery(tmp_path):
    for folder in ("query", "bounding_box_test"):
        make(tmp_path / "set" / folder, "0003_c1s1_000001_00.jpg")
    make(
        tmp_path / "more", "0000_c4s1_000001_00.jpg", "a/stranger.png", "-1_c1s1_0_00.jpg", "x.txt"
    )
    dataset = DataSet(tmp_path / "set", distractors=tmp_path / "more")
    gallery = read_split(dataset, "gallery")
    assert gallery.persons.tolist() == [3, 0, 0] and gallery.junk == 1
    assert gallery.kinds == {".txt": 1}
    os.mkfifo(tmp_path / "more" / "pipe.jpg")  # reading it would wait for ever
    make(tmp_path / "more", "b.JPG.part")
    assert read_split(dataset, "gallery").kinds == {".txt": 1, ".jpg": 1, ".part": 1}
    gone = DataSet(tmp_path / "set", distractors=tmp_path / "gone")
    with pytest.raises(InputError, match=r"--distractors .*gone: no such folder; name"):
        read_split(gone, "gallery")
    assert len(read_split(dataset, "query").records) == 1
    make(tmp_path / "more", "0007_c4s1_000001_00.jpg")
    with pytest.raises(InputError, match=r"0007_c4s1_000001_00.jpg shows identity 7"):
        read_split(dataset, "gallery")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"--distractors .*empty: no image in it"):
        read_split(DataSet(tmp_path / "set", distractors=tmp_path / "empty"), "gallery")


def test_options_without_use(tmp_path):
    make(tmp_path / "query", "0003_c1s1_000001_00.jpg")
    with pytest.raises(
        InputError, match=r"--cameras: .* is read as market1501, and only folders take it"
    ):
        recognise(DataSet(tmp_path, cameras=("a",)))
    with pytest.raises(InputError, match=r"--split: .*only vehicleid, viper, prid, grid take"):
        recognise(DataSet(tmp_path, split=0))
    assert note(tmp_path) == ""
