"""`deep_sort`: the frozen graph that deep_sort's `generate_detections.py` imports."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.data.matrix_resize import resize_by_products
from mgn.deploy.source import FEATURES, IMAGES, RAW, Source, network, normalised, of_length_1
from mgn.deploy.target import Choices, Target, described, itself
from mgn.inference.exported import METADATA, read_graph_def
from mgn.system.session import new_graph, new_session

_SCOPE = "net"  # under which it imports the graph


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    """uint8 BGR of one size, to which its encoder resizes each box.

    Before that it makes each box as wide as this size's aspect ratio wants, so a size with the
    aspect ratio of the boxes keeps them whole; the graph then resizes to the network's own.
    """
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, *(choices.input_size or source.size), 3], IMAGES)
        rgb = tf.reverse(tf.cast(images, tf.float32), axis=[-1])
        if choices.input_size:
            rgb = resize_by_products(rgb, *source.size)
        features = of_length_1(network(source, normalised(source, rgb, RAW)))
        tf.identity(features, name=FEATURES)
        tf.constant(described(source, choices), name=METADATA)
    paths[0].write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))


def _run(paths: Sequence[Path], images: np.ndarray, _: Choices) -> np.ndarray:
    """As `generate_detections.py` does: by these names, in BGR."""
    with new_graph().as_default() as graph:
        tf.import_graph_def(read_graph_def(paths[0]), name=_SCOPE)
    with new_session(graph, rewrite=False) as session:
        given = {f"{_SCOPE}/{IMAGES}:0": images[..., ::-1]}
        return session.run(f"{_SCOPE}/{FEATURES}:0", given)


TARGET = Target(
    writes="a frozen graph: images uint8 BGR of one size to features of length 1",
    write=_write,
    run=_run,
    files=itself,
    runtime="TensorFlow",
    length_1=True,
    takes=("input_size",),
)
