"""What an embedder refuses: each advice, followed, makes the image that was meant."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from mgn.inference.given import checked
from mgn.system.errors import ImageError, InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
IMAGE[0, 0, 0], IMAGE[0, 0, 1] = 0, 255
GREY = IMAGE[..., :1].repeat(3, axis=2)
BLACK_AND_WHITE = (IMAGE > 99) * np.uint8(255)
MASKED = np.ma.masked_array(IMAGE, IMAGE > 99)
FROM_0_TO_1 = "np.rint(255 * image).astype(np.uint8)"

# What was meant, what was given, its type and shape as they are told, an advice among others.
WRONG = {
    "floats in 0 to 1": (IMAGE, IMAGE / np.float32(255), "float32 [5, 4, 3]", FROM_0_TO_1),
    "double": (IMAGE, IMAGE / 255, "float64 [5, 4, 3]", FROM_0_TO_1),
    "half": (IMAGE, (IMAGE / 255).astype(np.float16), "float16 [5, 4, 3]", FROM_0_TO_1),
    "floats in 0 to 255": (
        *(IMAGE, IMAGE + np.float32(0.2), "float32 [5, 4, 3]"),
        "np.rint(image).astype(np.uint8)",
    ),
    "int64": (IMAGE, IMAGE.astype(int), "int64 [5, 4, 3]", "image.astype(np.uint8)"),
    "16 bits": (
        *(IMAGE, IMAGE.astype(np.uint16) * 257, "uint16 [5, 4, 3]"),
        "np.rint(image / 257).astype(np.uint8)",
    ),
    "8 of 16 bits": (
        *(IMAGE, IMAGE.astype(np.uint16), "uint16 [5, 4, 3]"),
        "image.astype(np.uint8)",
    ),
    "bool": (BLACK_AND_WHITE, IMAGE > 99, "bool [5, 4, 3]", "(255 * image).astype(np.uint8)"),
    "grey": (GREY, IMAGE[..., 0], "uint8 [5, 4]", "np.stack([image] * 3, axis=-1)"),
    "grey of one channel": (
        *(GREY, IMAGE[..., :1], "uint8 [5, 4, 1]"),
        "np.concatenate([image] * 3, axis=-1)",
    ),
    "RGBA": (
        *(IMAGE, np.concatenate([IMAGE, GREY[..., :1]], axis=2), "uint8 [5, 4, 4]"),
        "image[..., :3]",
    ),
    "channels first": (
        *(IMAGE, IMAGE.transpose(2, 0, 1), "uint8 [3, 5, 4]"),
        "image.transpose(1, 2, 0)",
    ),
    "masked": (np.where(MASKED.mask, 0, IMAGE), MASKED, "uint8 [5, 4, 3]", "image.filled(0)"),
    "tensor": (IMAGE, torch.tensor(IMAGE), "Tensor", "np.asarray(image)"),
    "Pillow": (IMAGE, PIL.Image.fromarray(IMAGE), "Image", "np.asarray(image)"),
}
# What nobody can tell how to make an image of.
HOPELESS = {
    "NaN": (np.full((5, 4, 3), np.nan, np.float32), "float32 [5, 4, 3]"),
    "no rows": (IMAGE[:0], "uint8 [0, 4, 3]: must be uint8 RGB [H, W, 3], H and W above 0"),
    "no columns": (IMAGE[:, :0], "uint8 [5, 0, 3]"),
    "one number": (IMAGE[0, 0, 0], "uint8: must be"),
    "no dimension": (np.array(IMAGE[0, 0, 0]), "uint8 []"),
    "one row": (IMAGE[0, 0], "uint8 [3]"),
    "two channels": (IMAGE[..., :2], "uint8 [5, 4, 2]"),
    "a batch": (IMAGE[None], "uint8 [1, 5, 4, 3]: must be uint8 RGB [H, W, 3]; a batch inside"),
    "objects": (IMAGE.astype(object), "object [5, 4, 3]"),
    "texts": (IMAGE.astype(str), "<U3 [5, 4, 3]"),
    "complex": (IMAGE.astype(complex), "complex128 [5, 4, 3]"),
    "a list of lists": (IMAGE.tolist(), "list: must be uint8 RGB [H, W, 3]"),
    "nothing": (None, "None: must be uint8 RGB [H, W, 3]; cv2.imread gives None"),
    "a name": ("a.jpg", "str: must be uint8 RGB [H, W, 3]; read the file: mgn.data.decoding"),
    "a path": (Path("a.jpg"), "read the file: mgn.data.decoding"),
    "a file": (b"\xff\xd8\xff", "bytes: must be uint8 RGB [H, W, 3]; read the file: mgn.data"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_advice_makes_the_image_that_was_meant(kind):
    meant, image, told, advice = WRONG[kind]
    with pytest.raises(ImageError) as refusal:
        checked([IMAGE, IMAGE, image])
    assert refusal.value.position == 2 and str(refusal.value).startswith(f"image 2: {told}")
    assert "must be uint8 RGB [H, W, 3]" in refusal.value.problem
    assert advice in refusal.value.problem
    made = eval(advice, {"image": image, "np": np})
    assert made.dtype == np.uint8 and np.array_equal(made, meant)
    assert np.array_equal(checked([made])[0], meant)


@pytest.mark.parametrize("kind", HOPELESS)
def test_what_is_no_image_is_refused_with_its_place(kind):
    image, told = HOPELESS[kind]
    for images in ([image, IMAGE], (image,), iter([image])):
        with pytest.raises(ImageError) as refusal:
            checked(images)
        assert refusal.value.position == 0 and told in str(refusal.value)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (IMAGE, r"uint8 \[5, 4, 3\] instead of a list of images; give a single one as \[image\]"),
        (IMAGE / 255, r"float64 \[5, 4, 3\] instead of a list"),
        (IMAGE[0], r"uint8 \[4, 3\] instead of a list"),
        (np.array(IMAGE[0, 0, 0]), "ndarray instead of a list of images, each uint8"),
        (torch.tensor(7), "Tensor instead of a list of images"),
        (PIL.Image.fromarray(IMAGE), "Image instead of a list of images"),
        (None, "NoneType instead of a list of images"),
        ("a.jpg", r"a name instead of a list of images; read the file: mgn\.data\.decoding"),
        (Path("a.jpg"), "a name instead of a list of images"),
    ],
)
def test_what_is_no_list_is_refused(images, told):
    with pytest.raises(InputError, match=told) as refusal:
        checked(images)
    assert not isinstance(refusal.value, ImageError)


def test_what_has_images_one_after_another_is_taken():
    batch = np.stack([IMAGE, GREY])
    ragged = np.empty(2, object)
    ragged[:] = [IMAGE, GREY]
    for images in (batch, [*batch], (*batch,), iter(batch), ragged, np.ma.masked_array(batch)):
        made = checked(images)
        assert type(made) is list and np.array_equal(made, batch)
        assert {type(image) for image in made} == {np.ndarray}
    for nothing in ([], (), batch[:0], np.array([])):
        assert checked(nothing) == []


def test_views_and_arrays_that_cannot_be_written_are_taken_without_a_copy():
    locked = IMAGE.copy()
    locked.setflags(write=False)
    for image in (IMAGE[:, ::-1], IMAGE[::2], IMAGE.transpose(1, 0, 2), locked, IMAGE[..., ::-1]):
        (made,) = checked([image])
        assert np.array_equal(made, image) and np.shares_memory(made, image)
