"""3×3 convolutions by fewer multiplications: Winograd's algorithm (arXiv:1509.09308) and gradients.

Each 4×4 of a result takes 36 multiplications a pair of channels instead of 144, as products of
matrices. The three transformations around them cost memory traffic, which pays for many channels
only.
"""

from collections.abc import Callable

import numpy as np
import tensorflow.compat.v1 as tf

# From here on it is faster; with 128 it was not, at batch 32 (doc/benchmarks-inference.md).
CHANNELS = 256
_TILE = 4  # rows and columns of a result that are computed at once, from as many and two more
_EDGE = _TILE + 2
# Where the polynomials are evaluated, infinity besides. Of 12 choices tried these were among the
# most exact; the usual 0, ±1, ±2 had a largest error more than three times as large.
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


@tf.custom_gradient
def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Convolution of stride 1 and padding SAME: [N, H, W, C] to [N, H, W, K], of x's type.

    `x` is float32, bfloat16 or float16, its H, W and C are known. `kernel` is float32 [3, 3, C, K].
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        upstream = tf.ensure_shape(upstream, [None, *x.shape[1:3], kernel.shape[3]])
        of_map = convolve_transformed(upstream, _transform_in_graph(turned, x.dtype))
        return of_map, _gradient_of_kernel(x, upstream)

    return convolve_transformed(x, _transform_in_graph(kernel, x.dtype)), gradient


def convolve_transformed(x: tf.Tensor, transformed: tf.Tensor) -> tf.Tensor:
    """`convolve` with a kernel that `transform` made, [36, C, K] of x's type; without gradients."""
    _, height, width, _ = x.shape.as_list()
    filters = transformed.shape[-1]
    down, across = _tiles(x)
    products = tf.matmul(_transformed(x), transformed)
    result = tf.matmul(_constant(_OF_RESULT, x.dtype), tf.reshape(products, [_EDGE**2, -1]))
    result = tf.reshape(result, [_TILE, _TILE, down, across, -1, filters])
    whole = [-1, _TILE * down, _TILE * across, filters]
    result = tf.reshape(tf.transpose(result, [4, 2, 0, 3, 1, 5]), whole)
    return tf.slice(result, [0, 0, 0, 0], [-1, height, width, -1])


def transform(kernel: np.ndarray) -> np.ndarray:
    """A kernel [3, 3, C, K] for `convolve_transformed`: float64 [36, C, K]."""
    made = _OF_KERNEL @ kernel.reshape(9, -1).astype(np.float64)
    return made.reshape(_EDGE**2, *kernel.shape[2:])


def _transform_in_graph(kernel: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """`transform` of a float32 tensor, computed in float32: `dtype` [36, C, K]."""
    made = tf.matmul(_constant(_OF_KERNEL, tf.float32), tf.reshape(kernel, [9, -1]))
    return tf.cast(tf.reshape(made, [_EDGE**2, *kernel.shape[2:]]), dtype)


def _transformed(x: tf.Tensor) -> tf.Tensor:
    """The overlapping tiles of a map: [36, tiles * N, C].

    Images lie next to channels meanwhile, so that each place of a tile is a row of the map.
    """
    _, height, width, channels = x.shape.as_list()
    down, across = _tiles(x)
    edges = [[1, _TILE * down + 1 - height], [1, _TILE * across + 1 - width], [0, 0], [0, 0]]
    padded = tf.pad(tf.transpose(x, [1, 2, 0, 3]), edges)
    rows = tf.reshape(padded, [(_TILE * down + 2) * (_TILE * across + 2), -1])
    tiles = tf.reshape(tf.gather(rows, _places(down, across)), [_EDGE**2, -1])
    return tf.reshape(tf.matmul(_constant(_OF_MAP, x.dtype), tiles), [_EDGE**2, -1, channels])


def _gradient_of_kernel(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The transformations' gradients, of [N, H, W, C] and [N, H, W, K]: float32 [3, 3, C, K]."""
    _, height, width, filters = upstream.shape.as_list()
    down, across = _tiles(x)
    edges = [[0, 0], [0, _TILE * down - height], [0, _TILE * across - width], [0, 0]]
    tiles = tf.pad(upstream, edges)
    tiles = tf.reshape(tiles, [-1, down, _TILE, across, _TILE, filters])
    tiles = tf.reshape(tf.transpose(tiles, [2, 4, 1, 3, 0, 5]), [_TILE**2, -1])
    products = tf.matmul(_constant(_OF_RESULT.T, x.dtype), tiles)
    maps = _transformed(x)
    products = tf.reshape(products, [_EDGE**2, -1, filters])
    products = tf.matmul(maps, products, transpose_a=True)
    products = tf.reshape(tf.cast(products, tf.float32), [_EDGE**2, -1])
    return tf.reshape(tf.matmul(_constant(_OF_KERNEL.T, tf.float32), products), [3, 3, -1, filters])


def _constant(matrix: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    return tf.constant(matrix.astype(np.float32), dtype)


def _tiles(x: tf.Tensor) -> tuple[int, int]:
    """How many tiles cover a map downwards, and across."""
    return -(-x.shape[1] // _TILE), -(-x.shape[2] // _TILE)


def _places(down: int, across: int) -> np.ndarray:
    """Rows of a padded map that the tiles are made of: int32, place by place."""
    inside = np.arange(_EDGE)
    rows = _TILE * np.arange(down)
    columns = _TILE * np.arange(across)
    row = inside[:, None, None, None] + rows[:, None]
    column = inside[:, None, None] + columns
    return (row * (_TILE * across + 2) + column).astype(np.int32).ravel()


def _transformations() -> list[np.ndarray]:
    """Matrices for tiles of products [16, 36], kernels [36, 9] and tiles of maps [36, 36], float64.

    Toom and Cook's construction: a row for each point, and one for infinity.
    """
    of_result = np.zeros((_TILE, _EDGE))
    of_kernel = np.zeros((_EDGE, 3))
    of_map = np.zeros((_EDGE, _EDGE))
    for i, point in enumerate(_POINTS):
        others = np.array([other for other in _POINTS if other != point])
        of_result[:, i] = point ** np.arange(_TILE)
        of_kernel[i] = point ** np.arange(3) / np.prod(point - others)
        of_map[i, :-1] = np.poly(others)[::-1]
    of_result[-1, -1] = of_kernel[-1, -1] = 1.0
    of_map[-1] = np.poly(_POINTS)[::-1]
    return [np.kron(matrix, matrix) for matrix in (of_result, of_kernel, of_map)]


_OF_RESULT, _OF_KERNEL, _OF_MAP = _transformations()
