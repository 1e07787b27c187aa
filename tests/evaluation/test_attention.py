"""Where heads look: the parts add up to the feature, and lie where the overlay shows them."""

from contextlib import closing

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import relative

from mgn.config import NetworkOptions
from mgn.data.images import normalise, resize
from mgn.evaluation import attention
from mgn.inference import load_embedder
from mgn.network import HEADS
from mgn.network.architecture import Mode, head_inputs
from mgn.system.session import new_session
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")


def test_places_add_up_to_the_squared_feature(small_checkpoint, small_arrays):
    """Average pooling by hand: convolution and batch norm of each place, weighed by the feature."""
    image = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)
    (maps,) = attention.head_maps(checkpoints.find(small_checkpoint), [image])
    with closing(load_embedder(small_checkpoint)) as embed:
        features = embed.original([image]).astype(float).reshape(8, 256)
    prepared = normalise(resize(tf.constant(image)[None], 96, 32))
    seen = head_inputs(prepared, NetworkOptions(0), Mode(training=False))
    with new_session(tf.get_default_graph()) as session:
        checkpoints.restore(session, checkpoints.find(small_checkpoint), tf.global_variables())
        seen = session.run(seen)
    for h, feature in zip(HEADS, features, strict=True):
        mean, variance, scale, bias, weight = (
            small_arrays[f"{h.reduction}/{leaf}"].astype(float)
            for leaf in ("1/running_mean", "1/running_var", "1/weight", "1/bias", "0/weight")
        )
        places = seen[h.name][0].astype(float) @ weight[0, 0]
        places = (places - mean) / np.sqrt(variance + 1e-5) * scale + bias
        expected = places @ feature / places[..., 0].size
        assert expected.sum() == pytest.approx(np.square(feature).sum(), rel=1e-4), h.name
        assert maps[h.name].shape == expected.shape
        assert relative(maps[h.name], np.maximum(expected, 0)) < 1e-3, h.name


def test_the_overlay_heats_the_stripe_alone():
    image = np.full((90, 40, 3), 100, np.uint8)
    added = np.zeros((4, 4), np.float32)
    added[3, 0] = 2.0  # the lowest left of the middle stripe
    shown = attention.overlay(image, "f1_p3", added).astype(int)
    assert (shown[:30] == 30).all() and (shown[60:] == 30).all()
    heat = shown[30:60].sum(axis=2) - shown[30, 39].sum()
    assert np.unravel_index(heat.argmax(), heat.shape)[0] >= 26 and heat[:, :5].max() == heat.max()
    assert (shown[30:40, 30:] == 60).all()


def test_the_drawing_has_a_row_a_image(tmp_path, recwarn):
    images = [np.full((60, 30, 3), value, np.uint8) for value in (40, 200)]
    maps = [{h.name: np.ones((6, 2), np.float32) for h in HEADS} for _ in images]
    # Names that are mathematics, no text, or of letters that the font lacks are only names.
    titles = [r"dark $\frac$ _^", "bright 人\udcff"]
    attention.draw_head_maps(images, titles, maps, tmp_path / "heads.png")
    assert not recwarn.list
    drawn = cv2.imread(str(tmp_path / "heads.png"))
    height, width = drawn.shape[:2]
    assert width > height  # nine columns, two rows
    left = drawn[:, : width // 9]
    assert (left == 40).all(axis=2).any(axis=1)[: height // 2].any()
    assert (left == 200).all(axis=2).any(axis=1)[height // 2 :].any()
