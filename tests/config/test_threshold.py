"""A threshold by number or by file: what is read, and what is wrong with it."""

import argparse
import json
from pathlib import Path

import pytest

from mgn.config.threshold import OPEN_SET, PAIR, number_or_file, read_threshold, share
from mgn.system.errors import InputError

VALUES = {
    "format": "mgn threshold 1",
    "max_false_matches": 0.01,
    "confidence": 0.95,
    "no_flip": False,
    "normalise_parts": False,
    "model": {"hash": "abc", "probe": None},
    PAIR: {"distance": 0.8123},
    OPEN_SET: {"distance": 0.5, "gallery_identities": 350, "gallery_images": 7000},
}


def file_of(folder, **changes):
    path = folder / "threshold.json"
    path.write_text(json.dumps(VALUES | changes))
    return path


def test_a_number_is_a_threshold_of_any_model():
    assert number_or_file("0.9") == 0.9 and number_or_file("0") == 0
    threshold = read_threshold(0.9, PAIR)
    assert (threshold.distance, threshold.path, threshold.promise) == (0.9, None, "")


def test_a_file_answers_both_questions(tmp_path):
    path = file_of(tmp_path)
    assert number_or_file(str(path)) == path
    pair, gallery = read_threshold(path, PAIR), read_threshold(path, OPEN_SET)
    assert (pair.distance, pair.gallery_images, pair.model) == (0.8123, None, "abc")
    assert (gallery.distance, gallery.gallery_identities, gallery.gallery_images) == (
        0.5,
        350,
        7000,
    )
    assert pair.promise == "at most 0.01 of strangers, confidence 0.95"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": "mgn threshold 0"}, "not a threshold file of evaluate.py"),
        ({"model": None}, "not a threshold file of evaluate.py"),
        ({PAIR: {"distance": "near"}}, "not a threshold file of evaluate.py"),
        ({PAIR: [0.5]}, "not a threshold file of evaluate.py"),
        ({PAIR: {"distance": float("nan")}}, "nan is not a distance"),
        ({PAIR: {"distance": -0.1}}, "-0.1 is not a distance"),
        (
            {PAIR: {"distance": None, "why": "17 strangers of 299 needed"}},
            "has no threshold for 'are these two images the same person?' (17 strangers of 299",
        ),
        ({"no_flip": True}, "made with --no_flip, which only evaluate.py has"),
        ({"normalise_parts": True}, "made with --normalise parts, which only"),
    ],
)
def test_a_wrong_file_is_one_line(changes, problem, tmp_path):
    path = file_of(tmp_path, **changes)
    with pytest.raises(InputError) as error:
        read_threshold(path, PAIR)
    assert str(error.value).startswith(f"--threshold {path}: ") and problem in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["nan", "-1", "1_0", "1e9", "none.json", ""])
def test_neither_a_number_nor_a_file(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number from 0, nor a file"):
        number_or_file(text)


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "nan", "1%", "1.5"])
def test_no_share(text):
    assert share("0.01") == 0.01
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number between 0 and 1"):
        share(text)


def test_a_file_that_is_no_json(tmp_path):
    path = Path(tmp_path / "metrics.json")
    path.write_text("hello")
    with pytest.raises(InputError, match="not a readable JSON file"):
        read_threshold(path, PAIR)
