"""Training images changed at random: mirrored, recoloured, cropped, erased; all in the graph."""

from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config.variants import MEAN, STD
from mgn.data.images import mirror, normalise

_ERASED_AREA = 0.02, 0.4  # share of the image (arXiv:1708.04896)
_ERASED_ASPECT = 0.3, 1 / 0.3  # height over width
# Rectangles drawn until one lies inside the image; MGN-pytorch tries 100, with the same effect.
_ERASING_TRIES = 10
_JITTER_SEED = (0, 2**62)  # added to an image's seed; no image has such a place in an epoch
_LUMA = np.float32((0.299, 0.587, 0.114))  # ITU-R BT.601, as Pillow's conversion to grey


def augment(
    image: tf.Tensor,
    seed: tf.Tensor,
    erasing: float,
    padding: int = 0,
    jitter: float = 0.0,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> tf.Tensor:
    """Mirror (probability 0.5), change the colours, pad and crop, normalise, erase a rectangle.

    Args:
        image: RGB [height, width, 3], 0 to 255, of any type.
        seed: int64 [2]; the same seed gives the same image, whatever else runs.
        erasing: probability that a rectangle is erased, 0 to 1.
        padding: pixels of black on every side, before a part of the old size is cut out.
        jitter: brightness, contrast and saturation change by a factor of 1 - jitter to 1 + jitter.
        mean: the network's, as `normalise` takes it.
        std: the same.

    Returns:
        float32 [height, width, 3], normalised.
    """
    draws = tf.random.stateless_uniform([4 + 4 * _ERASING_TRIES], seed)
    image = tf.cond(draws[0] < 0.5, lambda: mirror(image), lambda: image)
    if jitter:
        # Draws of their own: without jitter an image is augmented as it always was.
        spread = tf.random.stateless_uniform([3], seed + _JITTER_SEED, 1.0 - jitter, 1.0 + jitter)
        image = change_colours(tf.cast(image, tf.float32), spread)
    if padding:
        corner = tf.cast(draws[2:4] * (2.0 * padding + 1.0), tf.int32)
        padded = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])
        image = tf.slice(padded, tf.concat([corner, [0]], axis=0), image.shape)
    # By rows: broadcasting over an axis of 3 takes TensorFlow more than twice the time.
    rows = tf.cast(tf.reshape(image, [image.shape[0], -1]), tf.float32)
    rows = normalise(rows, mean, std)
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


def change_colours(image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast and saturation, in this order, as Pillow's `ImageEnhance` does.

    Args:
        image: float32 RGB [H, W, 3], 0 to 255.
        factors: float32 [3]: one each; 1 changes nothing, 0 gives black, one grey, and greys.

    Returns:
        float32 [H, W, 3], 0 to 255.
    """
    image = tf.clip_by_value(image * factors[0], 0.0, 255.0)
    mean = tf.reduce_mean(_grey(image))
    image = tf.clip_by_value(mean + (image - mean) * factors[1], 0.0, 255.0)
    grey = _grey(image)
    return tf.clip_by_value(grey + (image - grey) * factors[2], 0.0, 255.0)


def _grey(image: tf.Tensor) -> tf.Tensor:
    """The brightness of each pixel: [H, W, 3] to [H, W, 1]."""
    return tf.reduce_sum(image * _LUMA, axis=-1, keepdims=True)
