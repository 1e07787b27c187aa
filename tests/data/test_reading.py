"""Image files read for training: as the decoder reads them, and what cannot be is named."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import write_image
from PIL import Image

from mgn.config import TrainConfig
from mgn.data import reading
from mgn.data.images import denormalise
from mgn.system.errors import InputError

PALETTE = [255, 0, 0, 0, 255, 0, 0, 0, 255]  # red, green, blue


def test_all_images_are_checked_and_those_that_cannot_be_read_counted(tmp_path):
    paths = [str(tmp_path / f"{i}.jpg") for i in range(9)]
    for path in paths:
        write_image(path, 1, np.random.default_rng(0))
    reading.check_readable(paths)
    Path(paths[4]).write_bytes(b"")
    with pytest.raises(InputError, match=r"4\.jpg: empty file; repair or remove it$"):
        reading.check_readable(paths)
    Path(paths[7]).unlink()
    both = r"4\.jpg: empty file; repair or remove it \(1 more: python -m mgn\.doctor"
    with pytest.raises(InputError, match=both):
        reading.check_readable(paths)


@pytest.mark.filterwarnings("ignore:To make it possible to preserve tf.data options:UserWarning")
def test_training_reads_what_the_decoder_reads(tmp_path):
    """TensorFlow takes a palette's indices for grey levels, and only names that are UTF-8."""
    tag = Image.Exif()
    tag[0x0112] = 6  # stored lying
    names = [b"red.bmp", b"green \xff $x_1$.bmp", "蓝.bmp".encode(), b"lying.png"]
    paths = [str(tmp_path / os.fsdecode(name)) for name in names]
    for i, path in enumerate(paths[:3]):
        image = Image.new("P", (32, 96), i)
        image.putpalette(PALETTE)
        image.save(path)
    Image.fromarray(np.uint8([[[0, 0, 0]], [[200, 0, 0]]])).save(paths[3], exif=tag)
    config = TrainConfig(height=96, width=32, random_erasing=0.0)
    config = dataclasses.replace(config, batch_ids=2, batch_images=2)
    images = reading.read_all(config, paths)
    assert images.shape == (4, 96, 32, 3)
    for i in range(3):
        assert np.array_equal(images[i], np.broadcast_to(255 * np.eye(3)[i], (96, 32, 3)))
    assert images[3, 48, :4, 0].min() > 190 and images[3, 48, -4:, 0].max() < 10  # turned clockwise
    # The same without the cache, in batches.
    with tf.Graph().as_default() as graph:
        dataset = reading.training_dataset(config, paths, np.arange(4) // 2, 0, 1)
        assert not dataset.options().autotune.enabled  # its thread may hold up the end of a run
        batch = tf.data.make_one_shot_iterator(dataset).get_next()
    with tf.Session(graph=graph) as session:
        made, _, indices = session.run(batch)
    for image, i in zip(denormalise(made), indices, strict=True):
        mirrored = images[i][:, ::-1]
        assert np.array_equal(image, images[i]) or np.array_equal(image, mirrored)
