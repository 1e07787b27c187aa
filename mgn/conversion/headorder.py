"""Which numbering a file's reductions have, judged by what each was trained on.

MGN-pytorch counts the whole maps first (2 is the whole of p3, 3 and 4 are the stripes of p2), the
reproduced repository branch by branch (2 and 3 are the stripes of p2, 4 is the whole of p3). All
have one shape, so a wrong order loads without an error. But each reduction's batch norm remembers
the mean of what its convolution made of the pooled map in training: the head whose pooled map gives
that mean is the right one.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config.options import REDUCTION_ORDERS
from mgn.network import HEADS
from mgn.network.architecture import Head
from mgn.system.progress import Progress
from mgn.weights.families import Family

_CLEAR = 1.3  # how many times nearer one order must be, to be taken for the right one
_NEAR = 0.4  # and how near at least; images unlike those of the training are far from both orders
_EPSILON = 1e-5  # batch norm's
_BATCH = 16  # images a forward
Inputs = dict[str, np.ndarray]  # {head's name: mean of its pooled map, [2048]}
_MOVED = [head for head in HEADS if head.reduction in ("reduction_2", "reduction_3", "reduction_4")]


class Evidence(NamedTuple):
    """Distances of the heads' means from what batch norm remembers, in its standard deviations."""

    basis: str  # what the expected inputs of the heads come from
    distances: dict[str, float]  # {order: root mean square over the heads that differ}

    @property
    def order(self) -> str | None:
        """The order that fits; None if it cannot be told."""
        nearest = min(self.distances, key=self.distances.get)
        return nearest if self.margin >= _CLEAR and self.distances[nearest] <= _NEAR else None

    @property
    def margin(self) -> float:
        """How many times farther the other order is."""
        near, far = sorted(self.distances.values())
        return far / max(near, 1e-12)

    def record(self) -> dict:
        """All of it as JSON values."""
        return {**self._asdict(), "order": self.order, "margin": self.margin}


def inputs_from_images(session: tf.Session, images: np.ndarray) -> Inputs:
    """Mean pooled map of each head.

    Args:
        session: of a graph with the network for inference; which reductions it holds makes no
            difference.
        images: float32 [N, height, width, 3], normalised, for its tensor `images`.
    """
    find = session.graph.get_operation_by_name
    pooled = [find(f"{head.reduction}/0/Conv2D").inputs[0] for head in HEADS]
    total = np.zeros((len(HEADS), pooled[0].shape[-1]))
    with Progress(len(images), "judging the order of heads", "images") as progress:
        for start in range(0, len(images), _BATCH):
            some = images[start : start + _BATCH]
            for i, maps in enumerate(session.run(pooled, {"images:0": some})):
                total[i] += maps.sum(axis=(0, 1, 2))
            progress.advance(len(some))
    return {head.name: mean for head, mean in zip(HEADS, total / len(images), strict=True)}


def judge(
    inputs: Inputs, state_dict: Mapping[str, np.ndarray], family: Family, basis: str
) -> Evidence:
    """Compare both orders.

    Args:
        inputs: what the heads are expected to have got in training.
        state_dict: of the file, whose reductions' order is in question.
        family: of the file; its `order` is not None.
        basis: what `inputs` come from, in words.
    """
    distances = {}
    for order in REDUCTION_ORDERS:
        squares = [_square(inputs, head, state_dict, family, order) for head in _MOVED]
        distances[order] = float(np.sqrt(np.mean(squares)))
    return Evidence(basis, distances)


def _square(
    inputs: Inputs, head: Head, state_dict: Mapping, family: Family, order: str
) -> np.floating:
    """Mean square, over channels, of how far a head's mean is from the remembered one."""
    leaves = ("0/weight", "1/running_mean", "1/running_var")
    keys = [family.key(f"{head.reduction}/{leaf}", order) for leaf in leaves]
    weight, mean, variance = (state_dict[key].astype(np.float64) for key in keys)
    expected = weight[:, :, 0, 0] @ inputs[head.name]
    return np.mean((expected - mean) ** 2 / (variance + _EPSILON))
