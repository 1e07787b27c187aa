"""What differs, by hand; verdicts as text and as JSON."""

import json

import pytest

from mgn.evaluation import verdicts
from mgn.evaluation.verdicts import LIKE, UNLIKE, Camera, Familiarity, Looks, what_differs

TRAINING = (120.0, 100.0, 80.0)  # grey level 103.7
USUAL = Looks(128, 64, 0.5, TRAINING)
EVEN = (1.0, 1.1, 0.9)


def told(thirds=EVEN, **changed):
    looks = Looks(**{**vars(USUAL), **changed})
    return what_differs(looks, 96, TRAINING, thirds)


def test_nothing_that_can_be_named():
    assert told() == [verdicts._NOTHING]
    assert told(height=48, sharpness=0.1, colour=(95, 79, 63)) == [verdicts._NOTHING]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"height": 47}, "small: 47 pixels high; the network looks at 96"),
        ({"sharpness": 0.02}, "blurred: sharpness 0.02; sharp images have 0.3 and more"),
        ({"colour": (84, 70, 56)}, "dark: grey level 73; in training 104"),
        ({"colour": (168, 140, 112)}, "light: grey level 145; in training 104"),
        ({"colour": (120, 80, 100)}, "colour: mean RGB 120 80 100; in training 120 100 80"),
        ({"thirds": (0.2, 0.3, 1.0)}, "above all the bottom third of the image: covered, or"),
        ({"thirds": (5.0, -0.1, -0.2)}, "above all the top third of the image: covered, or"),
    ],
)
def test_one_thing(changed, expected):
    (line,) = told(**changed)
    assert line.startswith(expected)


def test_black_images_are_dark_alone_but_for_their_colour():
    lines = told(colour=(0, 0, 0))
    assert lines[0] == "dark: grey level 0; in training 104"
    assert lines[1].startswith("colour: mean RGB 0 0 0;")


def test_text_and_json():
    cameras = (
        Camera("camera 1", 300, 200, 0, LIKE, 0.21, USUAL),
        Camera("camera 12", 90, 88, 2, UNLIKE, 1.234, USUAL, ("dark: so much",)),
        Camera("camera 3", 9, 9, 0, "too few images for a verdict: 20 are needed"),
    )
    found = Familiarity("runs/a/model.ckpt-9", 96, TRAINING, cameras)
    assert found.alarms == 1
    assert found.text().splitlines()[:5] == [
        "like the training images of runs/a/model.ckpt-9?",
        "camera 1   like training (shift 0.21; 200 of 300 images)",
        "camera 12  unlike: expect a loss (shift 1.23; 88 of 90 images, 2 unreadable)",
        "    dark: so much",
        "camera 3   too few images for a verdict: 20 are needed (9 of 9 images)",
    ]
    values = json.loads(json.dumps(found.values(), allow_nan=False))
    assert values["limit"] == verdicts.LIMIT and values["cameras"][1]["differs"] == [
        "dark: so much"
    ]
    assert values["cameras"][2]["shift"] is None and values["cameras"][2]["looks"] is None
