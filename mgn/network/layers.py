"""The network's layers, in PyTorch's conventions. No other file calls `tf.get_variable`.

Each layer opens a scope of its name, so the tree of calls is the tree of variable names. Layers
compute in the type of their input. Variables and batch norm's statistics are always float32.
"""

import functools
from collections.abc import Callable, Sequence

import tensorflow.compat.v1 as tf

from mgn.network import replicas
from mgn.network.winograd import CHANNELS, convolve
from mgn.system.session import has_gpu

_EPSILON = 1e-5  # of batch and instance norm, PyTorch's
_LEAST = 1e-6  # of what GeM raises to a power, fast-reid's
GEM, INSTANCE_NORM = "gem", "IN"  # scopes of what is computed in float32, whatever the rest is in
_CHANNELS_OF_PRODUCTS = 256  # from here on `_conv2d` is faster
_FIRST_VALUES = {  # of a kernel: its variance times what, and their distribution
    "fan_in": (2.0, "fan_in", "untruncated_normal"),  # He's (arXiv:1502.01852), MGN-pytorch's heads
    "fan_out": (2.0, "fan_out", "untruncated_normal"),  # torchvision's ResNet
    "uniform": (1 / 3, "fan_in", "uniform"),  # PyTorch's layers: up to 1 / sqrt(fan_in)
}
_MOMENTUM = 0.1  # weight of the new batch in the running statistics, PyTorch's


def conv2d(
    x: tf.Tensor,
    name: str,
    filters: int,
    size: int = 1,
    stride: int = 1,
    first: str = "fan_out",
    winograd: bool = False,
) -> tf.Tensor:
    """Convolution without bias, padded by `size // 2` on every side as PyTorch pads.

    Args:
        x: [N, H, W, C], float32, bfloat16 or float16.
        name: scope; the kernel is `name/weight`, [size, size, C, filters].
        filters: channels of the result.
        size: odd kernel size, pixels.
        stride: pixels.
        first: first values, of `_FIRST_VALUES`.
        winograd: 3×3 of stride 1 and many channels by fewer multiplications; see `winograd`.

    Returns:
        [N, ceil(H / stride), ceil(W / stride), filters], of x's type.
    """
    with tf.variable_scope(name, use_resource=True):
        initializer = tf.variance_scaling_initializer(*_FIRST_VALUES[first])
        shape = [size, size, x.shape[-1], filters]
        weight = tf.get_variable("weight", shape, tf.float32, initializer)
        if winograd and (size, stride) == (3, 1) and x.shape[-1] >= CHANNELS:
            return convolve(x, tf.convert_to_tensor(weight))
        weight = tf.cast(weight, x.dtype)
        if stride == 1:
            many = min(weight.shape[2:]) >= _CHANNELS_OF_PRODUCTS
            if x.dtype == tf.bfloat16 and many and not has_gpu():
                return _conv2d(x, weight)
            return tf.nn.conv2d(x, weight, strides=1, padding="SAME")
        # SAME pads a stride of 2 differently from PyTorch, and an explicit padding list has no fast
        # gradient.
        return tf.nn.conv2d(_padded(x, size), weight, strides=stride, padding="VALID")


def _padded(x: tf.Tensor, size: int) -> tf.Tensor:
    edge = [size // 2, size // 2]
    return tf.pad(x, [[0, 0], edge, edge, [0, 0]]) if size > 1 else x


@tf.custom_gradient
def _conv2d(x: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """The same convolution; its kernel's gradient is one product of matrices for each place in it.

    On CPUs that of `tf.nn.conv2d` takes up to twice the time in bfloat16 (doc/benchmarks-log.md).
    """
    size, _, channels, filters = weight.shape

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        sizes = tf.shape(x)
        to_x = tf.nn.conv2d_backprop_input(sizes, weight, upstream, [1] * 4, "SAME")
        padded = _padded(x, size)
        rows = tf.reshape(upstream, [-1, filters])
        places = [(i, j) for i in range(size) for j in range(size)]
        shifted = [tf.slice(padded, [0, i, j, 0], tf.shape(x)) for i, j in places]
        products = [
            tf.matmul(tf.reshape(y, [-1, channels]), rows, transpose_a=True) for y in shifted
        ]
        return to_x, tf.reshape(tf.stack(products), [size, size, channels, filters])

    return tf.nn.conv2d(x, weight, strides=1, padding="SAME"), gradient


def batch_norm(
    x: tf.Tensor, name: str, training: bool, zero_scale: bool = False, synchronised: bool = False
) -> tf.Tensor:
    """Batch normalisation of [N, H, W, C]; in training its two updates go to UPDATE_OPS.

    The running variance is the unbiased one, in TensorFlow's fused kernel as in PyTorch.

    Args:
        x: float32, bfloat16 or float16.
        name: scope.
        training: batch statistics, instead of running ones.
        zero_scale: start the scale at zero, so that a residual block starts as the identity.
        synchronised: take the statistics over the images of all replicas, not of each by itself.
    """
    with tf.variable_scope(name, use_resource=True):
        shape = [x.shape[-1]]
        zeros, ones = tf.zeros_initializer(), tf.ones_initializer()
        weight = tf.get_variable("weight", shape, tf.float32, zeros if zero_scale else ones)
        bias = tf.get_variable("bias", shape, tf.float32, zeros)
        mean = replica_variable("running_mean", shape, zeros)
        variance = replica_variable("running_var", shape, ones)
        fused = functools.partial(tf.nn.fused_batch_norm, x, weight, bias, epsilon=_EPSILON)
        if not training:
            return fused(mean=mean, variance=variance, is_training=False)[0]
        if synchronised and replicas.count() > 1:
            y, batch_mean, batch_variance = _synchronised_batch_norm(x, weight, bias)
        else:
            y, batch_mean, batch_variance = fused()
        for running, batch in ((mean, batch_mean), (variance, batch_variance)):
            step = running.assign_sub(_MOMENTUM * (running - batch), read_value=False)
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, step)
        return y


def replica_variable(name: str, shape: Sequence[int], initializer: Callable) -> tf.Variable:
    """A variable of which replicas keep their own, and a checkpoint has the mean."""
    return tf.get_variable(
        name,
        shape,
        tf.float32,
        initializer,
        use_resource=True,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
    )


def _synchronised_batch_norm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor) -> tuple:
    """As the fused kernel, with one mean and variance for the images of all replicas."""
    values = tf.cast(x, tf.float32)
    number = tf.cast(tf.size(values) / tf.size(weight), tf.float32)
    (number,) = replicas.sums([number])
    mean = replicas.differentiable_sum(tf.reduce_sum(values, [0, 1, 2])) / number
    # Around the mean: the mean of squares minus the square of the mean would lose digits.
    centred = values - mean
    variance = replicas.differentiable_sum(tf.reduce_sum(tf.square(centred), [0, 1, 2])) / number
    y = centred * (tf.rsqrt(variance + _EPSILON) * weight) + bias
    return tf.cast(y, x.dtype), mean, variance * (number / (number - 1.0))


def instance_batch_norm(
    x: tf.Tensor, name: str, training: bool, synchronised: bool = False
) -> tf.Tensor:
    """IBN-a (arXiv:1807.09441): instance norm of the first half of the channels, then batch norm.

    Takes and returns [N, H, W, C]; see `batch_norm`.
    """
    with tf.variable_scope(name):
        first, second = tf.split(x, 2, axis=3)
        first = instance_norm(first, INSTANCE_NORM)
        second = batch_norm(second, "BN", training, synchronised=synchronised)
        return tf.concat([first, second], axis=3)


def instance_norm(x: tf.Tensor, name: str) -> tf.Tensor:
    """Instance normalisation (arXiv:1607.08022) of [N, H, W, C], in float32.

    By each image's own mean and biased variance of each channel, in training and testing.
    """
    with tf.variable_scope(name, use_resource=True):
        shape = [x.shape[-1]]
        weight = tf.get_variable("weight", shape, tf.float32, tf.ones_initializer())
        bias = tf.get_variable("bias", shape, tf.float32, tf.zeros_initializer())
        values = tf.cast(x, tf.float32)
        centred = values - tf.reduce_mean(values, axis=[1, 2], keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=[1, 2], keepdims=True)
        # OpenCV's importer knows no reciprocal of a root.
        normalised = centred / tf.sqrt(variance + _EPSILON)
        return tf.cast(normalised * weight + bias, x.dtype)


def gem(x: tf.Tensor) -> tf.Tensor:
    """Generalised-mean pooling (arXiv:1711.02512), float32 [N, H, W, C] to [N, 1, 1, C].

    The power `gem/p`, [1], is learned, and starts at 3. Variables are reused where they are there.
    """
    with tf.variable_scope(GEM, reuse=tf.AUTO_REUSE, use_resource=True):
        p = tf.get_variable("p", [1], tf.float32, tf.constant_initializer(3.0))
        # By logarithms: powers take TensorFlow three times as long, and OpenCV has none, nor a
        # maximum with a constant.
        clamped = tf.nn.relu(x - _LEAST) + _LEAST
        powers = tf.exp(tf.math.log(clamped) * p)
        mean = tf.reduce_mean(powers, axis=[1, 2], keepdims=True)
        return tf.exp(tf.math.log(mean) / p)


def prelu(x: tf.Tensor, name: str) -> tf.Tensor:
    """Parametric ReLU (arXiv:1502.01852), one slope a channel, starting at 0.25."""
    with tf.variable_scope(name, use_resource=True):
        slope = tf.get_variable("weight", [x.shape[-1]], tf.float32, tf.constant_initializer(0.25))
        # The only form in which OpenCV's importer knows PReLU (OpenCV 5; four others fail).
        return tf.nn.relu(x) + tf.nn.relu(tf.negative(x)) * (-slope)


def linear(x: tf.Tensor, name: str, units: int) -> tf.Tensor:
    """Fully connected layer: float32 [N, C] to [N, units]; `weight` is [C, units]."""
    with tf.variable_scope(name, use_resource=True):
        # PyTorch's default, +-1/sqrt(C). He's by fan-out (MGN-pytorch's) grows as classes get
        # fewer: features then fit the random classifier, not each other, and compare badly
        # (doc/results-earlier.md).
        initializer = tf.variance_scaling_initializer(*_FIRST_VALUES["uniform"])
        weight = tf.get_variable("weight", [x.shape[-1], units], tf.float32, initializer)
        bias = tf.get_variable("bias", [units], tf.float32, tf.zeros_initializer())
        return tf.matmul(x, weight) + bias


def cosine(x: tf.Tensor, name: str, units: int) -> tf.Tensor:
    """Cosines between features and classes: float32 [N, C] to [N, units]; `weight` is [C, units].

    Circle softmax takes them (arXiv:2002.10857).
    """
    with tf.variable_scope(name, use_resource=True):
        initializer = tf.random_normal_initializer(stddev=0.01)
        weight = tf.get_variable("weight", [x.shape[-1], units], tf.float32, initializer)
        directions = tf.nn.l2_normalize(tf.convert_to_tensor(weight), axis=0)
        return tf.matmul(tf.nn.l2_normalize(x, axis=1), directions)


def moving_average(variable: tf.Variable, share: tf.Tensor) -> tf.Operation:
    """Move `NAME/average` towards the variable by this share of the way, 0 to 1.

    Each replica keeps its own: weights are the same in all of them, and nothing has to be sent.
    """
    name = f"{replicas.name_of(variable)}/average"
    average = replica_variable(name, variable.shape, tf.zeros_initializer())
    return average.assign_sub(share * (average - variable.read_value()), read_value=False)
