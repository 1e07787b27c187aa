"""Every kind of image file that people have: read as it was meant, or refused with the reason."""

import io
import struct
import warnings
from collections import Counter

import cv2
import numpy as np
import pytest
from mutated import mutate, png
from PIL import Image

from mgn.data.decoding import EXTENSIONS, decode, read_image
from mgn.system.errors import InputError

HEIGHT, WIDTH = 48, 26
SMALL = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
RGB = cv2.resize(SMALL, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
FEW = RGB // 64 * 64  # 4 x 4 x 4 colours, which any palette holds
BINARY = np.where(GREY > 120, 255, 0).astype(np.uint8)


def saved(image, kind, mode=None, **options):
    stream, opened = io.BytesIO(), Image.fromarray(image)
    (opened.convert(mode) if mode else opened).save(stream, kind, **options)
    return stream.getvalue()


def palette(kind, **options):
    stream = io.BytesIO()
    few = Image.fromarray(FEW).quantize(64, dither=Image.Dither.NONE)
    few.save(stream, kind, **options)
    return stream.getvalue()


def transparent(kind, **options):
    """Pixels that do not show, with colours of their own under them."""
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:20] = 0
    return saved(np.dstack([RGB, alpha]), kind, **options)


def bmp(pixels, bits, height=HEIGHT, masks=(), colours=b""):
    """A BMP by hand: rows of bytes, each padded to four, from the bottom up."""
    rows = []
    for row in pixels:
        padding = -len(row.tobytes()) % 4
        rows.append(row.tobytes() + bytes(padding))
    body = b"".join(rows[::-1] if height > 0 else rows)
    tables = struct.pack(f"<{len(masks)}I", *masks) + colours
    start = 54 + len(tables)
    used = len(colours) // 4
    head = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start)
    sizes = (40, WIDTH, height, 1, bits, 3 if masks else 0, len(body), 2835, 2835, used, 0)
    return head + struct.pack("<IiiHHIIiiII", *sizes) + tables + body


def packed(red, green, blue):
    """RGB in 16 bits a pixel, with so many bits of each."""
    r, g, b = (RGB[..., i].astype(np.uint16) for i in range(3))
    return (r >> (8 - red) << (green + blue)) | (g >> (8 - green) << blue) | (b >> (8 - blue))


def filled(bits):
    """What is left of RGB in so many bits of each colour, spread over 0 to 255."""
    left = [(RGB[..., i] >> (8 - bits[i])) * 255.0 / (2 ** bits[i] - 1) for i in range(3)]
    return np.stack(left, axis=-1)


def animated(kind, **options):
    others = [Image.fromarray(np.roll(RGB, 5 * i, axis=0)) for i in (1, 2)]
    return saved(RGB, kind, save_all=True, append_images=others, **options)


THREE_GREY = np.dstack([GREY] * 3)
FOUR_GREY = b"".join(bytes([level, level, level, 0]) for level in range(256))
DEEP = RGB.astype(np.uint16) * 257
LOSSLESS = {  # name: (contents, RGB)
    "png": (saved(RGB, "PNG"), RGB),
    "grey png": (saved(GREY, "PNG"), THREE_GREY),
    "1-bit png": (saved(BINARY, "PNG", "1"), np.dstack([BINARY] * 3)),
    "palette png": (palette("PNG"), FEW),
    "palette png, one colour transparent": (palette("PNG", transparency=3), FEW),
    "palette png, alpha": (palette("PNG", transparency=bytes(range(64))), FEW),
    "rgba png": (transparent("PNG"), RGB),
    "grey png, alpha": (saved(GREY, "PNG", "LA"), THREE_GREY),
    "grey png, one level transparent": (
        saved(GREY, "PNG", transparency=int(GREY[0, 0])),
        THREE_GREY,
    ),
    "16-bit png": (cv2.imencode(".png", DEEP[..., ::-1])[1].tobytes(), RGB),
    "animated png": (animated("PNG"), RGB),
    "bmp": (saved(RGB, "BMP"), RGB),
    "grey bmp": (saved(GREY, "BMP"), THREE_GREY),
    "1-bit bmp": (saved(BINARY, "BMP", "1"), np.dstack([BINARY] * 3)),
    "palette bmp": (palette("BMP"), FEW),
    "bmp by hand": (bmp(RGB[..., ::-1], 24), RGB),
    "bmp from the top": (bmp(RGB[..., ::-1], 24, height=-HEIGHT), RGB),
    "grey bmp by hand": (bmp(GREY, 8, colours=FOUR_GREY), THREE_GREY),
    "32-bit bmp": (transparent("BMP"), RGB),
    "16-bit bmp, 555": (bmp(packed(5, 5, 5), 16), filled((5, 5, 5))),
    "16-bit bmp, 565": (bmp(packed(5, 6, 5), 16, masks=(0xF800, 0x7E0, 0x1F)), filled((5, 6, 5))),
    "bmp, bytes behind its end": (saved(RGB, "BMP") + b"\0\0", RGB),
    "gif": (palette("GIF"), FEW),
    "transparent gif": (palette("GIF", transparency=3), FEW),
    "webp": (saved(RGB, "WEBP", lossless=True), RGB),
    "rgba webp": (transparent("WEBP", lossless=True, exact=True), RGB),
    "animated webp": (animated("WEBP", lossless=True), RGB),
    "tiff": (saved(RGB, "TIFF"), RGB),
    "tiff, compressed": (saved(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "palette tiff": (palette("TIFF"), FEW),
    "grey tiff": (saved(GREY, "TIFF"), THREE_GREY),
    "ppm": (saved(RGB, "PPM"), RGB),
    "jpeg 2000": (saved(RGB, "JPEG2000", irreversible=False), RGB),
}
LOSSY = {
    "jpeg": saved(RGB, "JPEG"),
    "jpeg, bytes behind its end": saved(RGB, "JPEG") + bytes(500),
    "progressive jpeg": saved(RGB, "JPEG", progressive=True),
    "grey jpeg": saved(GREY, "JPEG"),
    "cmyk jpeg": saved(RGB, "JPEG", "CMYK", quality=95),
    "jpeg of several views": animated("MPO"),
    "lossy webp": saved(RGB, "WEBP", quality=80),
    "animated gif": animated("GIF"),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_give_the_pixels_that_went_in(name):
    contents, expected = LOSSLESS[name]
    image = decode(contents)
    assert image.dtype == np.uint8 and image.shape == (HEIGHT, WIDTH, 3)
    # Of five bits a decoder may repeat the highest or scale: up to seven levels apart.
    allowed = 7 if "16-bit bmp" in name else 0
    assert np.abs(image.astype(float) - expected).max() <= allowed


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_files_are_what_opencv_makes_of_them(name):
    theirs = cv2.imdecode(np.frombuffer(LOSSY[name], np.uint8), cv2.IMREAD_COLOR_RGB)
    difference = np.abs(decode(LOSSY[name]).astype(int) - theirs)
    assert difference.max() <= (2 if "cmyk" in name else 0)  # rounding of CMYK to RGB


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1)])
def test_thin_images(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert np.array_equal(decode(saved(image, "PNG")), image)
    assert decode(saved(image, "JPEG")).shape == image.shape


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_in_the_exif_is_applied(kind):
    """So that an image stored lying is read upright: the upright one is the oracle, and OpenCV."""
    stored = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0}
    for orientation, turn in stored.items():
        tag = Image.Exif()
        tag[0x0112] = orientation
        contents = saved(cv2.rotate(RGB, turn), kind, exif=tag, **options)
        image = decode(contents)
        assert np.abs(image.astype(int) - RGB).max() <= (3 if kind == "JPEG" else 0)
        theirs = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(image, theirs)


REFUSED = {
    "empty": (b"", "^empty file$"),
    "text": (b"hello, this is text", "not an image in a format"),
    "pdf": (b"%PDF-1.4", "not an image in a format"),
    "16-bit grey png": (cv2.imencode(".png", DEEP[..., 0])[1].tobytes(), "more than 8 bits"),
    "16-bit grey tiff": (cv2.imencode(".tif", DEEP[..., 0])[1].tobytes(), "more than 8 bits"),
    "float tiff": (saved(GREY, "TIFF", "F"), "more than 8 bits"),
    "jpeg, cut off": (LOSSY["jpeg"][:300], "cut off or damaged"),
    "jpeg without its end": (LOSSY["jpeg"][:-2], "cut off or damaged"),
    "png, cut off": (LOSSLESS["png"][0][:300], "cut off or damaged"),
    "png with a wrong checksum": (png(20, 20, bytes(80))[:-20] + bytes(20), "cut off or damaged"),
    "bmp, cut off": (LOSSLESS["bmp"][0][:300], "cut off or damaged"),
    "gif, cut off": (LOSSLESS["gif"][0][:-100], "cut off or damaged"),
    "webp, cut off": (LOSSLESS["webp"][0][:-20], "cut off or damaged|not an image"),
    "tiff, cut off": (LOSSLESS["tiff"][0][:300], "cut off or damaged|not an image"),
    "bomb": (png(20_000, 20_000, b""), "more than 178,956,970 pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_with_the_reason(name, tmp_path):
    contents, reason = REFUSED[name]
    with pytest.raises(InputError, match=reason):
        decode(contents)
    path = tmp_path / "image.jpg"
    path.write_bytes(contents)
    with pytest.raises(InputError) as refusal:
        read_image(path)
    assert str(refusal.value).startswith(f"{path}: ")


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(InputError, match=r"link\.jpg: cannot be read \(No such file"):
        read_image(tmp_path / "link.jpg")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory"):
        read_image(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged EXIF
def test_damaged_files_give_an_image_or_the_reason():
    rng, ends = np.random.default_rng(0), Counter()
    files = [*LOSSY.values(), *(contents for contents, _ in LOSSLESS.values())]
    for i in range(400):
        try:
            assert decode(mutate(files[i % len(files)], rng)).ndim == 3
            ends["image"] += 1
        except InputError:
            ends["reason"] += 1
    assert min(ends["image"], ends["reason"]) >= 20


def test_no_kind_of_file_warns():
    """A warning for each image of a data set would bury everything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for contents in [*LOSSY.values(), *(contents for contents, _ in LOSSLESS.values())]:
            decode(contents)


def test_the_names_taken_are_of_kinds_that_are_read(tmp_path):
    for extension in EXTENSIONS:
        path = tmp_path / f"image{extension}"
        Image.fromarray(RGB).save(path)
        assert read_image(path).shape == RGB.shape
