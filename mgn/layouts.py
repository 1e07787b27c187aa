"""A weight's axes in PyTorch and in TensorFlow: by rank, nothing else."""

import numpy as np

_TO_TF = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}  # OIHW -> HWIO, OI -> IO, vectors as they are
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


def to_tf_layout(value: np.ndarray) -> np.ndarray:
    """A PyTorch weight in TensorFlow's layout: float32, a view where it can be."""
    return np.asarray(value.transpose(_TO_TF[value.ndim]), np.float32)


def to_torch_layout(value: np.ndarray) -> np.ndarray:
    """The way back, contiguous."""
    return np.ascontiguousarray(value.transpose(_TO_TORCH[value.ndim]), np.float32)


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch of a variable's shape."""
    return tuple(shape[axis] for axis in _TO_TORCH[len(shape)])
