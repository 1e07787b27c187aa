"""Optimisers that move as PyTorch's do; the caller adds L2 to the gradient, as there."""

from collections.abc import Collection, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.training.phases import body_of

_BETA1, _BETA2 = np.float32(0.9), np.float32(0.999)  # as the kernels see them
_EPSILON = 1e-8


def make_optimizer(
    config: TrainConfig, learning_rate: tf.Tensor, step: tf.Tensor
) -> tf.train.Optimizer:
    """The optimiser of a configuration; `step` is the number of updates so far, int64 []."""
    if config.optimizer == "sgd":
        nesterov = config.nesterov
        return tf.train.MomentumOptimizer(learning_rate, config.momentum, use_nesterov=nesterov)
    moments = Moments(learning_rate, step)
    later = Moments(learning_rate, step - config.freeze_steps) if config.freeze_steps else moments
    thawed = config.freeze_layers if config.freeze_steps else ()
    return TorchAdam(moments, config.optimizer == "amsgrad", later, thawed)


def apply(
    optimizer: tf.train.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    step: tf.Variable,
    loss_scale: tf.mixed_precision.DynamicLossScale | None = None,
    standing: Sequence[tf.Variable] = (),
) -> tf.Operation:
    """Update the variables, and count the step.

    `Optimizer.apply_gradients` would sum the gradients over the replicas, which their norm needed
    before.

    Args:
        optimizer: of `make_optimizer`.
        gradients: one for each variable, already summed over the replicas.
        variables: what moves.
        step: global step.
        loss_scale: with one, gradients that are not finite change nothing but this scale, which
            they halve.
        standing: variables that later steps move. Their moments are there, and zero.
    """

    def merge(strategy, per_replica):
        optimizer._create_slots([*variables, *standing])
        optimizer._prepare()

        def update() -> tf.Operation:
            pairs = zip(variables, per_replica, strict=True)
            updates = [
                strategy.extended.update(
                    v, lambda v, g: optimizer._resource_apply_dense(g, v), args=(g,)
                )
                for v, g in pairs
            ]
            return strategy.group(updates)

        if loss_scale is None:
            updated = [update()]
        else:
            rescaled, finite = loss_scale.update(per_replica)
            updated = [tf.cond(finite, update, tf.no_op), rescaled]
        with tf.control_dependencies(updated):
            return strategy.extended.update(step, lambda s: s.assign_add(1, read_value=False))

    return tf.distribute.get_replica_context().merge_call(merge, args=(list(gradients),))


class Moments:
    """Adam's arguments after `step` updates (int64 []), which all variables share."""

    def __init__(self, learning_rate: tf.Tensor, step: tf.Tensor):
        # Bias correction in float64: 1 - 0.999^t is small, and float32 would lose its digits.
        updates = tf.cast(step, tf.float64) + 1.0
        correction1 = 1.0 - tf.pow(tf.constant(np.float64(_BETA1)), updates)
        correction2 = 1.0 - tf.pow(tf.constant(np.float64(_BETA2)), updates)
        # Powers of 0 leave the kernels' own correction idle.
        self.arguments = {
            "beta1_power": tf.constant(0.0),
            "beta2_power": tf.constant(0.0),
            "lr": learning_rate * tf.cast(tf.sqrt(correction2) / correction1, tf.float32),
            "beta1": tf.constant(_BETA1),
            "beta2": tf.constant(_BETA2),
            "epsilon": tf.cast(_EPSILON * tf.sqrt(correction2), tf.float32),
        }


class TorchAdam(tf.train.Optimizer):
    """Adam (arXiv:1412.6980) with PyTorch's epsilon, and AMSGrad (arXiv:1904.09237).

    `tf.train.AdamOptimizer` adds epsilon before the second moment's bias correction, PyTorch after
    it: with epsilon * sqrt(1 - beta2^t) TensorFlow's fused kernels compute PyTorch's step.
    """

    def __init__(
        self, moments: Moments, amsgrad: bool, later: Moments, thawed: Collection[str] = ()
    ):
        """Move variables of the `thawed` bodies, which took fewer steps, by `later`."""
        super().__init__(use_locking=False, name="AMSGrad" if amsgrad else "Adam")
        self._amsgrad = amsgrad
        self._moments = moments
        self._later = later
        self._thawed = thawed

    def _create_slots(self, var_list):
        for variable in var_list:
            for slot in ("m", "v", "vhat") if self._amsgrad else ("m", "v"):
                self._zeros_slot(variable, slot, self._name)

    def _resource_apply_dense(self, grad, handle):
        names = ("m", "v", "vhat") if self._amsgrad else ("m", "v")
        slots = {name: self.get_slot(handle, name).handle for name in names}
        moments = self._later if body_of(handle) in self._thawed else self._moments
        raw = tf.raw_ops
        kernel = raw.ResourceApplyAdamWithAmsgrad if self._amsgrad else raw.ResourceApplyAdam
        return kernel(var=handle.handle, grad=grad, **slots, **moments.arguments)
