"""Batch-hard triplet loss, softmax cross-entropy, and how they add up."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow.compat.v1 as tf

_TINY = 1e-12  # squared distance below which the square root has no usable gradient


class Losses(NamedTuple):
    """Scalars, float32."""

    cross_entropy: tf.Tensor  # mean over the heads
    triplet: tf.Tensor  # mean over the heads that have one, unweighted
    total: tf.Tensor


def pairwise_distances(features: tf.Tensor) -> tf.Tensor:
    """Euclidean distances between all rows: float32 [B, D] to [B, B]."""
    squares = tf.reduce_sum(tf.square(features), axis=1, keepdims=True)
    squared = squares + tf.transpose(squares) - 2.0 * tf.matmul(features, features, transpose_b=True)
    # The root's gradient is infinite at 0, where the diagonal lies; clipping gives it gradient 0 there.
    return tf.sqrt(tf.maximum(squared, _TINY))


def batch_hard_triplet(features: tf.Tensor, labels: tf.Tensor, margin: float | None) -> tf.Tensor:
    """Batch-hard triplet loss (arXiv:1703.07737), one value per anchor.

    Args:
        features: float32 [B, D], any scale.
        labels: integer [B]; at least two people, each at least twice.
        margin: in units of distance; None: the soft margin, softplus.

    Returns:
        float32 [B], >= 0: distance to the hardest positive minus that to the hardest negative, plus margin.
    """
    distances = pairwise_distances(features)
    same = tf.equal(labels[:, None], labels[None, :])
    hardest_positive = tf.reduce_max(tf.where(same, distances, tf.zeros_like(distances)), axis=1)
    far = tf.fill(tf.shape(distances), distances.dtype.max)
    hardest_negative = tf.reduce_min(tf.where(same, far, distances), axis=1)
    difference = hardest_positive - hardest_negative
    return tf.nn.softplus(difference) if margin is None else tf.nn.relu(difference + margin)


def softmax_cross_entropy(logits: tf.Tensor, labels: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Softmax loss, one value per picture.

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


def total_loss(
    triplet_features: Sequence[tf.Tensor],
    logits: Sequence[tf.Tensor],
    labels: tf.Tensor,
    margin: float | None,
    triplet_weight: tf.Tensor | float,
    label_smoothing: float = 0.0,
) -> Losses:
    """Mean softmax loss of all heads plus `triplet_weight` times the mean triplet loss of whole-map heads."""
    cross_entropies = [tf.reduce_mean(softmax_cross_entropy(x, labels, label_smoothing)) for x in logits]
    triplets = [tf.reduce_mean(batch_hard_triplet(x, labels, margin)) for x in triplet_features]
    cross_entropy, triplet = tf.add_n(cross_entropies) / len(logits), tf.add_n(triplets) / len(triplets)
    return Losses(cross_entropy, triplet, cross_entropy + triplet_weight * triplet)
