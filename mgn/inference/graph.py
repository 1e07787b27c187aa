"""The inference graph, with or without pre- and postprocessing."""

from collections.abc import Callable

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.data.images import mirror, normalise
from mgn.data.matrix_resize import resize_by_products
from mgn.inference.encoded import decode_and_resize

PLAIN, PRE_POST = "plain", "pre_post"  # the two forms of an inference graph

# The names by which others find tensors, typed here alone.
IMAGE_TENSOR = "image_tensor"  # what both forms take
OUTPUTS = {PLAIN: "person_embedding", PRE_POST: "result_embedding"}
ORIGINAL, FLIPPED = "original_embedding", "flip_embedding"  # the halves of a pre_post graph's sum
WHOLE = "whole_embedding"  # what a graph that gives smaller vectors makes them of, of any length
RESIZED = "resize_image"  # a pre_post graph's images before they are normalised
NETWORK_INPUT, NETWORK_OUTPUT = "images", "embedding"  # of the frozen network inside

Layer = Callable[[tf.Tensor], tf.Tensor]


def build(
    form: str,
    options: NetworkOptions,
    input_type: str,
    network: Layer,
    input_size: tuple[int, int] | None = None,
    reduction: Layer | None = None,
) -> tf.Tensor:
    """Add an inference graph to the current graph.

    Plain: `image_tensor` float32 [N, height, width, 3], normalised RGB, to `person_embedding`
    [N, 2048].
    With pre- and postprocessing: `image_tensor`, RGB 0 to 255 [N, H, W, 3] of any size, or string
    [N] of encoded images, to `result_embedding` float32 [N, 2048]: resize, normalise, forward of
    image (`original_embedding`) and mirror image (`flip_embedding`) in one batch, sum, L2. An
    image with a NaN or infinite pixel gets NaN. An empty batch ends the run.
    With a reduction both give smaller vectors of length 1, of which `whole_embedding` is made.

    Args:
        form: "plain" or "pre_post".
        options: of the network.
        input_type: of a pre_post graph's `image_tensor`, one of `config.EXPORT_INPUTS`.
        network: normalised images to embeddings.
        input_size: height and width of the images that a pre_post graph takes; None: any.
        reduction: embeddings [N, 2048] of length 1 to smaller vectors of any length; None: none.
    """
    if form == PLAIN:
        shape = [None, options.height, options.width, 3]
        images = tf.placeholder(tf.float32, shape, name=IMAGE_TENSOR)
        if reduction:
            return _reduced(network(images), reduction, OUTPUTS[PLAIN])
        return tf.identity(network(images), name=OUTPUTS[PLAIN])
    if input_type == "jpeg":
        images = tf.placeholder(tf.string, [None], name=IMAGE_TENSOR)
        resized_by = decode_and_resize
    else:
        shape = [None, *(input_size or (None, None)), 3]
        images = tf.placeholder(tf.as_dtype(input_type), shape, name=IMAGE_TENSOR)
        resized_by = resize_by_products
    problem = "no pictures, or none with pixels"
    something = tf.raw_ops.Assert(condition=tf.size(images) > 0, data=[problem])
    with tf.control_dependencies([something]):
        resized = resized_by(images, options.height, options.width)
    prepared = normalise(tf.identity(resized, RESIZED), options.mean, options.std)
    both = network(tf.concat([prepared, mirror(prepared)], axis=0))
    return postprocess(both, images, reduction)


def postprocess(both: tf.Tensor, images: tf.Tensor, reduction: Layer | None = None) -> tf.Tensor:
    """Add a pre_post graph's last part to the current graph.

    Args:
        both: embeddings of images, then of their mirror images: float32 [2 * N, 2048].
        images: those that were given, [N, ...].
        reduction: see `build`.

    Returns:
        `result_embedding`, float32 [N, 2048] or smaller: sum, L2; NaN where an image is not finite.
    """
    original, flipped = tf.split(both, 2)
    total = tf.identity(original, ORIGINAL) + tf.identity(flipped, FLIPPED)
    if images.dtype.is_floating:  # a fused ReLU turns NaN into 0, and so into some embedding
        finite = tf.expand_dims(tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3]), 1)
        # NaN is a constant: converters to ONNX choose by a sum of products, which makes everything
        # NaN, unless they see one. -0.0 is what changes no number by being added, 0.0 included.
        total += tf.where_v2(finite, np.float32(-0.0), np.float32(np.nan))
    if reduction:
        return _reduced(total, reduction, OUTPUTS[PRE_POST])
    return tf.nn.l2_normalize(total, axis=1, name=OUTPUTS[PRE_POST])


def _reduced(embeddings: tf.Tensor, reduction: Layer, name: str) -> tf.Tensor:
    """Embeddings [N, 2048] of any length made smaller, of length 1."""
    # A reshape that changes nothing: right behind a concatenation OpenCV takes a wrong length.
    named = tf.reshape(embeddings, [-1, embeddings.shape[1]], name=WHOLE)
    whole = tf.nn.l2_normalize(named, axis=1)
    return tf.nn.l2_normalize(reduction(whole), axis=1, name=name)
