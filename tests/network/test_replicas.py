"""Two replicas on one CPU against one with the same batch: sums, rows, batch norm, averages."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import relative

from mgn.config import TrainConfig
from mgn.losses import total_loss
from mgn.network import replicas
from mgn.network.layers import batch_norm, conv2d, linear
from mgn.system.errors import InputError
from mgn.training import graph as graph_module
from mgn.training.distribution import place
from mgn.training.optimizers import apply, make_optimizer

PARTS = [3, 5]  # images of each replica: identities are not always divided evenly
CONFIG = TrainConfig(optimizer="sgd", learning_rate=0.1, average_decay=0.5)


def run_on(count, values, make, steps=1):
    """Run what `make` builds of each replica's rows of `values`: results of each, and variables."""
    sizes = [sum(PARTS)] if count == 1 else PARTS
    ends = np.cumsum(sizes)
    placement = place(count)
    with tf.Graph().as_default() as graph, placement.strategy.scope():
        tf.set_random_seed(0)

        def own_rows():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            index = int(tf.get_static_value(tf.convert_to_tensor(index)))
            return make(*(tf.constant(v[ends[index] - sizes[index] : ends[index]]) for v in values))

        results = placement.strategy.run(own_rows)
        local = {
            name: placement.strategy.experimental_local_results(x) for name, x in results.items()
        }
        variables = tf.global_variables()
        starts = [v.initializer for v in variables]
    with tf.Session(graph=graph, config=placement.config) as session:
        session.run(starts)
        for _ in range(steps):
            got = session.run(local)
        return got, {
            v.name: value for v, value in zip(variables, session.run(variables), strict=True)
        }


def test_sums_and_rows_of_all():
    values = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    labels = np.arange(8)

    def make(x, y):
        (total,) = replicas.sums([tf.reduce_sum(x)])
        return {"total": total, "rows": replicas.gather(x), "labels": replicas.gather(y)}

    for count in (1, 2):
        got, _ = run_on(count, (values, labels), make)
        for total, rows, numbers in zip(got["total"], got["rows"], got["labels"], strict=True):
            assert total == pytest.approx(values.sum(), rel=1e-5)
            assert np.array_equal(rows, values) and np.array_equal(numbers, labels)
        assert len(got["total"]) == count


def small_network(x, y):
    """Convolution, synchronised batch norm, two features and a classifier, losses, an update."""
    step = tf.train.get_or_create_global_step()
    kept = conv2d(x, "backbone/conv1", 6, 3)
    kept = tf.nn.relu(batch_norm(kept, "backbone/bn1", True, synchronised=True))
    feature = linear(tf.reduce_mean(kept, [1, 2]), "reduction_0", 4)
    losses = total_loss([feature], [linear(feature, "fc_id_2048_0", 3)], y, 0.7, 2.0, 0.1)
    variables = tf.trainable_variables()
    gradients = replicas.sums(tf.gradients(losses.objective, variables))
    optimizer = make_optimizer(CONFIG, tf.constant(0.1), step)
    figures = {"loss": losses.total, "norm": tf.global_norm(gradients), **losses.mining._asdict()}
    with tf.control_dependencies([*figures.values(), *tf.get_collection(tf.GraphKeys.UPDATE_OPS)]):
        train = graph_module.averaged(apply(optimizer, gradients, variables, step), CONFIG, step)
    with tf.control_dependencies([train]):
        return {name: tf.identity(value) for name, value in figures.items()}


def test_two_replicas_train_as_one_with_the_whole_batch():
    """Losses, triplets and statistics over all rows; the same updates and averages in both."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(8, 5, 4, 3)).astype(np.float32), np.array([0, 0, 1, 1, 2, 2, 0, 1])
    alone, weights_alone = run_on(1, values, small_network, steps=5)
    shared, weights_shared = run_on(2, values, small_network, steps=5)
    for name, each in shared.items():
        for value in each:
            assert value == pytest.approx(alone[name][0], rel=1e-4), name
    assert set(weights_alone) == set(weights_shared)
    for name, value in weights_alone.items():
        assert relative(weights_shared[name], value) < 1e-4, name
    assert {"backbone/bn1/running_var:0", "reduction_0/weight/average:0"} <= set(weights_alone)


def test_the_gradient_reaches_every_replicas_own_rows():
    """Of the sum of squares of all rows, each replica gets the gradient of its own."""
    values = np.random.default_rng(2).normal(size=(8, 3)).astype(np.float32)

    def make(x):
        total = tf.reduce_sum(tf.square(replicas.gather(x)))
        return {"gradient": tf.gradients(total, x)[0]}

    got, _ = run_on(2, (values,), make)
    assert relative(np.concatenate(got["gradient"]), 2 * values) < 1e-6


def test_a_cluster_that_cannot_be_is_refused_and_one_of_one_worker_is_none(monkeypatch):
    """Every other entry of TF_CONFIG: tests/training/test_cluster.py."""
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(InputError, match="TF_CONFIG: not JSON"):
        place()
    alone = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", alone)
    assert place().is_chief and place().share.total == 1
