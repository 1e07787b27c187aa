"""The only preprocessing: decode, resize, mirror, erase, normalise, all as graph operations."""

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config.options import MEAN, STD

_ERASED_AREA = 0.02, 0.4  # share of the image (arXiv:1708.04896)
_ERASED_ASPECT = 0.3, 1 / 0.3  # height over width
# Rectangles drawn until one lies inside the image; MGN-pytorch tries 100, with the same effect.
_ERASING_TRIES = 10


def decode(contents: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG, PNG or BMP: string [] to uint8 RGB [H, W, 3]."""
    image = tf.cond(
        tf.io.is_jpeg(contents),
        # As libjpeg by default, so OpenCV and Pillow; `decode_image` is off by one grey level.
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    return image


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


def normalise(images: tf.Tensor) -> tf.Tensor:
    """RGB 0 to 255, float32 [..., 3] or rows [..., 3 * W], to a network's input, about -2 to 3."""
    pixels = images.shape[-1] // 3
    mean = np.tile(np.float32(255.0 * np.array(MEAN)), pixels)
    std = np.tile(np.float32(255.0 * np.array(STD)), pixels)
    return (images - mean) / std


def denormalise(images: np.ndarray) -> np.ndarray:
    """The way back from `normalise`, to look at: float32 [..., 3] to uint8 RGB."""
    grey = (images * np.float32(STD) + np.float32(MEAN)) * 255.0
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def mirror(images: tf.Tensor) -> tf.Tensor:
    """Swap left and right of [..., H, W, 3]."""
    return tf.reverse(images, axis=[-2])


def augment(image: tf.Tensor, seed: tf.Tensor, erasing: float, padding: int = 0) -> tf.Tensor:
    """Mirror (probability 0.5), pad and crop, normalise to float32, erase a rectangle.

    Args:
        image: RGB [height, width, 3], 0 to 255, of any type.
        seed: int64 [2]; the same seed gives the same image, whatever else runs.
        erasing: probability that a rectangle is erased, 0 to 1.
        padding: pixels of black on every side, before a part of the old size is cut out.
    """
    draws = tf.random.stateless_uniform([4 + 4 * _ERASING_TRIES], seed)
    image = tf.cond(draws[0] < 0.5, lambda: mirror(image), lambda: image)
    if padding:
        corner = tf.cast(draws[2:4] * (2.0 * padding + 1.0), tf.int32)
        padded = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])
        image = tf.slice(padded, tf.concat([corner, [0]], axis=0), image.shape)
    # By rows: broadcasting over an axis of 3 takes TensorFlow more than twice the time.
    rows = normalise(tf.cast(tf.reshape(image, [image.shape[0], -1]), tf.float32))
    normalised = tf.reshape(rows, image.shape)
    if not erasing:
        return normalised
    rectangles = tf.reshape(draws[4:], [4, _ERASING_TRIES])
    return tf.cond(draws[1] < erasing, lambda: erase(normalised, rectangles), lambda: normalised)


def erase(image: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Set a rectangle to zero, the mean colour (random erasing, arXiv:1708.04896).

    Args:
        image: float32 [H, W, 3], normalised.
        draws: float32 [4, T], uniform 0 to 1: area, aspect, top and left of T rectangles. The
            first that is smaller than the image is erased, if there is one.
    """
    height, width = image.shape[0], image.shape[1]
    area = height * width * (_ERASED_AREA[0] + draws[0] * (_ERASED_AREA[1] - _ERASED_AREA[0]))
    aspect = _ERASED_ASPECT[0] + draws[1] * (_ERASED_ASPECT[1] - _ERASED_ASPECT[0])
    tall = tf.round(tf.sqrt(area * aspect))
    wide = tf.round(tf.sqrt(area / aspect))
    fits = (tall < height) & (wide < width)
    first = tf.argmax(tf.cast(fits, tf.int32))
    top = tf.floor(draws[2][first] * (height - tall[first] + 1.0))
    left = tf.floor(draws[3][first] * (width - wide[first] + 1.0))
    # By rows, as above: a row's numbers are three a column.
    rows = tf.range(float(height))[:, None]
    columns = np.repeat(np.arange(width, dtype=np.float32), 3)
    inside_rows = (rows >= top) & (rows < top + tall[first]) & tf.reduce_any(fits)
    inside = inside_rows & (columns >= left) & (columns < left + wide[first])
    flat = tf.reshape(image, [height, 3 * width])
    return tf.reshape(tf.where(inside, tf.zeros_like(flat), flat), image.shape)
