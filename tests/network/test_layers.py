"""Norms and pooling against PyTorch's, values and gradients."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import torch
from conftest import relative

from mgn.conversion import torch_mgn
from mgn.network import layers

IMAGES = np.random.default_rng(0).uniform(-1, 3, (3, 6, 4, 8)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(3, 6, 4, 8)).astype(np.float32)  # of the loss


def ours(make, values):
    """Output and gradients, {name: array}, of the weighted sum of `make(x)`; x is NHWC."""
    x = tf.constant(IMAGES)
    made = make(x)
    weights = WEIGHTS[:, : made.shape[1], : made.shape[2]]
    variables = {v.op.name: v for v in tf.trainable_variables()}
    loss = tf.reduce_sum(made * weights)
    wanted = {"": made, "x": tf.gradients(loss, x)[0]}
    wanted |= {name: tf.gradients(loss, v)[0] for name, v in variables.items()}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for name, value in values.items():
            variables[name].load(value, session)
        return session.run(wanted)


def theirs(module, values):
    """The same of a module of PyTorch's; its keys with / for the dots."""
    x = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).requires_grad_()
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(torch.from_numpy(value))
    made = module(x)
    weights = torch.from_numpy(WEIGHTS.transpose(0, 3, 1, 2))[..., : made.shape[2], : made.shape[3]]
    (made * weights).sum().backward()
    found = {"": made, "x": x.grad}
    found = {name: value.detach().numpy().transpose(0, 2, 3, 1) for name, value in found.items()}
    return found | {name: p.grad.numpy() for name, p in parameters.items()}


@pytest.mark.parametrize("power", [1.0, 2.4, 3.0, 6.5])
def test_gem_and_its_gradients_are_pytorchs(power):
    p = np.float32([power])
    expected = theirs(torch_mgn.GeM(), {"p": p})
    got = ours(layers.gem, {"gem/p": p})
    for name, value in expected.items():
        found = relative(got["gem/p" if name == "p" else name], value)
        assert found <= (1e-4 if name == "p" else 1e-5), (name, found)  # p: a difference of sums


def test_gem_is_the_mean_at_1_and_nearly_the_maximum_at_60():
    x = tf.constant(np.abs(IMAGES))
    pooled = layers.gem(x)
    (p,) = tf.trainable_variables()
    with tf.Session() as session:
        session.run(p.initializer)
        assert session.run(p) == 3
        for power, expected in ((1, np.mean), (60, np.max)):
            p.load([power], session)
            wanted = expected(np.abs(IMAGES), axis=(1, 2), keepdims=True)
            assert relative(session.run(pooled), wanted) < (1e-5 if power == 1 else 0.06)


def test_ibn_and_its_gradients_are_pytorchs():
    rng = np.random.default_rng(2)
    names = ("IN.weight", "IN.bias", "BN.weight", "BN.bias")
    values = {name: rng.normal(size=4).astype(np.float32) for name in names}
    expected = theirs(torch_mgn.HalfInstanceNorm(8).train(), values)
    given = {f"bn1/{name.replace('.', '/')}": value for name, value in values.items()}
    got = ours(lambda x: layers.instance_batch_norm(x, "bn1", training=True), given)
    for name, value in expected.items():
        ours_is = f"bn1/{name.replace('.', '/')}" if "." in name else name
        found = relative(got[ours_is], value)
        assert found <= 1e-5, (name, found)


def test_cosines_and_their_gradients_are_pytorchs():
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(5, 8)).astype(np.float32)
    features, wanted = rng.normal(size=(2, 7, 8)).astype(np.float32)
    module = torch_mgn.Cosine(8, 5)
    module.weight.data = torch.from_numpy(weight)
    made = module(torch.from_numpy(features))
    (made * torch.from_numpy(wanted[:, :5])).sum().backward()
    ours_made = layers.cosine(tf.constant(features), "fc", 5)
    (variable,) = tf.trainable_variables()
    loss = tf.reduce_sum(ours_made * wanted[:, :5])
    with tf.Session() as session:
        session.run(variable.initializer, {variable.initializer.inputs[1]: weight.T})
        got, gradient = session.run([ours_made, tf.gradients(loss, variable)[0]])
    assert relative(got, made.detach().numpy()) <= 1e-6
    assert relative(gradient, module.weight.grad.numpy().T) <= 1e-5


def test_instance_norm_by_hand_is_the_same_in_training_and_testing():
    """Biased variance over a channel of an image: 0, 2 of one, 5, 5 of the other."""
    x = tf.constant(np.float32([[[[0.0], [2.0]]], [[[5.0], [5.0]]]]))
    made = layers.instance_norm(x, "IN")
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got = session.run(made).ravel()
    assert got == pytest.approx([-1, 1, 0, 0], abs=1e-5)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_norms_of_smaller_types_are_computed_in_float32(dtype):
    """300 squared is more than float16 holds, 4096 places are more than bfloat16 counts."""
    x = tf.cast(tf.constant(np.float32([[[[-300.0], [300.0]] * 32] * 64])), dtype)
    made = layers.instance_norm(x, "IN")
    assert made.dtype == dtype
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got = session.run(tf.cast(made, tf.float32))
    assert np.unique(got).tolist() == [-1, 1]
