"""Exports around a network that a reader can compute, the means of 8×8 blocks: made in no time."""

import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.export import assembly
from mgn.inference.graph import OUTPUTS, PLAIN, PRE_POST, build

FORMS = {
    "plain": (PLAIN, "float32"),
    "float32": (PRE_POST, "float32"),
    "uint8": (PRE_POST, "uint8"),
    "jpeg": (PRE_POST, "jpeg"),
}


def block_means(images):
    """[N, H, W, 3] to [N, H * W * 3 / 64]."""
    height, width = images.shape[1:3]
    blocks = tf.nn.avg_pool2d(images, 8, 8, "VALID")
    return tf.reshape(blocks, [-1, height * width * 3 // 64])


def write_pb(path, form, input_type, height=96, width=32):
    """Export that network as `freezing.freeze` does one with weights."""
    with tf.Graph().as_default() as graph:
        build(form, NetworkOptions(10, height=height, width=width), input_type, block_means)
    graph_def = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [OUTPUTS[form]])
    assembly.rename_functions(graph_def)
    path.write_bytes(graph_def.SerializeToString(deterministic=True))
    return path
