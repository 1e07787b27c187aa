"""The image that tells models apart: its pixels by hand, what is the same model and what is not."""

import cv2
import numpy as np
import pytest

from mgn.config.threshold import Threshold
from mgn.data import probe
from mgn.data.decoding import read_image
from mgn.system.errors import ImageError, InputError

OWN = np.eye(1, 2048, dtype=np.float32)[0]


def of(path, embedding=OWN, model="abc"):
    return Threshold(0.5, path, model=model, probe=probe.as_text(embedding))


def test_the_image_is_what_its_formula_says(tmp_path):
    image = probe.image()
    assert image.shape == (128, 64, 3) and image.dtype == np.uint8
    for row, column, channel in ((0, 0, 0), (20, 63, 1), (127, 9, 2), (99, 40, 0)):
        place = (5 * row + 7 * column * (channel + 1) + 60 * channel) % 512
        assert image[row, column, channel] == min(abs(place - 256), 255)
    probe.write(tmp_path / "probe.png")
    np.testing.assert_array_equal(read_image(tmp_path / "probe.png"), image)
    assert cv2.Laplacian(image, cv2.CV_64F).std() < 10  # smooth: a resize changes little of it


def test_a_model_of_one_size_has_none():
    def one_size(_images):
        raise ImageError(0, "is 128x64, and this model takes 384x128")

    assert probe.embedded_by(one_size) is None and probe.as_text(None) is None
    assert probe.embedded_by(lambda images: [image.mean() for image in images]) == pytest.approx(
        probe.image().mean()
    )


def test_the_same_model_passes(tmp_path):
    def never():
        raise AssertionError("not to be asked")

    probe.check_model(Threshold(0.5), "any", never)
    probe.check_model(of(tmp_path), "abc", never)
    probe.check_model(of(tmp_path), "of an export", lambda: OWN + np.float32(1e-5))
    probe.check_model(of(tmp_path), None, lambda: OWN)


@pytest.mark.parametrize(
    ("threshold", "seen", "problem"),
    [
        ({}, -OWN, "made for another model (2.000 apart)"),
        ({}, OWN[:256], "another model (2048 numbers an embedding, and this one has 256); make"),
        ({}, OWN * np.nan, "made for another model (nan apart)"),
        (
            {"embedding": None},
            OWN,
            "was made for this model; make it with evaluate.py --model, or give",
        ),
        ({}, None, "cannot tell whether it was made"),
    ],
)
def test_another_model_is_refused(threshold, seen, problem, tmp_path):
    with pytest.raises(InputError) as error:
        probe.check_model(of(tmp_path, **threshold), "other", lambda: seen)
    assert problem in str(error.value)


def test_a_damaged_probe_is_refused(tmp_path):
    for text in ("not base64!", "AAA=", "AAAA"):
        with pytest.raises(InputError, match="probe is damaged"):
            probe.check_model(Threshold(0.5, tmp_path, probe=text), None, lambda: OWN)
