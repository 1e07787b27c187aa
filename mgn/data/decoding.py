"""Image files to RGB: the one decoder of training, evaluation, search, client and doctor."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mgn.system.errors import InputError

READERS = 4  # threads that decode
# Ends of the names of image files; what a file holds is seen from its contents alone.
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif"),
    *(".tif", ".tiff", ".avif", ".jp2", ".ppm"),
)
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM")
_READ = "JPEG, PNG, BMP, WebP, GIF, TIFF, AVIF, JPEG 2000, PPM"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # 8 bits a channel
_ORIENTATION = 0x0112  # a tag of EXIF (CIPA DC-008), 1 to 8; 1 is upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(contents: bytes) -> np.ndarray:
    """Decode an image file as Pillow, and so the PyTorch models' training, does.

    An orientation in the file's EXIF is applied, which that training did not do; Market-1501 has
    none. Transparency is dropped: a pixel keeps the colour under it. Of an animation, and of an
    MPO's views, the first is taken. Of 16 bits in a coloured PNG the higher eight count.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        InputError: why there is no such image, in words to follow the file's name.
    """
    if not contents:
        raise InputError("empty file")
    try:
        with Image.open(io.BytesIO(contents), formats=_FORMATS) as image:
            mode = image.mode  # before it is loaded: Pillow clips 16-bit grey, whatever its range
            image.load()
            turn = _TURNS.get(_orientation(image.info.get("exif", b"")))
            image.info.pop("transparency", None)  # else Pillow warns that it is dropped
            rgb = image.convert("RGB") if mode in _MODES else None
    except UnidentifiedImageError:
        raise InputError(f"not an image in a format that can be read ({_READ})") from None
    except Image.DecompressionBombError:
        raise InputError(f"has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except Exception as error:  # a decoder's own, of many types
        raise InputError(f"cut off or damaged ({error})") from None
    if rgb is None:
        problem = f"has more than 8 bits a channel (Pillow's mode {mode})"
        raise InputError(f"{problem}, of an unknown range; save it with 8 bits")
    return np.array(rgb if turn is None else rgb.transpose(turn))


def _orientation(exif: bytes) -> int:
    """The tag's value; 1 if there is none, or no whole EXIF. A TIFF is turned as it is loaded."""
    tags = Image.Exif()
    try:
        tags.load(exif)
        return tags.get(_ORIENTATION, 1)
    except Exception:  # of many types
        return 1


def read_image(path: str | Path) -> np.ndarray:
    """Read one file to uint8 RGB [H, W, 3], as `decode`; `InputError` names what cannot be."""
    return read_file(path)[1]


def read_file(path: str | Path) -> tuple[bytes, np.ndarray]:
    """The same, and the file's contents before it."""
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check its name and permissions"
        ) from None
    try:
        return contents, decode(contents)
    except InputError as error:
        raise InputError(f"{path}: {error}; repair or remove it") from None
