"""3×3 convolutions of a frozen network by fewer multiplications (Winograd's algorithm, arXiv:1509.09308)."""

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import tensor_util

_CHANNELS = 256  # from here on what is saved is more than what the two transformations cost
_TILE = 4  # rows and columns of a result that are computed at once, from as many and two more
_EDGE = _TILE + 2
# Where the polynomials are evaluated, infinity besides. Of 13 choices tried these had the least mean error;
# the usual 0, ±1, ±2 had twice as much.
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def with_winograd(graph_def: tf.GraphDef, output: str) -> tf.GraphDef:
    """Replace the convolutions of stride 1 and 256 channels or more.

    Each 4×4 of a result takes 36 multiplications a pair of channels instead of 144.

    Args:
        graph_def: frozen; maps are float32 [N, H, W, C] with known H, W and C.
        output: name of the operation that is kept, with what it needs.
    """
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        replaced = {}
        for convolution in graph.get_operations():
            kernel = _kernel(convolution)
            if kernel is not None:
                with tf.name_scope(f"{convolution.name}/winograd/"):
                    replaced[convolution.name] = _convolve(convolution.inputs[0], kernel).op.name
    made = graph.as_graph_def()
    for node in made.node:
        node.input[:] = [replaced.get(name, name) for name in node.input]
    return tf.graph_util.extract_sub_graph(made, [output])


def _kernel(operation: tf.Operation) -> np.ndarray | None:
    """The kernel of a convolution that is to be replaced."""
    if operation.type != "Conv2D" or operation.get_attr("strides") != [1, 1, 1, 1]:
        return None
    kernel = tensor_util.constant_value(operation.inputs[1])
    return kernel if kernel.shape[:2] == (3, 3) and kernel.shape[2] >= _CHANNELS else None


def _convolve(x: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
    """The convolution with padding SAME, a product of matrices for each of the 36 places of a tile.

    Pictures lie next to channels meanwhile, so that a tile's place is one row.
    """
    (_, height, width, channels), filters = x.shape.as_list(), kernel.shape[3]
    down, across = -(-height // _TILE), -(-width // _TILE)  # tiles
    of_result, of_kernel, of_map = _transformations()
    of_kernel = of_kernel @ kernel.reshape(9, -1).astype(np.float64)
    pictures = tf.shape(x)[0]
    edges = [[1, _TILE * down + 1 - height], [1, _TILE * across + 1 - width], [0, 0], [0, 0]]
    padded = tf.pad(tf.transpose(x, [1, 2, 0, 3]), edges)
    rows = tf.reshape(padded, tf.stack([(_TILE * down + 2) * (_TILE * across + 2), pictures * channels]))
    tiles = tf.reshape(tf.gather(rows, _places(down, across)), [_EDGE**2, -1])
    transformed = tf.reshape(tf.matmul(of_map, tiles), [_EDGE**2, -1, channels])
    products = tf.matmul(transformed, of_kernel.reshape(-1, channels, filters).astype(np.float32))
    result = tf.matmul(of_result, tf.reshape(products, [_EDGE**2, -1]))
    result = tf.reshape(result, tf.stack([_TILE, _TILE, down, across, pictures, filters]))
    result = tf.reshape(tf.transpose(result, [4, 2, 0, 3, 1, 5]), [-1, _TILE * down, _TILE * across, filters])
    return tf.slice(result, [0, 0, 0, 0], [-1, height, width, -1])


def _transformations() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices for a tile of products [16, 36], a kernel [36, 9] and a tile of a map [36, 36].

    Toom and Cook's construction: a row for each point, and one for infinity.
    """
    of_result, of_kernel, of_map = np.zeros((_TILE, _EDGE)), np.zeros((_EDGE, 3)), np.eye(_EDGE)
    for i, point in enumerate(_POINTS):
        others = np.array([other for other in _POINTS if other != point])
        of_result[:, i] = point ** np.arange(_TILE)
        of_kernel[i] = point ** np.arange(3) / np.prod(point - others)
        of_map[i] = np.append(np.poly(others)[::-1], 0.0)
    of_result[-1, -1] = of_kernel[-1, -1] = 1.0
    of_map[-1] = np.poly(_POINTS)[::-1]
    both = (np.kron(matrix, matrix) for matrix in (of_result, of_kernel, of_map))
    of_result, of_kernel, of_map = both
    return of_result.astype(np.float32), of_kernel, of_map.astype(np.float32)


def _places(down: int, across: int) -> np.ndarray:
    """Rows of a padded map that the tiles are made of: int32, place by place."""
    inside, rows, columns = np.arange(_EDGE), _TILE * np.arange(down), _TILE * np.arange(across)
    row = inside[:, None, None, None] + rows[:, None]
    column = inside[:, None, None] + columns
    return (row * (_TILE * across + 2) + column).astype(np.int32).ravel()
