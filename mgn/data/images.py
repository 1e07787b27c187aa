"""The only preprocessing: resize, mirror, normalise, all as graph operations."""

from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config.variants import MEAN, STD


def resize(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resize RGB [N, H, W, 3] or [H, W, 3] of any type to float32 height × width; both 0 to 255.

    Bicubic with antialias, as Pillow and so the PyTorch models' training.
    """
    batch = images if images.shape.rank == 4 else tf.expand_dims(images, 0)
    # The operation has no kernel elsewhere, and what lies between stays with it.
    with tf.device("/device:CPU:0"):
        count, given_height, given_width, _ = tf.unstack(tf.shape(batch))
        # Its height, row by row.
        rows = tf.reshape(batch, [count, given_height, 3 * given_width])
        rows = tf.reshape(_resize_rows(rows, height), [count, height, given_width, 3])
        # Its width, in the same way: columns become rows, and in the end columns again.
        columns = tf.reshape(tf.transpose(rows, [0, 2, 1, 3]), [count, given_width, 3 * height])
        columns = tf.clip_by_value(_resize_rows(columns, width), 0.0, 255.0)
        resized = tf.transpose(tf.reshape(columns, [count, width, height, 3]), [0, 2, 1, 3])
    return resized if images.shape.rank == 4 else tf.squeeze(resized, 0)


def _resize_rows(rows: tf.Tensor, number: int) -> tf.Tensor:
    """[N, rows, C] of any type to float32 [N, number, C].

    The operation behind `compat.v2.image.resize`, as `compat.v1` has no antialias. On whole rows
    it adds long vectors; over an image's width it would add vectors of three, in twice the time.
    """
    given = tf.slice(tf.shape(rows), [1], [1])
    resized = tf.raw_ops.ScaleAndTranslate(
        images=tf.expand_dims(rows, 2),
        size=[number, 1],
        scale=tf.concat([number / tf.cast(given, tf.float32), [1.0]], axis=0),
        translation=tf.zeros([2]),
        kernel_type="keyscubic",
        antialias=True,
    )
    return tf.squeeze(resized, 2)


def normalise(
    images: tf.Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> tf.Tensor:
    """RGB 0 to 255, float32 [..., 3] or rows [..., 3 * W], to a network's input, about -2 to 3.

    `mean` and `std` are the network's, three numbers of 0 to 255 each.
    """
    pixels = images.shape[-1] // 3
    return (images - np.tile(np.float32(mean), pixels)) / np.tile(np.float32(std), pixels)


def denormalise(
    images: np.ndarray, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> np.ndarray:
    """The way back from `normalise`, to look at: float32 [..., 3] to uint8 RGB."""
    grey = images * np.float32(std) + np.float32(mean)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def mirror(images: tf.Tensor) -> tf.Tensor:
    """Swap left and right of [..., H, W, 3]."""
    return tf.reverse(images, axis=[-2])
