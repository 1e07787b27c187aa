"""Fingerprints of data sets: what they see, and those of older versions."""

import hashlib
import itertools
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mgn.data.records import Record, Split, read_images, read_split


def test_the_fingerprint_tells_images_apart_not_places(dataset, tmp_path):
    split = read_split(dataset, "query")
    moved = read_images(shutil.copytree(dataset / "query", tmp_path / "elsewhere"), "query")
    os.utime(moved.paths[0], (0, 0))
    assert moved.fingerprint() == split.fingerprint()
    assert split.has_fingerprint(moved.fingerprint())
    assert moved.only([False] + [True] * 7).fingerprint() != split.fingerprint()
    for labels in ((99, 1), (9, 99)):
        relabelled = Split((Record(moved.paths[0], *labels), *moved.records[1:]), 0, 0)
        assert relabelled.fingerprint() != split.fingerprint()
    Path(moved.paths[0]).write_bytes(b"another image")
    assert moved.fingerprint() != split.fingerprint()
    assert not moved.has_fingerprint(split.fingerprint())


@pytest.mark.parametrize("height", [16, 1080, 6000])  # read whole, and in blocks
@pytest.mark.parametrize("part", [slice(None), slice(1, 3, 1)])
def test_an_image_painted_over_is_another_though_name_and_size_are_not(tmp_path, height, part):
    path = tmp_path / "0001_c1s1_000001_00.bmp"
    pixels = np.full((height, 256, 3), 90, np.uint8)
    cv2.imwrite(str(path), pixels)
    split = read_images(tmp_path, "query")
    size, before = path.stat().st_size, split.fingerprint()
    quarter = height // 4
    pixels[part.start and part.start * quarter : part.stop and part.stop * quarter] = 0
    cv2.imwrite(str(path), pixels)
    assert path.stat().st_size == size and split.fingerprint() != before


def test_a_bitmap_zeroed_here_and_there_is_another(tmp_path):
    """All but 16 stretches of 4 KiB, spread evenly: a bitmap of 1.2 MB is read whole."""
    path = tmp_path / "0001_c1s1_000001_00.bmp"
    contents = bytearray(b"x" * 1_200_000)
    path.write_bytes(contents)
    split = read_images(tmp_path, "query")
    before = split.fingerprint()
    starts = [(len(contents) - 4096) * i // 15 for i in range(16)]
    for start, following in itertools.pairwise(starts):
        contents[start + 4096 : following] = bytes(following - start - 4096)
    path.write_bytes(contents)
    assert split.fingerprint() != before


def test_the_last_byte_of_a_large_file_counts(tmp_path):
    path = tmp_path / "0001_c1s1_000001_00.bmp"
    path.write_bytes(bytes(10**7))
    split = read_images(tmp_path, "query")
    before = split.fingerprint()
    path.write_bytes(bytes(10**7 - 1) + b"x")
    assert split.fingerprint() != before
    path.write_bytes(bytes(10**7 + 1))
    assert split.fingerprint() != before


def test_a_fingerprint_of_an_older_version_is_compared_as_it_was_made(dataset, tmp_path, capsys):
    copy = shutil.copytree(dataset / "query", tmp_path / "copy")
    split = read_images(copy, "query")
    lines = [f"{Path(p).name} {Path(p).stat().st_size} " for p in split.paths]
    lines = [f"{a}{r.person} {r.camera}\n" for a, r in zip(lines, split.records, strict=True)]
    known = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert split.has_fingerprint(known)
    assert "8 images are compared by name and size alone" in capsys.readouterr().err
    first = Path(split.paths[0])
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    assert split.has_fingerprint(known)  # which is all that it knows
    first.write_bytes(b"")
    assert not split.has_fingerprint(known)
    first.unlink()
    assert not split.has_fingerprint(known)


def test_what_cannot_be_read_has_a_fingerprint_too(dataset, tmp_path):
    copy = shutil.copytree(dataset / "query", tmp_path / "copy")
    whole = read_images(copy, "query").fingerprint()
    first = next(copy.glob("*.jpg"))
    contents = first.read_bytes()
    first.unlink()
    first.symlink_to("nowhere")
    split = read_images(copy, "query")
    assert split.fingerprint() == split.fingerprint() != whole
    (copy / "nowhere").write_bytes(contents)
    assert split.fingerprint() == whole
