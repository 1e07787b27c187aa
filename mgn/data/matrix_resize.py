"""The resize of `images.py` as two matrix products: operations that every runtime has."""

from collections.abc import Callable

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.system.session import new_graph, new_session


def resize_by_products(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resize RGB [N, H, W, 3] of any type to float32 height × width; both 0 to 255.

    As `images.resize`: each new row is a sum of given rows, each new column of given columns. The
    weights are constants where the graph knows the given size, and are computed in it elsewhere.
    """
    _, given_height, given_width, _ = images.shape
    _, height_there, width_there, _ = tf.unstack(tf.shape(images))
    by_height = _weights(given_height or height_there, height)
    by_width = _weights(given_width or width_there, width)
    channels = tf.transpose(tf.cast(images, tf.float32), [0, 3, 1, 2])
    # Its width first: of people, who are tall, this leaves less for the second product.
    columns = tf.matmul(channels, by_width, transpose_b=True)
    resized = tf.matmul(by_height, columns)
    return tf.clip_by_value(tf.transpose(resized, [0, 2, 3, 1]), 0.0, 255.0)


def _weights(given: int | tf.Tensor, number: int) -> tf.Tensor:
    if isinstance(given, int):
        return tf.constant(_evaluated(lambda: _computed(tf.constant(given), number)))
    return _computed(given, number)


def _computed(given: tf.Tensor, number: int) -> tf.Tensor:
    """What each of `number` new rows takes of each of `given` ones: float32 [number, given].

    Bicubic with antialias: Keys's kernel with a = -0.5, as wide as a new row where that is more
    than a given one (Pillow's `BICUBIC`).
    """
    # Between middles of rows, times 2 · number · given: whole numbers, so nothing is rounded.
    new = tf.reshape(2 * tf.range(number) + 1, [number, 1]) * given
    old = tf.reshape(2 * tf.range(given) + 1, [1, given]) * number
    width = 2 * tf.maximum(given, number)
    distance = tf.abs(tf.cast(old - new, tf.float32)) / tf.cast(width, tf.float32)

    # The kernel's two pieces, of which each is 0 beyond its ends.
    near = tf.minimum(distance, 1.0)
    far = tf.clip_by_value(distance, 1.0, 2.0)
    kernel = (1.5 * near - 2.5) * near * near + 1.0
    kernel += ((2.5 - 0.5 * far) * far - 4.0) * far + 2.0
    return kernel / tf.reduce_sum(kernel, axis=1, keepdims=True)


def _evaluated(make: Callable[[], tf.Tensor]) -> np.ndarray:
    with new_graph().as_default() as graph:
        made = make()
    with new_session(graph, rewrite=False) as session:
        return session.run(made)
