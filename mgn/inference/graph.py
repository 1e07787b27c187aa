"""The inference graph, with or without pre- and postprocessing, and encoded images in it."""

from collections.abc import Callable

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.config.options import EXPORT_MAX_PIXELS
from mgn.data.images import decode, mirror, normalise, resize

PLAIN, PRE_POST = "plain", "pre_post"  # the two forms of an inference graph

# The names by which others find tensors and signatures, typed here alone.
IMAGE_TENSOR = "image_tensor"  # what both forms take
OUTPUTS = {PLAIN: "person_embedding", PRE_POST: "result_embedding"}
ORIGINAL, FLIPPED = "original_embedding", "flip_embedding"  # the halves of a pre_post graph's sum
RESIZED = "resize_image"  # a pre_post graph's images before they are normalised
NETWORK_INPUT, NETWORK_OUTPUT = "images", "embedding"  # of the frozen network inside
SERVING_SIGNATURE = "reid_mgn_serving"
INPUT_IMAGE, REID_EMBEDDING = "input_image", "reid_embedding"  # what the signature maps

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # what such a file begins with
_PNG_SIZE = 16  # where a PNG's header says width and height, four bytes each, the highest first
_PNG_HEADER = 24  # bytes, up to there
# Second bytes of a JPEG's markers, behind 0xFF: without a segment (or no marker), frame headers.
_NO_LENGTH = [*range(0xC0), *range(0xD0, 0xDA)]
_FRAMES = [code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC)]
_SEGMENTS = 1000  # of a JPEG, looked at in search of its frame header
_FRAME_HEADER = 9  # bytes: marker, segment's length, precision, height, width
_AT_ONCE = 8  # images in memory before they are resized


def decode_and_resize(contents: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decode and resize image files: string [N] to float32 RGB 0 to 255 [N, height, width, 3].

    Each is a whole JPEG (grey, RGB or CMYK) or PNG of at most `EXPORT_MAX_PIXELS`, read as
    `images.decode` reads it. One with a header of no use ends the run with InvalidArgumentError,
    which names its position and the problem. Damage that only the decoder sees ends it in the
    decoder's words.
    """
    with tf.device("/device:CPU:0"):  # no GPU decodes; a GPU gets them in one copy
        count = tf.size(contents)
        made = tf.TensorArray(tf.float32, count, element_shape=[height, width, 3])

        def one(i: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            image = decode(_checked(tf.gather(contents, i), i))
            return i + 1, made.write(i, resize(image, height, width))

        loop = tf.while_loop(lambda i, _: i < count, one, (0, made), parallel_iterations=_AT_ONCE)
        return loop[1].stack()


def _checked(contents: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """The same string [], once its header was found in order."""
    start = tf.strings.substr(contents, 0, _PNG_HEADER)
    is_jpeg = tf.equal(tf.strings.substr(start, 0, len(_JPEG)), _JPEG)
    is_png = tf.equal(tf.strings.substr(start, 0, len(_PNG)), _PNG)
    size = tf.cond(is_jpeg, lambda: _jpeg_size(contents), lambda: _png_size(start))
    pixels = tf.reduce_prod(tf.cast(tf.maximum(size, 0), tf.int64))
    problem = tf.constant("")
    for wrong, text in (  # the first that holds counts, so the last to be looked at
        (pixels > EXPORT_MAX_PIXELS, f"larger than {EXPORT_MAX_PIXELS} pixels"),
        (tf.equal(pixels, 0), "has no pixels"),
        (~(is_jpeg | is_png), "neither a JPEG nor a PNG"),
        (tf.equal(contents, ""), "empty"),
    ):
        problem = tf.where(wrong, text, problem)
    # "picture" is in the bytes of every exported graph, and clients look for it.
    fine = tf.raw_ops.Assert(condition=tf.equal(problem, ""), data=["picture", position, problem])
    with tf.control_dependencies([fine]):
        return tf.identity(contents)


def _jpeg_size(contents: tf.Tensor) -> tf.Tensor:
    """Height and width by the frame header: the decoder does not say which image has no pixels.

    A file with bytes between its segments is left to the decoder, which skips them.
    """
    length = tf.strings.length(contents)

    def header(start: tf.Tensor) -> list[tf.Tensor]:
        part = tf.strings.substr(contents, tf.minimum(start, length), _FRAME_HEADER)
        whole = tf.io.decode_raw(tf.strings.join([part, b"\0" * _FRAME_HEADER]), tf.uint8)
        return tf.unstack(tf.cast(tf.slice(whole, [0], [_FRAME_HEADER]), tf.int32))

    def is_frame(found: list[tf.Tensor]) -> tf.Tensor:
        return tf.equal(found[0], 0xFF) & tf.reduce_any(tf.equal(found[1], _FRAMES))

    def goes_on(start: tf.Tensor, *found: tf.Tensor) -> tf.Tensor:
        segment = tf.equal(found[0], 0xFF) & ~tf.reduce_any(tf.equal(found[1], _NO_LENGTH))
        return segment & ~is_frame(found) & (start < length)

    def following(start: tf.Tensor, *found: tf.Tensor) -> list[tf.Tensor]:
        # 0xFF may be repeated
        start += tf.where(tf.equal(found[1], 0xFF), 1, 2 + 256 * found[2] + found[3])
        return [start, *header(start)]

    first = tf.constant(2)  # after the marker that begins the file
    start = [first, *header(first)]
    _, *found = tf.while_loop(goes_on, following, start, maximum_iterations=_SEGMENTS)
    return tf.cond(
        is_frame(found),
        lambda: tf.stack([256 * found[5] + found[6], 256 * found[7] + found[8]]),
        lambda: tf.slice(tf.io.extract_jpeg_shape(contents), [0], [2]),
    )


def _png_size(start: tf.Tensor) -> tf.Tensor:
    whole = tf.strings.join([start, b"\0" * _PNG_HEADER])  # a header that is cut off has no size
    return tf.io.decode_raw(tf.strings.substr(whole, _PNG_SIZE, 8), tf.int32, little_endian=False)


def build(
    form: str, options: NetworkOptions, input_type: str, network: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Add an inference graph to the current graph.

    Plain: `image_tensor` float32 [N, height, width, 3], normalised RGB, to `person_embedding`
    [N, 2048].
    With pre- and postprocessing: `image_tensor`, RGB 0 to 255 [N, H, W, 3] of any size, or string
    [N] of encoded images, to `result_embedding` float32 [N, 2048]: resize, normalise, forward of
    image (`original_embedding`) and mirror image (`flip_embedding`) in one batch, sum, L2. An
    image with a NaN or infinite pixel gets NaN. An empty batch ends the run.

    Args:
        form: "plain" or "pre_post".
        options: of the network.
        input_type: of a pre_post graph's `image_tensor`, one of `config.EXPORT_INPUTS`.
        network: normalised images to embeddings.
    """
    if form == PLAIN:
        shape = [None, options.height, options.width, 3]
        images = tf.placeholder(tf.float32, shape, name=IMAGE_TENSOR)
        return tf.identity(network(images), name=OUTPUTS[PLAIN])
    if input_type == "jpeg":
        images = tf.placeholder(tf.string, [None], name=IMAGE_TENSOR)
        resized_by = decode_and_resize
    else:
        images = tf.placeholder(tf.as_dtype(input_type), [None, None, None, 3], name=IMAGE_TENSOR)
        resized_by = resize
    problem = "no pictures, or none with pixels"
    something = tf.raw_ops.Assert(condition=tf.size(images) > 0, data=[problem])
    with tf.control_dependencies([something]):
        resized = resized_by(images, options.height, options.width)
    prepared = normalise(tf.identity(resized, RESIZED))
    both = network(tf.concat([prepared, mirror(prepared)], axis=0))
    original, flipped = tf.split(both, 2)
    total = tf.identity(original, ORIGINAL) + tf.identity(flipped, FLIPPED)
    if images.dtype.is_floating:  # a fused ReLU turns NaN into 0, and so into some embedding
        finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])
        total = tf.where(finite, total, tf.fill(tf.shape(total), np.float32(np.nan)))
    return tf.nn.l2_normalize(total, axis=1, name=OUTPUTS[PRE_POST])
