"""Batch-hard triplet loss, softmax cross-entropy, and how they add up."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.network import replicas

_TINY = 1e-12  # squared distance below which the square root has no usable gradient


class Mining(NamedTuple):
    """What the hardest of a batch look like; float32 scalars, means over anchors and heads."""

    active: tf.Tensor  # share of anchors with a loss above 0; soft margin: with the negative nearer
    hardest_positive: tf.Tensor  # embedding distance
    hardest_negative: tf.Tensor


class Losses(NamedTuple):
    """Float32 scalars, over the images of all replicas; with one replica `objective` is `total`."""

    cross_entropy: tf.Tensor  # mean over the heads
    triplet: tf.Tensor  # mean over the heads that have one, unweighted
    total: tf.Tensor
    objective: (
        tf.Tensor
    )  # what a replica differentiates: the gradients of all add up to that of `total`
    mining: Mining


def pairwise_distances(features: tf.Tensor) -> tf.Tensor:
    """Euclidean distances between all rows: float32 [B, D] to [B, B]."""
    squares = tf.reduce_sum(tf.square(features), axis=1, keepdims=True)
    products = tf.matmul(features, features, transpose_b=True)
    squared = squares + tf.transpose(squares) - 2.0 * products
    # The root's gradient is infinite at 0, as on the diagonal; clipping makes it 0 there.
    return tf.sqrt(tf.maximum(squared, _TINY))


def batch_hard_triplet(features: tf.Tensor, labels: tf.Tensor, margin: float | None) -> tf.Tensor:
    """Batch-hard triplet loss (arXiv:1703.07737), one value per anchor.

    Args:
        features: float32 [B, D], any scale.
        labels: integer [B]; at least two identities, each at least twice.
        margin: in units of distance; None: the soft margin, softplus.

    Returns:
        float32 [B], >= 0: distance to the hardest positive minus that to the hardest negative, plus
        margin.
    """
    positive, negative = hardest(features, labels)
    difference = positive - negative
    return tf.nn.softplus(difference) if margin is None else tf.nn.relu(difference + margin)


def hardest(features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Distances float32 [B] of each anchor to its hardest positive, and to its hardest negative."""
    distances = pairwise_distances(features)
    same = tf.equal(labels[:, None], labels[None, :])
    positive = tf.reduce_max(tf.where(same, distances, tf.zeros_like(distances)), axis=1)
    far = tf.fill(tf.shape(distances), distances.dtype.max)
    return positive, tf.reduce_min(tf.where(same, far, distances), axis=1)


def softmax_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, smoothing: float = 0.0
) -> tf.Tensor:
    """Softmax loss, one value per image.

    Args:
        logits: float32 [B, C].
        labels: integer [B], 0 to C-1.
        smoothing: the share of each target that is spread over all classes (arXiv:1512.00567).

    Returns:
        float32 [B].
    """
    log_probability = tf.nn.log_softmax(logits)
    own = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if not smoothing:
        return own
    return (1.0 - smoothing) * own - smoothing * tf.reduce_mean(log_probability, axis=1)


def circle_logits(cosines: tf.Tensor, labels: tf.Tensor, scale: float, margin: float) -> tf.Tensor:
    """Logits of circle softmax (arXiv:2002.10857, with one proxy a class), to be cross-entropy's.

    How far a cosine is from its optimum weights it, without a gradient of the weight.

    Args:
        cosines: float32 [B, C].
        labels: integer [B], 0 to C-1.
        scale: of the logits.
        margin: how near to 1 and to -1 cosines are to come, 0 to 1.

    Returns:
        float32 [B, C].
    """
    held = tf.stop_gradient(cosines)
    own = tf.nn.relu(1.0 + margin - held) * (cosines - (1.0 - margin))
    other = tf.nn.relu(held + margin) * (cosines - margin)
    is_own = tf.equal(labels[:, None], tf.range(cosines.shape[1], dtype=labels.dtype)[None])
    return scale * tf.where(is_own, own, other)


def total_loss(
    triplet_features: Sequence[tf.Tensor],
    logits: Sequence[tf.Tensor],
    labels: tf.Tensor,
    margin: float | None,
    triplet_weight: tf.Tensor | float,
    label_smoothing: float = 0.0,
    cross_entropy_weight: float = 1.0,
    most_images: int | None = None,
) -> Losses:
    """Weighted sum of the mean softmax loss of all heads and the mean triplet loss of whole maps.

    Triplets are mined over the images of all replicas: each computes the same loss from all
    features. `most_images` is for `replicas.gather`.
    """
    everybody = replicas.gather(labels, most_images)
    # Softmax: each replica's share of the mean over all images and heads, then their sum.
    images = tf.cast(tf.size(everybody), tf.float32)
    sums = [tf.reduce_sum(softmax_cross_entropy(x, labels, label_smoothing)) for x in logits]
    own_cross_entropy = tf.add_n(sums) / images / len(logits)
    (cross_entropy,) = replicas.sums([own_cross_entropy])
    # Triplet: each head by itself, then the mean over anchors and heads.
    gathered = [replicas.gather(features, most_images) for features in triplet_features]
    triplets = [batch_hard_triplet(features, everybody, margin) for features in gathered]
    triplet = tf.reduce_mean(tf.stack(triplets))
    # Their weighted sum; a replica differentiates its own share of the softmax loss.
    weighted = triplet_weight * triplet
    total = cross_entropy_weight * cross_entropy + weighted
    objective = cross_entropy_weight * own_cross_entropy + weighted
    return Losses(cross_entropy, triplet, total, objective, _mining(gathered, everybody, margin))


def _mining(
    triplet_features: Sequence[tf.Tensor], labels: tf.Tensor, margin: float | None
) -> Mining:
    pairs = [hardest(features, labels) for features in triplet_features]
    positives = tf.stack([positive for positive, _ in pairs])  # [heads, B]
    negatives = tf.stack([negative for _, negative in pairs])
    active = tf.cast(positives - negatives + (margin or 0.0) > 0, tf.float32)
    return Mining(*(tf.reduce_mean(x) for x in (active, positives, negatives)))
