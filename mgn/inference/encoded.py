"""Image files decoded inside a graph, by TensorFlow alone: JPEG and PNG."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.config.options import EXPORT_MAX_PIXELS
from mgn.data.images import resize

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # what such a file begins with
_AT_ONCE = 8  # images in memory before they are resized

# Second bytes of a JPEG's markers, behind 0xFF: without a segment (or no marker), frame headers,
# and what the pixels follow.
_NO_LENGTH = [*range(0xC0), *range(0xD0, 0xDA)]
_SCAN = 0xDA
_FRAMES = [code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC)]
_SEGMENT_START = 10  # bytes: of a frame's up to its width, of EXIF's up to the TIFF header
_EXIF = b"\xff\xe1..Exif\0\0"  # the dots stand for the segment's length
_PARTS = 1000  # segments of a JPEG, or chunks of a PNG, that are looked at

# A PNG's first chunk: signature 0 to 7, length and name 8 to 15, width and height 16 to 23.
_PNG_START = 26
_DEPTH, _CHANNELS = 24, 25  # where it says bits a channel, and which channels (0: grey)

# EXIF is a TIFF file in small (CIPA DC-008): a header, and tags of 12 bytes in a directory.
_ORIENTATION = 0x0112
# Types of its value, signed or not: of two bytes, of four. Of two values the first counts.
_SHORTS, _LONGS = (3, 8), (4, 9, 13)
_TAGS = 64  # of the directory, looked at; cameras write some twenty


class _Header(NamedTuple):
    """What a file's header says: height and width [2], where its EXIF's TIFF header is, or 0."""

    size: tf.Tensor
    exif: tf.Tensor
    problem: tf.Tensor


def decode_and_resize(contents: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decode and resize image files: string [N] to float32 RGB 0 to 255 [N, height, width, 3].

    Each is a whole JPEG (grey, RGB or CMYK) or PNG of at most `EXPORT_MAX_PIXELS`, read as
    `data.decoding.decode` reads it, an orientation in its EXIF applied; of EXIF behind `_PARTS`
    segments of a JPEG or chunks of a PNG nothing is known here. One with a header of no use ends
    the run with InvalidArgumentError, which names its position and the problem. Damage that only
    the decoder sees ends it in the decoder's words.
    """
    with tf.device("/device:CPU:0"):  # no GPU decodes; a GPU gets them in one copy
        count = tf.size(contents)
        made = tf.TensorArray(tf.float32, count, element_shape=[height, width, 3])

        def one(i: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            image = _decode(tf.gather(contents, i), i)
            return i + 1, made.write(i, resize(image, height, width))

        loop = tf.while_loop(lambda i, _: i < count, one, (0, made), parallel_iterations=_AT_ONCE)
        return loop[1].stack()


def _decode(contents: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """A file, string [], to uint8 RGB [H, W, 3], once its header was found in order."""
    start = _bytes(contents, 0, _PNG_START)
    is_jpeg = _begins(start, _JPEG)
    is_png = _begins(start, _PNG)
    header = _Header(
        *tf.cond(is_jpeg, lambda: _jpeg_header(contents), lambda: _png_header(contents, start))
    )
    pixels = tf.reduce_prod(tf.cast(tf.maximum(header.size, 0), tf.int64))
    problem = header.problem
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
        contents = tf.identity(contents)
    image = tf.cond(
        tf.io.is_jpeg(contents),
        # As libjpeg by default, so Pillow and OpenCV; `decode_image` is off by one grey level.
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    orientation = tf.cond(
        header.exif > 0, lambda: _orientation(contents, header.exif), lambda: tf.constant(1)
    )
    return tf.cond(orientation > 1, lambda: _upright(image, orientation), lambda: image)


def _bytes(contents: tf.Tensor, start: tf.Tensor | int, count: int) -> list[tf.Tensor]:
    """Some bytes of a string [], each int32 []; zeros behind its end."""
    return tf.unstack(_part(contents, start, count), count)


def _part(contents: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """The same as int32 [count]."""
    start = tf.clip_by_value(start, 0, tf.strings.length(contents))
    padded = tf.strings.join([tf.strings.substr(contents, start, count), b"\0" * count])
    return tf.cast(tf.io.decode_raw(tf.strings.substr(padded, 0, count), tf.uint8), tf.int32)


def _begins(found: Sequence[tf.Tensor], wanted: bytes, any_byte: str = "") -> tf.Tensor:
    """Whether the bytes begin with these; `any_byte` stands for each."""
    same = []
    for byte, value in zip(found, wanted, strict=False):
        if chr(value) != any_byte:
            same.append(tf.equal(byte, value))
    return tf.reduce_all(same)


def _jpeg_header(contents: tf.Tensor) -> _Header:
    """By the frame header: the decoder does not say which image has no pixels.

    A file with bytes between its segments is left to the decoder, which skips them.
    """
    length = tf.strings.length(contents)

    def is_frame(found: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.equal(found[0], 0xFF) & tf.reduce_any(tf.equal(found[1], _FRAMES))

    def goes_on(start: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        _, _, *found = state
        ends = tf.reduce_any(tf.equal(found[1], [*_NO_LENGTH, _SCAN]))
        return tf.equal(found[0], 0xFF) & ~ends & (start < length)

    def following(
        start: tf.Tensor, exif: tf.Tensor, frame: tf.Tensor, *found: tf.Tensor
    ) -> list[tf.Tensor]:
        frame = tf.where(tf.equal(frame, 0) & is_frame(found), start, frame)
        is_first = tf.equal(exif, 0) & _begins(found, _EXIF, any_byte=".")
        exif = tf.where(is_first, start + len(_EXIF), exif)
        # 0xFF may be repeated
        start += tf.where(tf.equal(found[1], 0xFF), 1, 2 + 256 * found[2] + found[3])
        return [start, exif, frame, *_bytes(contents, start, _SEGMENT_START)]

    first = tf.constant(2)  # after the marker that begins the file
    none = tf.constant(0)
    begin = [first, none, none, *_bytes(contents, first, _SEGMENT_START)]
    _, exif, frame, *_ = tf.while_loop(goes_on, following, begin, maximum_iterations=_PARTS)
    found = _bytes(contents, frame, _SEGMENT_START)
    size = tf.cond(
        frame > 0,
        lambda: tf.stack([256 * found[5] + found[6], 256 * found[7] + found[8]]),
        lambda: tf.slice(tf.io.extract_jpeg_shape(contents), [0], [2]),
    )
    return _Header(size, exif, tf.constant(""))


def _png_header(contents: tf.Tensor, start: Sequence[tf.Tensor]) -> _Header:
    def goes_on(at: tf.Tensor, exif: tf.Tensor, *chunk: tf.Tensor) -> tf.Tensor:
        del exif
        return ~_begins(chunk[4:], b"IEND") & (at < length)

    def following(at: tf.Tensor, exif: tf.Tensor, *chunk: tf.Tensor) -> list[tf.Tensor]:
        exif = tf.where(_begins(chunk[4:], b"eXIf"), at + 8, exif)  # of several the last counts
        at += 12 + tf.maximum(_number(chunk[:4]), 0)  # length, name and checksum take four each
        return [at, exif, *_bytes(contents, at, 8)]

    length = tf.strings.length(contents)
    first = tf.constant(len(_PNG))
    begin = [first, tf.constant(0), *_bytes(contents, first, 8)]
    _, exif, *_ = tf.while_loop(goes_on, following, begin, maximum_iterations=_PARTS)
    deep = tf.equal(start[_DEPTH], 16) & tf.equal(start[_CHANNELS], 0)
    problem = tf.where(deep, "16-bit grey: save it with 8 bits", "")
    size = tf.stack([_number(start[20:24]), _number(start[16:20])])
    return _Header(size, exif, problem)


def _number(digits: Sequence[tf.Tensor], lowest_first: tf.Tensor | bool = False) -> tf.Tensor:
    """Bytes as one number, of several such bytes each; above 2^31 a negative one."""
    low, high = 0, 0
    for i, (from_left, from_right) in enumerate(zip(digits, reversed(digits), strict=True)):
        low += from_left * 256**i
        high += from_right * 256**i
    return tf.where_v2(lowest_first, low, high)


def _orientation(contents: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """The tag in the EXIF whose TIFF header begins there: int32 [], 1 to 8, or what is damaged."""
    mark = _EXIF[-6:]  # some programs repeat it, or write it into a PNG
    exif = tf.while_loop(
        lambda at: _begins(_bytes(contents, at, len(mark)), mark),
        lambda at: at + len(mark),
        [exif],
        maximum_iterations=_PARTS,
    )
    header = _bytes(contents, exif, 8)
    lowest_first = tf.equal(header[0], ord("I"))  # as Intel's processors; "M" for Motorola's
    directory = exif + tf.maximum(_number(header[4:], lowest_first), 0)
    count = _number(_bytes(contents, directory, 2), lowest_first)
    tags = tf.reshape(_part(contents, directory + 2, 12 * _TAGS), [_TAGS, 12])
    columns = tf.unstack(tags, axis=1)
    is_it = tf.equal(_number(columns[:2], lowest_first), _ORIENTATION)
    kind = _number(columns[2:4], lowest_first)
    values = _number(columns[4:8], lowest_first)  # how many: as many as fit into the tag, or one
    is_short = _is_one_of(kind, _SHORTS) & _is_one_of(values, (1, 2))
    is_long = _is_one_of(kind, _LONGS) & tf.equal(values, 1)
    is_tiff = _begins(header, b"II*\0") | _begins(header, b"MM\0*")
    is_it &= (is_short | is_long) & (tf.range(_TAGS) < count) & is_tiff
    short = _number(columns[8:10], lowest_first)
    value = tf.where(is_short, short, _number(columns[8:12], lowest_first))
    return tf.reduce_max(tf.where_v2(is_it, value, 1))


def _is_one_of(numbers: tf.Tensor, wanted: Sequence[int]) -> tf.Tensor:
    """For each number, [...], whether it is among these."""
    return tf.reduce_any(tf.equal(tf.expand_dims(numbers, -1), wanted), axis=-1)


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The image that is stored in an orientation, turned and mirrored back."""
    lying = _is_one_of(orientation, (5, 6, 7, 8))
    standing = tf.cond(lying, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    rows = _is_one_of(orientation, (3, 4, 7, 8))
    columns = _is_one_of(orientation, (2, 3, 6, 7))
    image = tf.cond(rows, lambda: tf.reverse(standing, [0]), lambda: standing)
    return tf.cond(columns, lambda: tf.reverse(image, [1]), lambda: image)
