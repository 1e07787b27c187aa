"""`python -m mgn.doctor --model`: verdicts in text, JSON and on the page; input that is wrong."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import shallow
from blocks import marked, missing
from conftest import SMALL, refused, run, write_checkpoint
from familiar import image

from mgn import doctor
from mgn.evaluation.verdicts import LIKE, UNLIKE

pytestmark = pytest.mark.usefixtures("shallow_network")
ROOT = Path(__file__).parents[1]
NAME = "{:04}_c{}s1_{:06}_00.png"


@pytest.fixture
def model(familiar_checkpoint):
    """Prefix of a checkpoint that knows images like those of camera 1."""
    return familiar_checkpoint


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory):
    """Query and gallery of 12 people; camera 2 is dark."""
    root = tmp_path_factory.mktemp("set")
    for camera, factor in ((1, 1.0), (2, 0.4)):
        for split, first in (("query", 0), ("bounding_box_test", 12)):
            (root / split).mkdir(exist_ok=True)
            for person in range(1, 13):
                path = root / split / NAME.format(person, camera, first)
                seed = 1000 * camera + first + person
                assert cv2.imwrite(str(path), image(seed, factor)[..., ::-1])
    return root


def unlabelled(folder, count):
    """A folder with images whose names tell nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        assert cv2.imwrite(str(folder / f"{i}.png"), image(5000 + i)[..., ::-1])
    return folder


def test_text_json_and_page(model, two_cameras, tmp_path, capsys):
    page = tmp_path / "page"
    assert run(doctor, two_cameras, "--model", model, "--output_dir", page) == 1  # an alarm
    text = capsys.readouterr().out
    assert re.search(r"^0 problems, 1 warnings$", text, re.MULTILINE)  # no training split
    assert re.search(rf"^camera 1  {LIKE} \(shift 0\.\d\d; 24 of 24 images\)$", text, re.MULTILINE)
    assert re.search(rf"^camera 2  {UNLIKE} \(shift ", text, re.MULTILINE)
    (shown,) = marked("alarm")  # by a page, of two dark cameras
    assert not missing(shown.text.splitlines(), text.splitlines())
    values = json.loads((page / "doctor.json").read_text())
    first, second = values["familiarity"]["cameras"]
    assert (first["verdict"], second["verdict"]) == (LIKE, UNLIKE)
    assert second["differs"][0].startswith("dark: grey level ")
    html = (page / "doctor.html").read_text()
    assert html.index("Like training?") < html.index("Figures") < html.index("darkest images")
    assert f"<b>camera 2</b>: {UNLIKE}" in html and f"<li>{second['differs'][0]}</li>" in html
    assert html.count('<span title="RGB ') == 3
    assert run(doctor, two_cameras, "--model", model, "--json") == 1
    assert json.loads(capsys.readouterr().out) == values
    assert run(doctor, two_cameras, "--json") == 0  # without a model it is as it was
    assert "familiarity" not in json.loads(capsys.readouterr().out)


def test_one_camera_that_is_like_training(model, two_cameras, tmp_path, capsys):
    shutil.copytree(two_cameras, tmp_path / "set")
    for path in (tmp_path / "set").glob("*/*_c2s1_*"):
        path.unlink()
    assert run(doctor, tmp_path / "set", "--model", model) == 1  # nothing could be scored
    assert f"camera 1  {LIKE} (" in capsys.readouterr().out
    for path in sorted((tmp_path / "set" / "query").iterdir()):
        path.rename(tmp_path / "set" / "bounding_box_test" / path.name)
    (tmp_path / "set" / "query").rmdir()
    (tmp_path / "set" / "bounding_box_test").rename(tmp_path / "set" / "bounding_box_train")
    assert run(doctor, tmp_path / "set", "--model", model) == 0
    assert f"camera 1  {LIKE} (" in capsys.readouterr().out


def test_images_without_labels(model, tmp_path, capsys):
    unlabelled(tmp_path / "gate", 21)
    (tmp_path / "gate" / "3.png").write_bytes(b"")
    arguments = (tmp_path, "--unlabelled", "--model", model, "--output_dir", tmp_path / "page")
    assert run(doctor, *arguments) == 0
    text = capsys.readouterr().out
    assert f"folder gate  {LIKE} (" in text and "20 of 21 images, 1 unreadable)" in text
    assert "warning: 1 unreadable images; left out" in text and "identities" not in text
    html = (tmp_path / "page" / "doctor.html").read_text()
    assert f"<b>folder gate</b>: {LIKE}" in html and "Figures" not in html


def test_a_folder_that_is_no_data_set(model, tmp_path, capsys):
    line = refused(capsys, doctor, unlabelled(tmp_path / "images", 20), "--model", model)
    assert "images: no data set in it" in line and "--unlabelled" in line
    (tmp_path / "empty").mkdir()
    for flags in ((), ("--unlabelled",)):
        assert "empty: no " in refused(capsys, doctor, tmp_path / "empty", "--model", model, *flags)


def test_too_few_images(model, tmp_path, capsys):
    for place in ("gate", "hall"):
        unlabelled(tmp_path / place, 19)
    arguments = tmp_path, "--unlabelled", "--model", model
    expected = f"{tmp_path}: too few images or people for a verdict on any camera (folder gate: 19;"
    assert expected in refused(capsys, doctor, *arguments)
    assert run(doctor, *arguments, "--json") == 2
    assert expected in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("form", ["plain", "pre_post"])
def test_an_export_holds_no_statistics(small_graphs, two_cameras, form, capsys):
    line = refused(capsys, doctor, two_cameras, "--model", small_graphs(form))
    assert "an export, whose batch norms are folded" in line and "train_dir or checkpoint" in line


def test_models_that_cannot_be_asked(two_cameras, tmp_path, capsys):
    arrays = shallow.arrays(SMALL)
    for name in arrays:
        if name.endswith(("running_mean", "running_var")):
            arrays[name] = arrays[name] * 0 + name.endswith("var")
    write_checkpoint(tmp_path / "new", arrays, SMALL)
    line = refused(capsys, doctor, two_cameras, "--model", tmp_path / "new")
    assert "new: batch norm backbone/bn1 holds no statistics (mean 0, variance 1)" in line
    (tmp_path / "text.txt").write_text("a text")
    line = refused(capsys, doctor, two_cameras, "--model", tmp_path / "text.txt")
    assert "text.txt: not a checkpoint" in line
    assert "no such file" in refused(capsys, doctor, two_cameras, "--model", tmp_path / "none")


def test_flags_that_go_with_a_model(two_cameras, model, capsys):
    unlabelled_too = (two_cameras, "--model", model, "--unlabelled", "--format", "market1501")
    assert "--format: not with --unlabelled" in refused(capsys, doctor, *unlabelled_too)
    for flag in (["--unlabelled"], ["--pool", "max"], ["--height", "96"]):
        assert f"{flag[0]}: only with --model" in refused(capsys, doctor, two_cameras, *flag)


def test_the_page_needs_no_tensorflow_without_a_model(two_cameras, tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "mgn.doctor", two_cameras]
    command += ["--output_dir", tmp_path / "page"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not re.search(r"\| +(tensorflow|torch)$", done.stderr, re.MULTILINE)
