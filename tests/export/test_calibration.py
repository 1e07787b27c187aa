"""Which images choose the ranges of an eight-bit export, and which are left out."""

import cv2
import numpy as np
import pytest

from mgn.config.dataset import DataSet
from mgn.config.recipes import RECIPES
from mgn.config.settings import RunSettings, write_config
from mgn.data import demo
from mgn.export import calibration
from mgn.system.errors import InputError


def write_images(folder, count, start=1):
    """Drawn pedestrians; returns {contents: file}."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for person in range(start, start + count):
        file = folder / f"{person:04d}_c1s1_000000_00.png"
        image = demo.draw_image(0, person, 1, 0)
        cv2.imwrite(str(file), image[..., ::-1])
        written[image.tobytes()] = file
    return written


def test_images_are_drawn_by_lot_and_none_judges_what_it_chose(tmp_path):
    files = write_images(tmp_path / "a" / "deep", 40) | write_images(tmp_path / "b", 20, start=50)
    found = calibration.read(tmp_path, tmp_path / "model", 30)
    names = [files[image.tobytes()] for image in found.choosing + found.held_back]
    assert (len(found.choosing), len(found.held_back)) == (30, 15)
    assert len(set(names)) == 45
    assert {file.parent.name for file in names[:30]} == {"deep", "b"}
    again = calibration.read(tmp_path, tmp_path / "model", 30)
    assert [files[image.tobytes()] for image in again.choosing + again.held_back] == names


def test_few_images_are_shared_out_and_told(tmp_path, capsys):
    write_images(tmp_path / "few", 9)
    found = calibration.read(tmp_path / "few", tmp_path / "model", 64)
    assert (len(found.choosing), len(found.held_back)) == (6, 3)
    assert "only 9 usable images, so ranges may be too small; give 64" in capsys.readouterr().err


def test_few_that_were_asked_for_are_told_as_such(tmp_path, capsys):
    write_images(tmp_path / "many", 20)
    calibration.read(tmp_path / "many", tmp_path / "model", 8)
    told = capsys.readouterr().err
    assert "warning: --calibration_images 8: few, so ranges may be too small" in told
    assert "usable" not in told


@pytest.mark.parametrize("kind", [".txt", ".csv"])
def test_a_list_names_images(tmp_path, kind):
    files = write_images(tmp_path / "all", 6)
    wanted = sorted(files.values())[:4]
    lines = [f"all/{file.name}" for file in wanted]
    if kind == ".csv":
        lines = ["path,person,camera", *(f"{line},1,1" for line in lines)]
    listed = tmp_path / f"list{kind}"
    listed.write_text("\n".join(lines) + "\n")
    found = calibration.read(listed, tmp_path / "model", 64)
    names = [files[image.tobytes()] for image in found.choosing + found.held_back]
    assert sorted(names) == wanted
    assert found.told == listed.name


def test_what_shows_nothing_is_left_out_by_name(tmp_path, capsys):
    write_images(tmp_path, 3)
    grey = np.full((20, 10, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    found = calibration.read(tmp_path, tmp_path / "model", 64)
    assert len(found.choosing) + len(found.held_back) == 3
    told = capsys.readouterr().err
    assert "grey.png: is of one colour" in told
    assert "torn.jpg: " in told


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ((), "no image in it"),
        (("grey",), "0 usable images are too few; give about 64 of people"),
        (("one",), "1 usable images are too few; give about 64 of people"),
    ],
)
def test_too_little_to_choose_from_is_refused(tmp_path, names, problem):
    folder = tmp_path / "images"
    folder.mkdir()
    if "one" in names:
        write_images(folder, 1)
    if "grey" in names:
        cv2.imwrite(str(folder / "grey.png"), np.full((20, 10, 3), 90, np.uint8))
    with pytest.raises(InputError, match=problem):
        calibration.read(folder, tmp_path / "model", 64)


def test_without_a_name_the_training_images_of_the_run(tmp_path, capsys):
    files = write_images(tmp_path / "set" / "bounding_box_train", 5)
    write_images(tmp_path / "set" / "query", 3, start=20)
    run = tmp_path / "run"
    run.mkdir()
    write_config(run, RunSettings(RECIPES["demo"], (DataSet(tmp_path / "set"),)))
    found = calibration.read(None, run, 64)
    assert {image.tobytes() for image in found.choosing + found.held_back} == set(files)
    assert found.told == "training images of the run"
    assert "demo set" not in capsys.readouterr().err


@pytest.mark.parametrize("gone", [True, False], ids=["data set gone", "no run"])
def test_else_the_demo_set_with_a_warning(tmp_path, monkeypatch, capsys, gone):
    monkeypatch.chdir(tmp_path)  # the demo set is drawn into runs/
    run = tmp_path / "run"
    run.mkdir()
    if gone:
        write_config(run, RunSettings(RECIPES["demo"], (DataSet(tmp_path / "gone"),)))
    found = calibration.read(None, run, 2)
    assert (len(found.choosing), len(found.held_back), found.told) == (2, 1, "demo set")
    told = capsys.readouterr().err
    assert "ranges come from the demo set; name images like yours" in told
    assert ("gone" in told) == gone
