"""A small network whose batch norms hold the statistics of images that are drawn here."""

from contextlib import closing

import numpy as np
import shallow
import tensorflow.compat.v1 as tf
from conftest import SMALL, write_checkpoint

from mgn.data.images import normalise, resize
from mgn.evaluation.batchnorms import BatchNorms
from mgn.network import HEADS
from mgn.network.layers import conv2d
from mgn.system.session import new_graph, new_session
from mgn.weights import checkpoints

COLOUR = (150, 110, 70)  # mean RGB of the images


def image(seed, factor=1.0):
    """Coloured blocks and noise around COLOUR, uint8 [64, 32, 3]; `factor` makes it darker."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.normal(0, 25, (8, 4, 3)), np.ones((8, 8, 1)))
    pixels = np.array(COLOUR) + blocks + rng.normal(0, 10, (64, 32, 3))
    return np.clip(pixels * factor, 0, 255).round().astype(np.uint8)


def stem_of(images, arrays):
    """What the first convolution makes of images, float32 [N, 48, 16, 64]."""
    with new_graph().as_default() as graph:
        resized = [resize(tf.constant(each), SMALL.height, SMALL.width) for each in images]
        with tf.variable_scope("backbone"):
            made = conv2d(normalise(tf.stack(resized)), "conv1", 64, 7, 2)
        (kernel,) = tf.global_variables()
        with new_session(graph) as session:
            session.run(kernel.initializer, {kernel.initializer.inputs[1]: arrays[kernel.op.name]})
            return session.run(made)


def write_familiar(prefix, images):
    """A checkpoint of the shallow network, as if `images` had been its last batches."""
    arrays = shallow.arrays(SMALL)
    stem = stem_of(images, arrays)
    arrays["backbone/bn1/running_mean"] = stem.mean(axis=(0, 1, 2))
    arrays["backbone/bn1/running_var"] = stem.var(axis=(0, 1, 2))
    first = prefix.with_name(f"{prefix.name}-stem")
    write_checkpoint(first, arrays, SMALL)
    with closing(BatchNorms(checkpoints.find(first))) as norms:
        values = norms.values(images)
    for i, head in enumerate(HEADS):
        arrays[f"{head.reduction}/1/running_mean"] = values[:, i].mean(axis=0)
        arrays[f"{head.reduction}/1/running_var"] = values[:, i].var(axis=0)
    write_checkpoint(prefix, arrays, SMALL)
    return arrays
