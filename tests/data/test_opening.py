"""The doctor's verdict on a file, against what training says of it."""

import hashlib

import numpy as np
import pytest
from mutated import mutate

from data.test_decoding import LOSSLESS, LOSSY, REFUSED
from mgn.data.decoding import read_image
from mgn.data.opening import open_all, open_image
from mgn.data.reading import check_readable
from mgn.system.errors import InputError

READ = [contents for contents, _ in LOSSLESS.values()] + [*LOSSY.values()]
NOT_READ = [contents for contents, _ in REFUSED.values()]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged EXIF
def test_the_verdict_is_that_of_training(tmp_path):
    rng = np.random.default_rng(0)
    files = READ + NOT_READ + [mutate(contents, rng) for contents in READ * 3]
    path = tmp_path / "image.jpg"
    verdicts = []
    for contents in files:
        path.write_bytes(contents)
        opened = open_image(str(path))
        verdicts.append(opened.fault is None)
        if opened.fault:
            with pytest.raises(InputError) as refusal:
                check_readable([str(path)])
            assert opened == (str(refusal.value), None, None)
        else:
            check_readable([str(path)])
            size = opened.appearance.height, opened.appearance.width
            assert size == read_image(path).shape[:2]
            assert opened.digest == hashlib.sha256(contents).digest()
    assert verdicts[: len(READ)] == [True] * len(READ)
    assert verdicts[len(READ) :][: len(NOT_READ)] == [False] * len(NOT_READ)


def test_more_images_than_the_threads_get_at_once(tmp_path):
    paths = []
    for i in range(1030):
        path = tmp_path / f"{i}.png"
        path.write_bytes(LOSSLESS["png"][0] if i % 7 else b"")
        paths.append(str(path))
    opened = open_all(paths)
    assert [*opened] == paths
    assert [opened[path].fault is None for path in paths] == [i % 7 > 0 for i in range(1030)]
