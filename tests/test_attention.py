"""Where heads look: the parts add up to the feature, and lie where the overlay shows them."""

import numpy as np
import pytest
from conftest import seeded_variables, write_checkpoint

from mgn import attention, checkpoints
from mgn.config import NetworkOptions
from mgn.inference import load_embedder
from mgn.network import HEADS


@pytest.fixture(scope="module")
def wide_checkpoint(tmp_path_factory):
    """At 192x64, with the batch norms of the heads made plain: no constant, scale 1 over the deviation."""
    arrays = dict(seeded_variables("seathiefwang", 10))
    for h in HEADS:
        for leaf in ("bias", "running_mean"):
            arrays[f"{h.reduction}/1/{leaf}"] = np.zeros(256, np.float32)
    prefix = tmp_path_factory.mktemp("wide") / "seeded"
    write_checkpoint(prefix, arrays, NetworkOptions(10, height=192, width=64))
    return prefix


def test_places_add_up_to_the_squared_feature(wide_checkpoint):
    """Without a constant in its batch norm a head is linear up to its ReLU: places add up to the feature."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (128, 64, 3), np.uint8) for _ in range(2)]
    maps = attention.head_maps(checkpoints.find(wide_checkpoint), pictures)
    embeddings = load_embedder(wide_checkpoint).original(pictures).astype(float).reshape(2, 8, 256)
    shapes = {"fg_p1": (6, 2), "f0_p2": (6, 4), "f2_p3": (4, 4)}
    for added, features in zip(maps, embeddings, strict=True):
        assert {name: added[name].shape for name in shapes} == shapes
        for h, feature in zip(HEADS, features, strict=True):
            # Negative parts are cut off, so the sum is the feature's squared length or a little more.
            assert added[h.name].min() >= 0
            assert added[h.name].sum() >= np.square(feature).sum() * (1 - 1e-4), h.name
            assert added[h.name].sum() <= np.square(feature).sum() * 1.5, h.name


def test_the_overlay_heats_the_stripe_alone():
    picture = np.full((90, 40, 3), 100, np.uint8)
    added = np.zeros((4, 4), np.float32)
    added[3, 0] = 2.0  # the lowest left of the middle stripe
    shown = attention.overlay(picture, "f1_p3", added).astype(int)
    assert (shown[:30] == 30).all() and (shown[60:] == 30).all()
    heat = shown[30:60].sum(axis=2) - shown[30, 39].sum()
    assert np.unravel_index(heat.argmax(), heat.shape)[0] >= 26 and heat[:, :5].max() == heat.max()
    assert (shown[30:40, 30:] == 60).all()


def test_the_drawing_has_a_row_a_picture(tmp_path):
    import cv2

    pictures = [np.full((60, 30, 3), value, np.uint8) for value in (40, 200)]
    maps = [{h.name: np.ones((6, 2), np.float32) for h in HEADS} for _ in pictures]
    attention.draw_head_maps(pictures, ["dark", "bright"], maps, tmp_path / "heads.png")
    drawn = cv2.imread(str(tmp_path / "heads.png"))
    height, width = drawn.shape[:2]
    assert width > height  # nine columns, two rows
    left = drawn[:, : width // 9]
    assert (left == 40).all(axis=2).any(axis=1)[: height // 2].any()
    assert (left == 200).all(axis=2).any(axis=1)[height // 2 :].any()
