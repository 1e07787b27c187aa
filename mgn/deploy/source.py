"""What every target starts from: a plain float32 export, and graphs around its network."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.config.options import EMBEDDING_SIZE
from mgn.inference.exported import METADATA, metadata_of, read_graph_def
from mgn.inference.graph import IMAGE_TENSOR, OUTPUTS, PLAIN, PRE_POST
from mgn.system.errors import InputError
from mgn.system.session import new_graph
from mgn.weights import checkpoints

IMAGES, FEATURES = "images", "features"  # names of input and output in most targets' files
RAW = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # mean and deviation of images that nobody normalised
_SMALLEST = 1e-12  # square of a length, so that zeros stay zeros


class Source(NamedTuple):
    """A plain export; `description` is what the file says of itself."""

    path: Path
    graph_def: tf.GraphDef
    options: NetworkOptions
    description: dict

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's images."""
        return self.options.height, self.options.width

    @property
    def dimensions(self) -> int:
        """How many numbers an embedding has."""
        smaller = self.description.get("smaller")
        return smaller["size"] if smaller else EMBEDDING_SIZE


def read(pb_path: Path) -> Source:
    """Read a plain float32 export.

    Raises:
        InputError: another kind of file, or an export that other programs do not load.
    """
    graph_def = read_graph_def(pb_path)
    description = metadata_of(graph_def.node)
    names = {node.name for node in graph_def.node}
    if not description or not {IMAGE_TENSOR, OUTPUTS[PLAIN], OUTPUTS[PRE_POST]} & names:
        raise InputError(f"{pb_path}: has no description; export it again with export_pb.py")
    form, precision = description.get("form"), description.get("precision")
    wanted = "the targets take a plain float32 graph: export it with export_pb.py"
    if form != PLAIN:
        raise InputError(f"{pb_path}: has pre- and postprocessing; {wanted}")
    if precision != "float32":
        raise InputError(f"{pb_path}: is {precision}; {wanted}")
    if description.get("winograd"):
        raise InputError(f"{pb_path}: has Winograd convolutions; {wanted}, without --winograd")
    options = checkpoints.options_from(description, pb_path)
    return Source(Path(pb_path), graph_def, options, description)


def network(source: Source, images: tf.Tensor) -> tf.Tensor:
    """Add the network to the current graph: normalised [N, H, W, 3] to embeddings [N, D]."""
    nodes = [node for node in source.graph_def.node if node.name != METADATA]
    graph_def = tf.GraphDef(node=nodes, versions=source.graph_def.versions)
    inputs, outputs = {f"{IMAGE_TENSOR}:0": images}, [f"{OUTPUTS[PLAIN]}:0"]
    (embedding,) = tf.import_graph_def(graph_def, inputs, outputs, name="network")
    return embedding


def normalised(
    source: Source, images: tf.Tensor, given: tuple[Sequence[float], Sequence[float]]
) -> tf.Tensor:
    """Images [N, H, W, 3], normalised by a `given` mean and deviation, by the network's own."""
    options = source.options
    if given == (options.mean, options.std):
        return images
    (mean, std), (own_mean, own_std) = np.float64(given), np.float64((options.mean, options.std))
    scale, shift = std / own_std, (mean - own_mean) / own_std
    return images * scale.astype(np.float32) + shift.astype(np.float32)


def of_length_1(embedding: tf.Tensor) -> tf.Tensor:
    """Each row [N, D] divided by its length."""
    squares = tf.reduce_sum(tf.square(embedding), axis=1, keepdims=True)
    return embedding / tf.sqrt(tf.maximum(squares, _SMALLEST))


def nchw_graph(
    source: Source, given: tuple[Sequence[float], Sequence[float]], length_1: bool
) -> tf.GraphDef:
    """`images` float32 [N, 3, height, width], RGB, to `features` float32 [N, D].

    Args:
        source: of the network.
        given: mean and deviation by which the images were normalised, three numbers of 0 to 255.
        length_1: divide each embedding by its length.
    """
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, 3, *source.size], name=IMAGES)
        prepared = normalised(source, tf.transpose(images, [0, 2, 3, 1]), given)
        features = network(source, prepared)
        tf.identity(of_length_1(features) if length_1 else features, name=FEATURES)
    return graph.as_graph_def()
