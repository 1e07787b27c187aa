"""Optimisers that move as PyTorch's do; L2 belongs to the gradient there, and is added by the caller."""

import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


def make_optimizer(config: TrainConfig, learning_rate: tf.Tensor, step: tf.Tensor) -> tf.train.Optimizer:
    """The optimiser of a configuration; `step` is the number of updates so far, int64 []."""
    if config.optimizer == "sgd":
        return tf.train.MomentumOptimizer(learning_rate, config.momentum, use_nesterov=config.nesterov)
    return TorchAdam(learning_rate, step, amsgrad=config.optimizer == "amsgrad")


class TorchAdam(tf.train.Optimizer):
    """Adam (arXiv:1412.6980) with PyTorch's epsilon, and AMSGrad (arXiv:1904.09237).

    `tf.train.AdamOptimizer` adds epsilon before the second moment's bias correction, PyTorch after it: with
    epsilon * sqrt(1 - beta2^t) TensorFlow's fused kernels compute PyTorch's step.
    """

    def __init__(self, learning_rate: tf.Tensor, step: tf.Tensor, amsgrad: bool):
        super().__init__(use_locking=False, name="AMSGrad" if amsgrad else "Adam")
        updates = tf.cast(step, tf.float32) + 1.0
        beta1_power, beta2_power = tf.pow(_BETA1, updates), tf.pow(_BETA2, updates)
        self._amsgrad = amsgrad
        self._arguments = {
            "beta1_power": beta1_power,
            "beta2_power": beta2_power,
            "lr": learning_rate,
            "beta1": _BETA1,
            "beta2": _BETA2,
            "epsilon": _EPSILON * tf.sqrt(1.0 - beta2_power),
        }

    def _create_slots(self, var_list):
        for variable in var_list:
            for slot in ("m", "v", "vhat") if self._amsgrad else ("m", "v"):
                self._zeros_slot(variable, slot, self._name)

    def _resource_apply_dense(self, grad, handle):
        m, v = self.get_slot(handle, "m"), self.get_slot(handle, "v")
        arguments = {"var": handle.handle, "m": m.handle, "v": v.handle, "grad": grad, **self._arguments}
        if self._amsgrad:
            vhat = self.get_slot(handle, "vhat").handle
            return tf.raw_ops.ResourceApplyAdamWithAmsgrad(vhat=vhat, **arguments)
        return tf.raw_ops.ResourceApplyAdam(**arguments)
