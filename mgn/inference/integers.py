"""Whether this machine's TensorFlow computes eight-bit convolutions, tried on one."""

import functools
import sys

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.system.errors import InputError
from mgn.system.session import new_graph, new_session

CONVOLUTION = "QuantizedConv2DWithBias"  # how the names of these operations begin
EXACT, SATURATING, MISSING = "exact", "saturating", "missing"
_CHANNELS = 64  # enough for oneDNN to take the kernels that a network gets


def check_integers(graph: tf.Graph, where: object) -> None:
    """See what becomes of a model's eight-bit convolutions here, if it has any.

    Args:
        graph: the model.
        where: its file, for the error.

    Raises:
        InputError: this TensorFlow does not run them.
    """
    if any(operation.type.startswith(CONVOLUTION) for operation in graph.get_operations()):
        check_kernels(where)


def check_kernels(where: object) -> None:
    """Raise `InputError` where there are no kernels; print a line once where they cut off."""
    kernels = integer_kernels()
    if kernels == MISSING:
        problem = "int8 needs oneDNN's integer convolutions, which this TensorFlow does not have"
        todo = "run without TF_ENABLE_ONEDNN_OPTS=0, or export another --precision"
        raise InputError(f"{where}: {problem}; {todo}")
    if kernels == SATURATING:
        _warn_once()


@functools.cache
def _warn_once() -> None:
    problem = "int8: this processor has no AVX-512 VNNI, AVX-VNNI or AMX"
    effect = "it is no faster than float32 here, and embeddings differ from other processors'"
    sys.stderr.write(f"warning: {problem}, so {effect}\n")


@functools.cache
def integer_kernels() -> str:
    """How a convolution of 64 largest values comes out.

    Returns:
        "exact"; "saturating" where the processor adds two products in 16 bits, which cuts them off
        at 32,767; "missing" where TensorFlow runs without oneDNN.
    """
    largest = float(_CHANNELS * 255 * 127)  # becomes 255
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, 1, 1, _CHANNELS])
        given = tf.raw_ops.QuantizeV2(
            input=images, min_range=0.0, max_range=255.0, T=tf.quint8, mode="SCALED"
        )
        kernel = np.full((1, 1, _CHANNELS, _CHANNELS), 127, np.int8)
        bounds = np.full(_CHANNELS, 127, np.float32)
        result, *_ = tf.raw_ops.QuantizedConv2DWithBiasAndReluAndRequantize(
            input=given.output,
            filter=tf.constant(kernel.astype(tf.qint8.as_numpy_dtype), tf.qint8),
            bias=np.zeros(_CHANNELS, np.float32),
            min_input=given.output_min,
            max_input=given.output_max,
            min_filter=-bounds,
            max_filter=bounds,
            min_freezed_output=0.0,
            max_freezed_output=largest,
            strides=[1] * 4,
            padding="VALID",
            out_type=tf.quint8,
        )
    with new_session(graph, rewrite=False) as session:
        try:
            values = session.run(result, {images: np.full((1, 1, 1, _CHANNELS), 255, np.float32)})
        except tf.errors.OpError:
            return MISSING
    return EXACT if (values.astype(int) == 255).all() else SATURATING
