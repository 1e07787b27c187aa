"""When the triplet loss joins: against a loop in Python, and what a checkpoint keeps of it."""

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.training.onset import Onset

CLASSES = 40


def weights_over(losses, **options):
    """The triplet's weight in each step, with these cross-entropies."""
    config = TrainConfig(triplet_weight=2.0, **options)
    step, loss = tf.placeholder(tf.int64, []), tf.placeholder(tf.float32, [])
    onset = Onset(config, CLASSES)
    weight = onset.weight(step)
    onset.update(loss)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies([weight]):
        train_op = tf.group(*updates)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        weights = []
        for i, value in enumerate(losses):
            weights.append(session.run([weight, train_op], {step: i, loss: value})[0])
    return weights


def by_hand(losses, start, share):
    average = least = 1.0
    weights = []
    for step, loss in enumerate(losses):
        weights.append(2.0 * (step >= start and least < share))
        average += 0.05 * (loss / math.log(CLASSES) - average)
        least = min(least, average)
    return weights


@pytest.mark.parametrize("share", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("start", [0, 120])
def test_it_joins_where_the_average_falls_below_the_share_and_stays(share, start):
    rng = np.random.default_rng(0)
    falling = np.linspace(1.1, 0.3, 150) * math.log(CLASSES)
    rising = np.linspace(0.3, 1.2, 100) * math.log(CLASSES)  # as the triplet loss does at first
    losses = np.concatenate([falling, rising]) + rng.normal(0, 0.3, 250)
    got = weights_over(losses, triplet_start_step=start, triplet_start_loss=share)
    assert got == by_hand(losses, start, share)
    assert {0.0, 2.0} == set(got) and got[-1] == 2.0


def test_while_the_classifier_guesses_the_triplet_waits():
    guessing = [math.log(CLASSES)] * 300
    assert not any(weights_over(guessing, triplet_start_step=20, triplet_start_loss=0.99))


def test_without_the_option_there_is_nothing_to_keep():
    assert weights_over([0.0] * 5, triplet_start_step=3) == [0.0] * 3 + [2.0] * 2
    assert not tf.global_variables()  # so a checkpoint from before the option goes on
