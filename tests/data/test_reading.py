"""Image files read outside of a step: decoded as OpenCV does, and what cannot be is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_image

from mgn.data import reading
from mgn.system.errors import InputError


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_reader_decodes_as_opencv(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    write_image(path, 1, np.random.default_rng(0))
    assert np.array_equal(reading.ImageReader()(path), cv2.imread(str(path))[:, :, ::-1])


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "missing"])
def test_reader_names_the_file_it_cannot_read(tmp_path, damage):
    path = tmp_path / "image.jpg"
    write_image(path, 1, np.random.default_rng(0))
    damaged = {"empty": b"", "truncated": path.read_bytes()[:300], "text": b"hello"}
    path.unlink()
    if damage != "missing":
        path.write_bytes(damaged[damage])
    with pytest.raises(InputError, match=r"image\.jpg"):
        reading.ImageReader()(path)


def test_all_images_are_checked_and_those_that_cannot_be_read_counted(tmp_path):
    paths = [str(tmp_path / f"{i}.jpg") for i in range(9)]
    for path in paths:
        write_image(path, 1, np.random.default_rng(0))
    reading.check_readable(paths)
    Path(paths[4]).write_bytes(b"")
    with pytest.raises(InputError, match=r"4\.jpg: not a whole JPEG[^(]*$"):
        reading.check_readable(paths)
    Path(paths[7]).unlink()
    both = r"4\.jpg: not a whole JPEG.*\(1 more: python -m mgn\.doctor"
    with pytest.raises(InputError, match=both):
        reading.check_readable(paths)
