"""Learning rate as a function of the step, and the train graph."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data.sampling import steps_per_epoch
from mgn.losses import Mining, circle_logits, total_loss
from mgn.network import mgn, replicas
from mgn.network.architecture import PARTS, TRIPLET_HEADS
from mgn.network.layers import moving_average
from mgn.training import phases
from mgn.training.onset import Onset
from mgn.training.optimizers import apply, make_optimizer
from mgn.weights.variables import model_variables


class TrainOps(NamedTuple):
    """Scalars of one step (float32, `global_step` int64), and the operation that takes it."""

    cross_entropy: tf.Tensor
    triplet: tf.Tensor
    total: tf.Tensor
    grad_norm: tf.Tensor
    learning_rate: tf.Tensor
    global_step: tf.Variable
    train_op: tf.Operation
    mining: Mining
    loss_scale: tf.Tensor  # 1 but for float16
    triplet_weight: tf.Tensor  # 0 before the triplet loss joins


def learning_rate_at(step: tf.Tensor, config: TrainConfig, per_epoch: int) -> tf.Tensor:
    """Learning rate of step `step` (int64 [], from 0): linear warm-up, then the schedule."""
    now = tf.cast(step, tf.float32)
    if config.schedule == "cosine":
        rate = _cosine(now / per_epoch, config)
    else:
        passed = [
            tf.cast(step >= milestone * per_epoch, tf.float32) for milestone in config.milestones
        ]
        rate = config.learning_rate * tf.pow(config.gamma, tf.add_n([tf.constant(0.0), *passed]))
    if not config.warmup_steps:
        return rate
    warmed = tf.minimum(1.0, (now + 1.0) / config.warmup_steps)
    return rate * (config.warmup_factor + (1.0 - config.warmup_factor) * warmed)


def _cosine(epoch: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Full rate up to `cosine_start`, then half a cosine to the final rate (arXiv:1608.03983)."""
    falling = (epoch - config.cosine_start) / (config.epochs - config.cosine_start)
    share = (1.0 + tf.cos(math.pi * tf.clip_by_value(falling, 0.0, 1.0))) / 2.0
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * share


def build_train_graph(
    config: TrainConfig,
    images: tf.Tensor,
    labels: tf.Tensor,
    num_classes: int,
    frozen: Sequence[str] = (),
) -> TrainOps:
    """Network, losses, gradients and updates in the current graph, of one replica or the only one.

    Args:
        config: hyper-parameters.
        images: float32 [B, height, width, 3], normalised RGB; K images of each of P identities.
        labels: integer [B], 0 to num_classes - 1.
        num_classes: identities in training; with P it gives the steps of an epoch.
        frozen: bodies of the network that stand still, as in `mgn`.

    Returns:
        the step's figures, over the images of all replicas; `train_op` applies the gradients
        (with L2, as PyTorch's optimisers), the batch-norm updates and the moving average. `total`
        and `grad_norm` are without L2.
    """
    names = "zero_init_residual", "kernel_init", "precision", "sync_batch_norm", "winograd"
    options = {name: getattr(config, name) for name in names}
    options["zero_init_residual"] &= num_classes >= config.zero_init_identities
    variant = config.network_options(num_classes).architecture()
    outputs = mgn(images, num_classes, True, frozen=frozen, **options, **variant)
    step = tf.train.get_or_create_global_step()
    onset = Onset(config, num_classes)
    triplet_weight = onset.weight(step)
    triplet_features = list(outputs.features[:TRIPLET_HEADS])
    for heads in PARTS if config.part_triplets else ():
        triplet_features.append(tf.concat([outputs.features[i] for i in heads], axis=1))
    logits = outputs.logits
    if config.classifier == "cosine":
        circle = config.circle_scale, config.circle_margin
        logits = [circle_logits(cosines, labels, *circle) for cosines in logits]
    losses = total_loss(
        triplet_features,
        logits,
        labels,
        config.margin,
        triplet_weight,
        config.label_smoothing,
        config.cross_entropy_weight,
        most_images=(config.batch_ids + 1) * config.batch_images,  # one left over joins a batch
    )
    onset.update(losses.cross_entropy)
    variables, standing = phases.divide(tf.trainable_variables(), frozen)
    scaling = tf.mixed_precision.DynamicLossScale() if config.precision == "float16" else None
    scale = scaling() if scaling else tf.constant(1.0)
    own = tf.gradients(losses.objective * scale, variables)
    gradients = [gradient / scale if scaling else gradient for gradient in replicas.sums(own)]
    norm = tf.global_norm(gradients)
    rate = learning_rate_at(step, config, steps_per_epoch(num_classes, config.batch_ids))
    optimizer = make_optimizer(config, rate, step)
    decay = tf.constant(config.weight_decay, tf.float32)
    decayed = [g + decay * v for g, v in zip(gradients, variables, strict=True)]
    figures = [*losses[:3], norm, rate]
    # The figures are read before the updates, so that a step reports the state it started from.
    before = [
        *figures,
        *losses.mining,
        scale,
        triplet_weight,
        *tf.get_collection(tf.GraphKeys.UPDATE_OPS),
    ]
    # As one, or each operation below would wait for every one of these: 700,000 edges.
    with tf.control_dependencies([tf.group(*before)]):
        moved = apply(optimizer, decayed, variables, step, scaling, standing)
        train_op = averaged(moved, config, step)
    return TrainOps(*figures, step, train_op, losses.mining, scale, triplet_weight)


def averaged(train_op: tf.Operation, config: TrainConfig, step: tf.Variable) -> tf.Operation:
    """A step, and the network's moving average, which starts as the weights after the first."""
    if not config.average_decay:
        return train_op
    with tf.control_dependencies([train_op]):
        # Short at first, or it would remember the start for long.
        steps = tf.cast(step.read_value(), tf.float32) - 1.0
        share = 1.0 - tf.minimum(config.average_decay, steps / (steps + 10.0))
        return tf.group(*[moving_average(v, share) for v in model_variables()])
