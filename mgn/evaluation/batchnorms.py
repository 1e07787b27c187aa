"""What a network's batch norms hold of its training images, and what other images put there."""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.data.images import normalise, resize
from mgn.network import HEADS
from mgn.network.architecture import inference_network
from mgn.system.errors import InputError
from mgn.system.session import new_graph, new_session
from mgn.weights import checkpoints

_BATCH = 32  # images a forward
_STEM, _KERNEL, _STRIDE = "backbone/bn1", "backbone/conv1/weight", 2
_HEAD_NORMS = [f"{head.reduction}/1" for head in HEADS]


def _statistics(norm: str) -> tuple[str, str]:
    return f"{norm}/running_mean", f"{norm}/running_var"


_READ = [_KERNEL, *itertools.chain(*map(_statistics, (_STEM, *_HEAD_NORMS)))]


class BatchNorms:
    """A checkpoint's network up to the batch norms of its heads, and what they hold.

    `mean` and `variance` are float32 [8, 256], of what each head's batch norm was given in
    training. `colour` is the mean RGB of the training images, float64 [3], 0 to 255.
    """

    def __init__(self, checkpoint: checkpoints.Checkpoint):
        """Load the network; read and check what it holds.

        Raises:
            InputError: a part of a network, weights that are NaN or infinite, or batch norms
                that hold no statistics.
        """
        checkpoint.check_whole()
        options = checkpoint.options
        self.height = options.height
        with new_graph().as_default() as graph:
            self._image = tf.placeholder(tf.uint8, [None, None, 3])
            self._resized = resize(self._image, options.height, options.width)
            self._images = tf.placeholder(tf.float32, [None, options.height, options.width, 3])
            inference_network(normalise(self._images, options.mean, options.std), options)
            inputs = [_input_of(graph, name) for name in _HEAD_NORMS]
            self._values = tf.stack([tf.squeeze(x, axis=[1, 2]) for x in inputs], axis=1)
            variables = {v.op.name: v for v in tf.global_variables()}
            finite = {n: tf.reduce_all(tf.math.is_finite(v)) for n, v in variables.items()}
        self._session = new_session(graph)
        try:
            checkpoints.restore(self._session, checkpoint, list(variables.values()))
            _check_finite(checkpoint, self._session.run(finite))
            held = self._session.run({name: variables[name] for name in _READ})
            _check_filled(checkpoint, held)
        except InputError:
            self.close()
            raise
        self.mean = np.stack([held[f"{norm}/running_mean"] for norm in _HEAD_NORMS])
        self.variance = np.stack([held[f"{norm}/running_var"] for norm in _HEAD_NORMS])
        of_stem = (held[name] for name in (_KERNEL, *_statistics(_STEM)))
        colour = mean_colour(*of_stem, (options.height, options.width))
        self.colour = np.clip(colour * options.std + options.mean, 0, 255)

    def values(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """What images, uint8 RGB [H, W, 3], put before these norms: float32 [N, 8, 256]."""
        resized = [self._session.run(self._resized, {self._image: image}) for image in images]
        made = [np.empty((0, *self.mean.shape), np.float32)]
        for start in range(0, len(resized), _BATCH):
            batch = np.stack(resized[start : start + _BATCH])
            made.append(self._session.run(self._values, {self._images: batch}))
        return np.concatenate(made)

    def close(self) -> None:
        """Give the memory back. Nothing can be asked any more."""
        self._session.close()


def mean_colour(
    kernel: np.ndarray, mean: np.ndarray, variance: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The mean colour of images, from the mean that the first convolution makes of them.

    A convolution is linear, so the mean of its result is that of its kernels times the mean
    image. That image is taken as of one colour: 64 means for three unknowns, by least squares.
    Zeros around it count as often as a kernel reaches over its edge.

    Args:
        kernel: float [h, w, 3, C], of stride 2, padded by half its size.
        mean: float [C], of the result.
        variance: float [C], of the result; a channel weighs less the more it varies.
        size: height and width of the images, pixels.

    Returns:
        float64 [3], normalised RGB.
    """
    inside = [_inside(taps, pixels) for taps, pixels in zip(kernel.shape, size, strict=False)]
    gains = np.einsum("hwio,h,w->oi", kernel, *inside)
    weights = 1 / np.sqrt(variance + np.median(variance))
    solution, *_ = np.linalg.lstsq(gains * weights[:, None], mean * weights, rcond=None)
    return solution


def _inside(taps: int, pixels: int) -> np.ndarray:
    """The share of places of a convolution at which each of its taps is inside of the image."""
    places = np.arange(0, pixels, _STRIDE) - taps // 2
    reached = places[:, None] + np.arange(taps)
    return np.mean((reached >= 0) & (reached < pixels), axis=0)


def _check_finite(checkpoint: checkpoints.Checkpoint, finite: dict[str, bool]) -> None:
    bad = [name for name, is_finite in finite.items() if not is_finite]
    if bad:
        told = f"{len(bad)} of {len(finite)} variables are NaN or infinite, such as {bad[0]}"
        raise InputError(f"{checkpoint.prefix}: {told}; name an earlier checkpoint, or train again")


def _check_filled(checkpoint: checkpoints.Checkpoint, held: dict[str, np.ndarray]) -> None:
    """Refuse batch norms as they are before the first step of training."""
    for norm in (_STEM, *_HEAD_NORMS):
        mean, variance = (held[name] for name in _statistics(norm))
        if not mean.any() and np.all(variance == 1):
            told = f"batch norm {norm} holds no statistics (mean 0, variance 1)"
            advice = "name a checkpoint of a network that was trained"
            raise InputError(f"{checkpoint.prefix}: {told}; {advice}")


def _input_of(graph: tf.Graph, norm: str) -> tf.Tensor:
    """What a batch norm of this scope normalises."""
    for operation in graph.get_operations():
        if operation.type == "FusedBatchNormV3" and operation.name.startswith(f"{norm}/"):
            return operation.inputs[0]
    raise KeyError(norm)
