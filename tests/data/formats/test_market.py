"""Market-1501's layout and its relatives, by tiny folders that a reader can count."""

import pytest

from mgn.config.dataset import DataSet
from mgn.data.formats.table import recognise
from mgn.data.records import has_split, read_split
from mgn.system.errors import InputError

from .sets import make

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


def labels(dataset, split):
    return [(r.person, r.camera) for r in read_split(dataset, split).records]


def duke(folder):
    make(folder / TRAIN, "0001_c2_f0046182.jpg", "0005_c8_f0051341.jpg")
    make(folder / QUERY, "0002_c1_f0000001.jpg")
    return make(folder / GALLERY, "0002_c3_f0000001.jpg", "7141_c2_f0220000.jpg").parent


def test_dukemtmc(tmp_path):
    dataset, layout = recognise(duke(tmp_path))
    assert (dataset.format, layout.title) == ("dukemtmc", "DukeMTMC-reID")
    assert labels(tmp_path, "train") == [(1, 2), (5, 8)]
    # A distractor is somebody else, with a number of its own.
    assert labels(tmp_path, "gallery") == [(2, 3), (7141, 2)]


def test_cuhk03_np(tmp_path):
    make(tmp_path / TRAIN, "0000_c1_1.png", "0001_c1_1.png", "0001_c2_6.png", "Thumbs.db")
    make(tmp_path / QUERY, "0003_c1_1.png")
    assert recognise(tmp_path)[0].format == "cuhk03-np"
    assert labels(tmp_path, "train") == [(0, 1), (1, 1), (1, 2)]  # 0 is no distractor here
    assert not read_split(tmp_path, "train").zeros and not has_split(tmp_path, "gallery")


def test_market1501_is_what_is_not_known_better(tmp_path):
    make(tmp_path / TRAIN, "0000_c1s1_000001_00.jpg", "0001_c2_f0046182.jpg")
    assert recognise(tmp_path)[0].format == "market1501"
    assert labels(tmp_path, "train") == [(1, 2)]


def test_occluded_duke_by_name_and_by_lists(tmp_path):
    assert recognise(duke(tmp_path / "Occluded_Duke"))[0].format == "occluded-duke"
    # The lists beside DukeMTMC-reID itself: a query image still lies in the gallery.
    folder = duke(tmp_path / "set")
    (folder / "train.list").write_text("0005_c8_f0051341.jpg\n")
    (folder / "query.list").write_text("0002_c3_f0000001.jpg\n\n")
    (folder / "gallery.list").write_text("7141_c2_f0220000.jpg\r\n")
    assert recognise(folder)[0].format == "occluded-duke"
    assert labels(folder, "train") == [(5, 8)]
    (query,) = read_split(folder, "query").records
    assert (query.path, query.person) == (str(folder / GALLERY / "0002_c3_f0000001.jpg"), 2)
    assert labels(folder, "gallery") == [(7141, 2)]
    (folder / "query.list").write_text("\n0009_c3_f0000001.jpg\n")
    with pytest.raises(InputError, match=r"query\.list, line 2: .*0009_c3_f0000001.jpg: no such"):
        read_split(folder, "query")
    (folder / "query.list").write_text("notes.txt\n")
    with pytest.raises(InputError, match=r"line 1: 'notes.txt': not a name of DukeMTMC-reID"):
        read_split(folder, "query")


def test_veri776(tmp_path):
    make(tmp_path / "image_train", "0001_c001_00016450_0.jpg", "0006_c020_00016450_0.jpg")
    make(tmp_path / "image_query", "0002_c002_00030600_0.jpg")
    make(tmp_path / "image_test", "0002_c002_00030605_0.jpg", "0002_c003_00030605_1.jpg")
    assert recognise(tmp_path)[0].format == "veri776"
    assert labels(tmp_path, "train") == [(1, 1), (6, 20)]
    assert labels(tmp_path, "gallery") == [(2, 2), (2, 3)]  # the first is the query's junk


def test_a_forced_format_without_its_folders(tmp_path):
    duke(tmp_path)
    with pytest.raises(InputError, match=r"image_train: no such folder; .* must have image_train"):
        read_split(DataSet(tmp_path, "veri776"), "train")
    with pytest.raises(InputError, match=r"train.csv: no such"):
        read_split(DataSet(tmp_path, "csv"), "train")
