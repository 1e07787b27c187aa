"""Where on an image each head looks: what every place of its map adds to the head's feature."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import tensorflow.compat.v1 as tf
from matplotlib import colormaps
from matplotlib.figure import Figure

from mgn.data.images import normalise, resize
from mgn.evaluation.plots import AS_IT_IS, drawable
from mgn.network import BRANCHES, HEADS
from mgn.network.architecture import Mode, head, head_inputs
from mgn.system.session import new_graph, new_session
from mgn.weights import checkpoints

_STRIPES = {branch.name: branch.stripes for branch in BRANCHES}
_OPAQUE, _DIM = (
    0.75,
    0.6,
)  # share of the heat where it is hottest; brightness of the image below it
_PARTS = {2: ("upper", "lower"), 3: ("top", "middle", "bottom")}


def head_maps(checkpoint: checkpoints.Checkpoint, images: Sequence[np.ndarray]) -> list[dict]:
    """Compute what each place of a head's map or stripe adds to the squared length of its feature.

    That is the map times the gradient, summed over channels (arXiv:1610.02391 without its averaging
    over places), and an equal part of what the head's batch norm adds. So the places add up to the
    squared length; where one takes something away, it is given as 0. With maximum pooling only the
    places count that are the maximum of a channel.

    Args:
        checkpoint: a whole network.
        images: uint8 RGB [H, W, 3], of any sizes.

    Returns:
        for each image {head's name: float32 [h, w], at least 0}, h and w those of the map or
        stripe.
    """
    options = checkpoint.options
    with new_graph().as_default() as graph:
        image = tf.placeholder(tf.uint8, [None, None, 3])
        prepared = resize(image[None], options.height, options.width)
        prepared = normalise(prepared, options.mean, options.std)
        prepared.set_shape([1, options.height, options.width, 3])
        added, running = {}, Mode(training=False)
        seen = head_inputs(prepared, options, running)
        for h in HEADS:
            feature = head(seen[h.name], h.reduction, options, running)
            squared = tf.reduce_sum(tf.square(feature))
            (gradient,) = tf.gradients(squared / 2, seen[h.name])
            places = tf.reduce_sum(seen[h.name] * gradient, axis=-1)[0]
            constant = (squared - tf.reduce_sum(places)) / tf.cast(tf.size(places), tf.float32)
            added[h.name] = tf.nn.relu(places + constant)
        variables = tf.global_variables()
    with new_session(graph) as session:
        checkpoints.restore(session, checkpoint, variables)
        return [session.run(added, {image: each}) for each in images]


def overlay(image: np.ndarray, name: str, added: np.ndarray) -> np.ndarray:
    """Lay one head's map over an image.

    Args:
        image: uint8 RGB [H, W, 3].
        name: the head's.
        added: float32 [h, w], its map or stripe.

    Returns:
        uint8 RGB [H, W, 3]: the image in grey under the heat; outside of the head's stripe it is
        darker.
    """
    (row,) = [h for h in HEADS if h.name == name]
    height, width = image.shape[:2]
    count, place = (1, 0) if row.stripe is None else (_STRIPES[row.branch], row.stripe)
    top, bottom = (round(height * edge / count) for edge in (place, place + 1))
    share = cv2.resize(
        added / max(added.max(), 1e-12), (width, bottom - top), interpolation=cv2.INTER_LINEAR
    )
    heat = colormaps["inferno"](share)[:, :, :3] * 255
    weight = _OPAQUE * share[:, :, None]
    result = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * _DIM
    result[top:bottom] = result[top:bottom] * (1 - weight) + heat * weight
    result[:top] *= 0.5
    result[bottom:] *= 0.5
    return result.round().astype(np.uint8)


def draw_head_maps(
    images: Sequence[np.ndarray], titles: Sequence[str], maps: Sequence[dict], path: Path
) -> None:
    """Draw a PNG: a row an image with its title, then a column a head."""
    columns = 1 + len(HEADS)
    figure = Figure(
        figsize=(1.15 * columns, 2.5 * len(images) + 0.6), dpi=110, layout="constrained"
    )
    grid = figure.subplots(len(images), columns, squeeze=False)
    for axes, image, title, added in zip(grid, images, titles, maps, strict=True):
        shown = [image, *(overlay(image, h.name, added[h.name]) for h in HEADS)]
        for cell, panel in zip(axes, shown, strict=True):
            cell.imshow(panel, aspect="auto")
            cell.set(xticks=[], yticks=[])
        axes[0].set_xlabel(drawable(title), fontsize=7, loc="left", **AS_IT_IS)
    for cell, text in zip(grid[0], ["image", *map(_heading, HEADS)], strict=True):
        cell.set_title(text, fontsize=8)
    figure.suptitle(
        "Where each head looks: the brighter, the more of its feature comes from there", fontsize=9
    )
    figure.savefig(path, format="png")


def _heading(h) -> str:
    part = "whole" if h.stripe is None else _PARTS[_STRIPES[h.branch]][h.stripe]
    return f"{h.branch}, {part}"
