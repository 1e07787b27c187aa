"""When the triplet loss joins the softmax loss: once the classifier has learnt something."""

import math

import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.network.layers import replica_variable

_SHARE = 0.05  # of a step in the moving average: it looks back some 20 steps


class Onset:
    """The weight of the triplet loss: none before a step, and while the classifier only guesses.

    What is averaged is the cross-entropy over that of guessing, ln(identities). The least average
    so far decides: the triplet loss makes the cross-entropy rise again, and goes on nevertheless.
    Both numbers are variables, so that a checkpoint has them.
    """

    def __init__(self, config: TrainConfig, num_classes: int):
        """Make the variables, if the configuration asks for them."""
        self._config = config
        self._guessing = math.log(num_classes)
        if config.triplet_start_loss:
            ones = tf.ones_initializer()  # as a network that guesses
            self._average = replica_variable("triplet_onset/average", [], ones)
            self._least = replica_variable("triplet_onset/least", [], ones)
            self._least_before = self._least.read_value()

    def weight(self, step: tf.Tensor) -> tf.Tensor:
        """Of the triplet loss in step `step` (int64 [], from 0): float32 [], 0 before it joins."""
        joined = step >= self._config.triplet_start_step
        if self._config.triplet_start_loss:
            joined &= self._least_before < self._config.triplet_start_loss
        return self._config.triplet_weight * tf.cast(joined, tf.float32)

    def update(self, cross_entropy: tf.Tensor) -> None:
        """Let a step's cross-entropy (float32 [], of all replicas) decide about later steps."""
        if not self._config.triplet_start_loss:
            return
        before = self._average.read_value()
        change = _SHARE * (cross_entropy / self._guessing - before)
        least = tf.minimum(self._least_before, before + change)
        updates = [
            self._average.assign_add(change, read_value=False),
            self._least.assign_sub(self._least_before - least, read_value=False),
        ]
        for update in updates:
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
