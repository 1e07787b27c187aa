"""Learning rate as a function of the step, and the train graph."""

from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data import steps_per_epoch
from mgn.losses import total_loss
from mgn.network import TRIPLET_HEADS, mgn
from mgn.optimizers import make_optimizer


class TrainOps(NamedTuple):
    """Scalars of one step (float32, `global_step` int64), and the operation that takes it."""

    cross_entropy: tf.Tensor
    triplet: tf.Tensor
    total: tf.Tensor
    grad_norm: tf.Tensor
    learning_rate: tf.Tensor
    global_step: tf.Variable
    train_op: tf.Operation


def learning_rate_at(step: tf.Tensor, config: TrainConfig, per_epoch: int) -> tf.Tensor:
    """Learning rate of step `step` (int64 [], from 0): linear warm-up, then a factor at each milestone."""
    passed = [tf.cast(step >= milestone * per_epoch, tf.float32) for milestone in config.milestones]
    rate = config.learning_rate * tf.pow(config.gamma, tf.add_n([tf.constant(0.0), *passed]))
    if not config.warmup_steps:
        return rate
    return rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1.0) / config.warmup_steps)


def build_train_graph(
    config: TrainConfig, images: tf.Tensor, labels: tf.Tensor, num_classes: int
) -> TrainOps:
    """Network, losses, gradients and updates in the current graph.

    Args:
        config: hyper-parameters.
        images: float32 [B, height, width, 3], normalised RGB; K pictures of each of P people.
        labels: integer [B], 0 to num_classes - 1.
        num_classes: people in training; with P it gives the steps of an epoch.

    Returns:
        the step's figures; `train_op` applies the gradients (with L2, as PyTorch's optimisers) and the
        batch-norm updates. `total` and `grad_norm` are without L2.
    """
    outputs = mgn(images, num_classes, True, config.pool, config.reduction, config.zero_init_residual)
    step = tf.train.get_or_create_global_step()
    triplet_weight = config.triplet_weight * tf.cast(step >= config.triplet_start_step, tf.float32)
    features = outputs.features[:TRIPLET_HEADS]
    losses = total_loss(
        features, outputs.logits, labels, config.margin, triplet_weight, config.label_smoothing
    )
    variables = tf.trainable_variables()
    gradients = tf.gradients(losses.total, variables)
    norm = tf.global_norm(gradients)
    rate = learning_rate_at(step, config, steps_per_epoch(num_classes, config.batch_ids))
    optimizer = make_optimizer(config, rate, step)
    decayed = [g + config.weight_decay * v for g, v in zip(gradients, variables, strict=True)]
    # The figures are read before the updates, so that a step reports the state it started from.
    with tf.control_dependencies([*losses, norm, rate, *tf.get_collection(tf.GraphKeys.UPDATE_OPS)]):
        train_op = optimizer.apply_gradients(zip(decayed, variables, strict=True), global_step=step)
    return TrainOps(*losses, norm, rate, step, train_op)


def planned_steps(config: TrainConfig, num_classes: int) -> int:
    """Steps of the whole run: the epochs, or `max_steps` if that is less."""
    steps = config.epochs * steps_per_epoch(num_classes, config.batch_ids)
    return min(steps, config.max_steps or steps)
