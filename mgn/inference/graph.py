"""Encoded pictures in a graph: judged by their headers, decoded side by side, resized one by one."""

import tensorflow.compat.v1 as tf

from mgn.config import EXPORT_MAX_PIXELS
from mgn.images import decode, resize

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # what such a file begins with
_PNG_SIZE = 16  # where a PNG's header says width and height, four bytes each, the highest first
_PNG_HEADER = 24  # bytes, up to there
_NO_LENGTH = [*range(0xC0), *range(0xD0, 0xDA)]  # second bytes of markers without a segment, or of none
_FRAMES = [code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC)]  # second bytes of markers
_SEGMENTS = 1000  # of a JPEG, looked at in search of it
_FRAME_HEADER = 9  # bytes: marker, segment's length, precision, height, width
_AT_ONCE = 8  # pictures in memory before they are resized


def decode_and_resize(contents: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decode pictures of any sizes as `images.decode` does, and resize each.

    A picture that its header shows to be no use ends the run with InvalidArgumentError, which says which:
    "picture 3: neither a JPEG nor a PNG". What only the decoder sees, damage, ends it in the decoder's words.

    Args:
        contents: string [N], whole JPEG (grey, RGB or CMYK) or PNG files, of `EXPORT_MAX_PIXELS` at most.
        height: of the result, pixels.
        width: the same.

    Returns:
        float32 [N, height, width, 3], RGB 0 to 255.
    """
    with tf.device("/device:CPU:0"):  # no GPU decodes; a GPU gets them in one copy
        count = tf.size(contents)
        made = tf.TensorArray(tf.float32, count, element_shape=[height, width, 3])

        def one(i: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            picture = decode(_checked(tf.gather(contents, i), i))
            return i + 1, made.write(i, resize(picture, height, width))

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
    fine = tf.raw_ops.Assert(condition=tf.equal(problem, ""), data=["picture", position, problem])
    with tf.control_dependencies([fine]):
        return tf.identity(contents)


def _jpeg_size(contents: tf.Tensor) -> tf.Tensor:
    """By the frame header, from segment to segment: the decoder does not say which picture has no pixels.

    Files that are not made of segments alone are left to the decoder, which skips what lies between.
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
        start += tf.where(tf.equal(found[1], 0xFF), 1, 2 + 256 * found[2] + found[3])  # 0xFF may be repeated
        return [start, *header(start)]

    first = tf.constant(2)  # after the marker that begins the file
    _, *found = tf.while_loop(goes_on, following, [first, *header(first)], maximum_iterations=_SEGMENTS)
    return tf.cond(
        is_frame(found),
        lambda: tf.stack([256 * found[5] + found[6], 256 * found[7] + found[8]]),
        lambda: tf.slice(tf.io.extract_jpeg_shape(contents), [0], [2]),
    )


def _png_size(start: tf.Tensor) -> tf.Tensor:
    whole = tf.strings.join([start, b"\0" * _PNG_HEADER])  # a header that is cut off has no size
    return tf.io.decode_raw(tf.strings.substr(whole, _PNG_SIZE, 8), tf.int32, little_endian=False)
