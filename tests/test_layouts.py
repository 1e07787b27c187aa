"""Layouts by rank, element by element."""

import numpy as np

from mgn.weights.families import to_tf_layout, to_torch_layout, torch_shape


def test_layouts():
    convolution, matrix = np.arange(24.0).reshape(4, 3, 2, 1), np.arange(6.0).reshape(3, 2)
    assert to_tf_layout(convolution)[1, 0, 2, 3] == convolution[3, 2, 1, 0]
    assert to_tf_layout(matrix)[1, 2] == matrix[2, 1]
    assert to_tf_layout(convolution).dtype == np.float32
    assert np.array_equal(to_torch_layout(to_tf_layout(convolution)), convolution)
    assert to_torch_layout(to_tf_layout(convolution)).flags.c_contiguous
    assert torch_shape((7, 7, 3, 64)) == (64, 3, 7, 7)
