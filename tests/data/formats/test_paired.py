"""VIPeR, PRID and GRID: halves drawn at random, and who is a stranger."""

import pytest

from mgn.config.dataset import DataSet
from mgn.data.formats.table import note, recognise
from mgn.data.records import read_split

from .sets import make, pairs

VIPER, PRID, GRID = "{:03}_45.bmp", "person_{:04}.png", "{:04}_{}_25008_169_19_94_239.jpeg"


def halves(dataset):
    return [read_split(dataset, split) for split in ("train", "query", "gallery")]


def check(train, query, gallery, cameras=(1, 2)):
    """Two images of each person trained on, one of each view of the others."""
    assert len(train.records) == 2 * len(set(train.persons))
    assert set(query.persons) <= set(gallery.persons)
    assert not set(train.persons) & set(gallery.persons)
    assert (set(query.cameras), set(gallery.cameras)) == ({cameras[0]}, {cameras[1]})


@pytest.mark.parametrize("root", ["", "VIPeR"])
def test_viper(tmp_path, root):
    pairs(tmp_path / root, VIPER, "cam_a", "cam_b")
    make(tmp_path / root / "cam_a", "Thumbs.db")
    assert recognise(tmp_path)[0].format == "viper"
    train, query, gallery = halves(tmp_path)
    check(train, query, gallery)
    assert len(set(train.persons)) == len(query.records) == len(gallery.records) == 5
    assert set(train.persons) | set(query.persons) == set(range(1, 11))  # 000 is somebody
    assert query.ignored == 1
    other = halves(DataSet(tmp_path, split=1))
    assert set(other[0].persons) != set(train.persons)
    assert "means over 10 random halves" in note(tmp_path)


def test_viper_saved_again_with_a_stray_image(tmp_path):
    for old, new in ((".bmp", ".png"), (".bmp", ".BMP")):
        folder = pairs(tmp_path / new, VIPER.replace(old, new), "cam_a", "cam_b")
        make(folder / "cam_a", "000.bmp")
        assert recognise(folder)[0].format == "viper"
        query = read_split(folder, "query")
        assert len(query.records) == 5 and query.kinds == {".bmp": 1}


def test_prid_has_strangers_beyond_200(tmp_path):
    numbers = [*range(1, 5), 201, 202]
    pairs(tmp_path / "single_shot", PRID, "cam_a", "cam_b", numbers, [*numbers, 700])
    assert recognise(tmp_path)[0].format == "prid"
    train, query, gallery = halves(tmp_path)
    check(train, query, gallery)
    assert len(query.records) == 2 and len(gallery.records) == 2 + 3
    assert {201, 202, 700} <= set(gallery.persons) and not {201, 202} & set(query.persons)


def test_grid_has_strangers_of_number_0(tmp_path):
    pairs(tmp_path, GRID, "probe", "gallery", range(1, 7))
    make(tmp_path / "gallery", GRID.format(0, 5), "0000_6_25008_1_2_3_4.jpeg")
    assert recognise(tmp_path)[0].format == "grid"
    train, query, gallery = halves(tmp_path)
    assert len(set(train.persons)) == len(query.records) == 3
    assert sorted(gallery.persons)[:2] == [0, 0] and sorted(gallery.cameras)[-2:] == [5, 6]
