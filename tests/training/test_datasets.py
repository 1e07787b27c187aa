"""The data sets of a run: what is told of them, and what is refused before the first step."""

import dataclasses
import shutil

import pytest

from mgn.config import RECIPES
from mgn.config.settings import RunSettings
from mgn.data import demo
from mgn.data.records import read_split
from mgn.system.errors import InputError
from mgn.training import datasets


@pytest.fixture
def drawn(tmp_path):
    """A demo set of few identities that has training images only."""
    made = demo.make(tmp_path / "drawn", seed=3, train_identities=3)
    for folder in ("query", "bounding_box_test"):
        shutil.rmtree(made / folder)
    return made


def read(*sets, **options):
    config = dataclasses.replace(RECIPES["scratch"], **options)
    return datasets.read(RunSettings(config, sets))


def test_two_sets_are_one_to_train_on_and_each_is_told(dataset, drawn):
    data = read(dataset, drawn)
    ours, theirs = read_split(dataset, "train"), read_split(drawn, "train")
    assert data.training.paths == ours.paths + theirs.paths
    assert len(set(data.training.persons)) == 8 + 3
    assert data.test_sets == {dataset.name: dataset} and data.without_test_set == ["drawn"]
    images = len(theirs.records)
    first, *lines = data.describe().splitlines()
    assert first.startswith(f"training set: {48 + images} images of 11 identities by 5 cameras (")
    left_out = "left out: 0 junk, 0 distractors, {} other files"
    ignored = left_out.format("1") + ": 1 hidden"
    assert lines == [
        f"  {dataset.name}: 48 images of 8 identities by 2 cameras ({ignored})",
        f"  drawn: {images} images of 3 identities by 3 cameras ({left_out.format(0)})",
        "drawn has no query and gallery: nothing will be scored on it",
    ]


def test_one_set_needs_no_line_of_its_own(dataset):
    assert len(read(dataset).describe().splitlines()) == 1


def test_nothing_to_validate_on(drawn):
    with pytest.raises(InputError, match=r"--eval_every 2: .*drawn has no query and gallery"):
        read(drawn, eval_every=2)


def test_a_copy_of_the_set_is_refused(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    with pytest.raises(InputError, match=r"the same training image as .*data sets overlap"):
        read(dataset, copy)


def test_a_set_trained_on_that_another_is_scored_on_is_refused(dataset, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(dataset / "bounding_box_test", other / "bounding_box_train")
    with pytest.raises(InputError, match="training and test overlap"):
        read(dataset, other)


def test_a_test_set_that_is_a_link_to_nowhere_is_told_before_the_training(drawn):
    (drawn / "query").symlink_to("/not/mounted")
    (drawn / "bounding_box_test").mkdir()
    with pytest.raises(InputError, match=r"query: a link to /not/mounted, which does not exist"):
        read(drawn)


def test_an_image_that_is_a_link_to_nowhere_is_refused(drawn):
    first = next((drawn / "bounding_box_train").glob("*.jpg"))
    first.unlink()
    first.symlink_to("../store/3f2a")
    with pytest.raises(InputError, match=rf"{first.name}: cannot be read"):
        read(drawn)


def test_identity_0_is_left_out_with_a_warning(drawn, capsys):
    for path in (drawn / "bounding_box_train").glob("0001*"):
        path.rename(path.with_name(f"0000{path.name[4:]}"))
    left = read(drawn).training
    assert set(left.persons) == {2, 3} and len(left.zeros) == 12  # by 3 cameras, 4 times each
    expected = f"warning: {drawn}: 12 training images of identity 0, which Market-1501 uses for"
    assert expected in capsys.readouterr().err


def test_one_camera_is_refused_with_the_way_to_train_all_the_same(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    for folder in ("query", "bounding_box_test"):
        for path in (copy / folder).glob("*_c2s1_*.jpg"):
            path.unlink()
    expected = "seen by one camera only.* or move both elsewhere"
    with pytest.raises(InputError, match=expected):
        read(copy)
    shutil.rmtree(copy / "query")
    assert read(copy).without_test_set == ["copy"]
