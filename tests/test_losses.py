"""Losses against published code's values and gradients, and against plain loops."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import torch
from conftest import REFERENCE, relative

from mgn import losses


@pytest.mark.parametrize("case", ["a", "b"])
def test_triplet_value_and_gradient_are_mgn_pytorchs(case):
    stored = np.load(REFERENCE / "triplet.npz")
    features = tf.constant(stored[f"features_{case}"])
    loss = tf.reduce_mean(
        losses.batch_hard_triplet(
            features, tf.constant(stored[f"labels_{case}"]), float(stored[f"margin_{case}"])
        )
    )
    with tf.Session() as session:
        value, gradient = session.run([loss, tf.gradients(loss, features)[0]])
    difference = relative(gradient, stored[f"gradient_{case}"])
    print(
        f"triplet {case}: value {value / stored[f'loss_{case}'] - 1:.1e}, gradient {difference:.1e}"
    )
    assert value == pytest.approx(float(stored[f"loss_{case}"]), rel=1e-5)
    assert difference <= 1e-5


@pytest.mark.parametrize("margin", [1.2, 0.3, None])
def test_triplet_against_a_loop_over_anchors(margin):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 8)).astype(np.float32)
    labels = rng.permutation(np.repeat(np.arange(5), 4))
    expected = []
    for i in range(20):
        distance = [np.linalg.norm(features[i] - f) for f in features]
        positive = max(d for d, label in zip(distance, labels, strict=True) if label == labels[i])
        negative = min(d for d, label in zip(distance, labels, strict=True) if label != labels[i])
        difference = positive - negative
        expected.append(
            np.log1p(np.exp(difference)) if margin is None else max(difference + margin, 0)
        )
    with tf.Session() as session:
        got = session.run(
            losses.batch_hard_triplet(tf.constant(features), tf.constant(labels), margin)
        )
    assert got.shape == (20,) and got.dtype == np.float32
    assert got == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_triplet_by_eye():
    """On a line: person 0 at 0 and 1, person 1 at 3 and 7."""
    features, labels = tf.constant([[0.0], [1.0], [3.0], [7.0]]), tf.constant([0, 0, 1, 1])
    with tf.Session() as session:
        got = session.run(losses.batch_hard_triplet(features, labels, 0.5))
    assert got == pytest.approx(
        [0, 0, 4 - 2 + 0.5, 0], abs=1e-5
    )  # only the anchor at 3 is nearer to the other


def test_identical_features_have_a_finite_gradient():
    features = tf.zeros([4, 3])
    loss = tf.reduce_sum(losses.batch_hard_triplet(features, tf.constant([0, 0, 1, 1]), 1.2))
    with tf.Session() as session:
        assert np.isfinite(session.run(tf.gradients(loss, features)[0])).all()


@pytest.mark.parametrize(("margin", "active"), [(0.5, 0.25), (None, 0.25), (1.5, 0.5)])
def test_mining_by_eye(margin, active):
    """The line of `test_triplet_by_eye`: hardest positives 1, 1, 4, 4; hardest negatives 3, 2, 2,
    6."""
    features, labels = tf.constant([[0.0], [1.0], [3.0], [7.0]]), tf.constant([0, 0, 1, 1])
    found = losses.total_loss([features], [tf.zeros([4, 2])], labels, margin, 2.0, 0.0, 3.0)
    with tf.Session() as session:
        got = session.run(found)
    assert got.mining.hardest_positive == pytest.approx(2.5) and got.mining.active == active
    assert got.mining.hardest_negative == pytest.approx(3.25)
    assert got.cross_entropy == pytest.approx(np.log(2)) and got.objective == got.total
    assert got.total == pytest.approx(3 * np.log(2) + 2 * got.triplet)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_against_the_definition(smoothing):
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    target = np.full((6, 5), smoothing / 5)
    target[np.arange(6), labels] += 1 - smoothing
    log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    with tf.Session() as session:
        got = session.run(
            losses.softmax_cross_entropy(tf.constant(logits), tf.constant(labels), smoothing)
        )
    assert got == pytest.approx(-(target * log_probability).sum(axis=1), rel=1e-9)


def test_training_computes_its_triplet_loss_through_the_function_that_is_tested(monkeypatch):
    """With another function in its place, the loss and its total are that function's."""
    monkeypatch.setattr(losses, "batch_hard_triplet", lambda features, *_: 0.0 * features[:, 0] + 7)
    features, labels = tf.constant([[0.0], [1.0], [3.0], [7.0]]), tf.constant([0, 0, 1, 1])
    found = losses.total_loss([features], [tf.zeros([4, 2])], labels, 0.5, 2.0)
    with tf.Session() as session:
        triplet, total = session.run([found.triplet, found.total])
    assert triplet == 7 and total == pytest.approx(14 + np.log(2))


def test_circle_softmax_is_the_papers():
    """Against loops over images and classes, and its gradient against PyTorch's autograd."""
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, (6, 5)).astype(np.float32)
    labels = np.array([0, 4, 2, 2, 1, 0])
    scale, margin = 64.0, 0.35

    # Equations 6 and 8 of arXiv:2002.10857 with one proxy a class; weights have no gradient.
    own = torch.tensor(np.arange(5)[None] == labels[:, None])
    given = torch.tensor(cosines, requires_grad=True)
    held = given.detach()
    expected = torch.empty(6, 5)
    for image in range(6):
        for label in range(5):
            similarity, weighted = given[image, label], held[image, label]
            if own[image, label]:
                value = max(1 + margin - weighted, 0) * (similarity - (1 - margin))
            else:
                value = max(weighted + margin, 0) * (similarity - margin)
            expected[image, label] = scale * value
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()

    fed = tf.constant(cosines)
    made = losses.circle_logits(fed, tf.constant(labels), scale, margin)
    loss = tf.reduce_mean(losses.softmax_cross_entropy(made, tf.constant(labels)))
    with tf.Session() as session:
        got, gradient = session.run([made, tf.gradients(loss, fed)[0]])
    assert relative(got, expected.detach().numpy()) <= 1e-6
    assert relative(gradient, given.grad.numpy()) <= 1e-5
