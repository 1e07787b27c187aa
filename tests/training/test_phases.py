"""Frozen layers: what stands still, bit for bit, and what the heads see of it."""

import dataclasses

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mgn.config import RECIPES, NetworkOptions
from mgn.config.options import BODIES
from mgn.network import architecture
from mgn.network.architecture import BRANCHES, Mode, head_inputs
from mgn.training import phases
from mgn.training.graph import build_train_graph
from mgn.weights.variables import model_variables

pytestmark = pytest.mark.usefixtures("shallow_network")


@pytest.mark.parametrize(
    ("freeze_steps", "step", "frozen", "steps"),
    [
        (0, 0, (), range(10)),
        (4, 0, ("p1",), range(4)),
        (4, 3, ("p1",), range(3, 4)),
        (4, 4, (), range(4, 10)),
        (4, 7, (), range(7, 10)),
        (10, 2, ("p1",), range(2, 10)),
        (99, 2, ("p1",), range(2, 10)),
        (4, 10, (), range(10, 10)),
    ],
)
def test_phases_by_hand(freeze_steps, step, frozen, steps):
    options = {"freeze_steps": freeze_steps, "freeze_layers": ("p1",)}
    config = dataclasses.replace(RECIPES["scratch"], **options)
    assert phases.frozen_at(config, step) == frozen
    assert phases.steps_of_phase(config, step, 10) == steps


def test_the_bodies_are_the_networks():
    assert ("backbone", *(b.name for b in BRANCHES)) == BODIES


@pytest.mark.parametrize("frozen", [BODIES, ("backbone",), ("p2", "p3")], ids=len)
def test_frozen_bodies_stand_still_bit_for_bit_and_all_else_moves(frozen):
    """Weights, running statistics, moving averages; a step of AMSGrad with L2 and averaging."""
    options = {"weight_decay": 0.01, "freeze_steps": 9, "triplet_start_step": 0}
    config = dataclasses.replace(
        RECIPES["scratch"], triplet_start_loss=0.0, zero_init_residual=False, **options
    )
    images = tf.constant(np.random.default_rng(0).normal(size=(4, 96, 32, 3)).astype("f"))
    ops = build_train_graph(config, images, tf.constant([0, 0, 1, 1]), 2, frozen)
    with tf.Session() as session:
        session.run([v.initializer for v in tf.global_variables()])
        variables = {v.op.name: v for v in model_variables()}
        before = session.run(variables)
        for _ in range(2):
            session.run(ops.train_op)
        after = session.run(variables)
        averages = {v.op.name: v for v in tf.global_variables() if "/average" in v.op.name}
        averages = session.run(averages)
    for name, start in before.items():
        still = name.split("/")[0] in frozen
        assert np.array_equal(start, after[name]) == still, name
        if still:
            assert np.array_equal(start, averages[f"{name}/average"]), name
    slots = [v.op.name for v in tf.global_variables() if v.op.name.endswith("/AMSGrad")]
    trained = [name for name in before if "running" not in name]
    assert set(slots) == {f"{name}/AMSGrad" for name in trained}  # also of what stands still


def test_frozen_bodies_are_those_of_inference():
    images = tf.constant(np.random.default_rng(0).normal(size=(4, 96, 32, 3)).astype("f"))
    options = NetworkOptions(0)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        made = {
            "training": head_inputs(images, options, Mode(True)),
            "frozen": head_inputs(images, options, Mode(True, frozen=BODIES)),
            "p1": head_inputs(images, options, Mode(True, frozen=("p1", "backbone"))),
            "inference": head_inputs(images, options, Mode(False)),
        }
    with tf.Session() as session:
        session.run([v.initializer for v in tf.global_variables()])
        made = session.run(made)
    for head in architecture.HEADS:
        expected = made["inference"][head.name]
        assert np.array_equal(made["frozen"][head.name], expected)
        assert not np.allclose(made["training"][head.name], expected, rtol=0.1)
        assert np.array_equal(made["p1"][head.name], expected) == (head.branch == "p1")


def test_the_plan_says_what_stands_still():
    config = dataclasses.replace(RECIPES["scratch"], freeze_steps=7, freeze_layers=["p1", "p3"])
    assert phases.describe(config).startswith("frozen for 7 steps: p1, p3 (weights as they are")
    assert phases.describe(RECIPES["scratch"]) == ""
