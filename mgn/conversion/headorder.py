"""Which numbering a file's reductions have, judged by what each was trained on.

MGN-pytorch counts the whole maps first (2 is the whole of p3, 3 and 4 are the stripes of p2), the
reproduced repository branch by branch (2 and 3 are the stripes of p2, 4 is the whole of p3). All
have one shape, so a wrong order loads without an error. But each reduction's batch norm remembers
the mean of what its convolution made of the pooled map in training: the head whose pooled map gives
that mean is the right one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from scipy.stats import norm

from mgn.config.options import REDUCTION_ORDERS
from mgn.network import BRANCHES, HEADS
from mgn.system.progress import Progress
from mgn.weights.families import Family

_CLEAR = 1.3  # how many times nearer one order must be, to be taken for the right one
_NEAR = 0.4  # and how near at least; images unlike those of the training are far from both orders
_EPSILON = 1e-5  # batch norm's
_BATCH = 16  # images a forward
Inputs = dict[str, np.ndarray]  # {head's name: mean of its pooled map, [2048]}
_MOVED = {
    head.name for head in HEADS if head.reduction in ("reduction_2", "reduction_3", "reduction_4")
}


class Evidence(NamedTuple):
    """Distances of the heads' means from what batch norm remembers, in its standard deviations."""

    basis: str  # what the expected inputs of the heads come from
    distances: dict[
        str, float
    ]  # {order: root mean square over the heads that the orders differ in}

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
    pooled = [
        session.graph.get_operation_by_name(f"{h.reduction}/0/Conv2D").inputs[0] for h in HEADS
    ]
    total = np.zeros((len(HEADS), pooled[0].shape[-1]))
    with Progress(len(images), "judging the order of heads", "images") as progress:
        for start in range(0, len(images), _BATCH):
            some = images[start : start + _BATCH]
            for i, maps in enumerate(session.run(pooled, {"images:0": some})):
                total[i] += maps.sum(axis=(0, 1, 2))
            progress.advance(len(some))
    return {head.name: mean for head, mean in zip(HEADS, total / len(images), strict=True)}


def inputs_from_statistics(state_dict: Mapping[str, np.ndarray], family: Family) -> Inputs:
    """The same without an image, from the batch norms of each branch's layer4; for average pooling only.

    A batch norm's output has its bias for a mean and its weight for a standard deviation; sums of
    these are taken to be normally distributed, and a stripe to be like its whole map.
    """
    means = {}
    for branch in BRANCHES:
        layer = f"{branch.name}/layer4"
        mean, variance = _moments(state_dict, family, f"{layer}/0/downsample/1")
        for block in range(3):
            added = _moments(state_dict, family, f"{layer}/{block}/bn3")
            mean, variance = _rectified(mean + added[0], variance + added[1])
        means[branch.name] = mean
    return {head.name: means[head.branch] for head in HEADS}


def _moments(state_dict: Mapping, family: Family, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of what a batch norm puts out."""
    weight, bias = (state_dict[family.key_of(f"{name}/{leaf}")] for leaf in ("weight", "bias"))
    return bias.astype(np.float64), np.square(weight, dtype=np.float64)


def _rectified(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the positive part of normally distributed numbers."""
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    positive, density = norm.cdf(mean / deviation), norm.pdf(mean / deviation)
    first = mean * positive + deviation * density
    second = (mean**2 + deviation**2) * positive + mean * deviation * density
    return first, np.maximum(second - first**2, 0)


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
    moved = [head for head in HEADS if head.name in _MOVED]
    distances = {}
    for order in REDUCTION_ORDERS:
        remembered = [_remembered(state_dict, family, head.reduction, order) for head in moved]
        distances[order] = _distance([inputs[head.name] for head in moved], remembered)
    return Evidence(basis, distances)


def _remembered(
    state_dict: Mapping, family: Family, reduction: str, order: str
) -> list[np.ndarray]:
    leaves = ("0/weight", "1/running_mean", "1/running_var")
    return [
        state_dict[family.key(f"{reduction}/{leaf}", order)].astype(np.float64) for leaf in leaves
    ]


def _distance(inputs: Sequence[np.ndarray], remembered: Sequence[Sequence[np.ndarray]]) -> float:
    squares = [
        np.mean((weight[:, :, 0, 0] @ given - mean) ** 2 / (variance + _EPSILON))
        for given, (weight, mean, variance) in zip(inputs, remembered, strict=True)
    ]
    return float(np.sqrt(np.mean(squares)))
