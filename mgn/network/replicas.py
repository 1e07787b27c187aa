"""Copies of the network that share a step: sums over them, and the rows of all of them.

Everything here is the identity outside of `tf.distribute`, where there is one copy.
`ReplicaContext.all_reduce` and `all_gather` do not work in graph mode (TensorFlow 2.21), so sums go
through `merge_call`.
"""

from collections.abc import Sequence

import tensorflow.compat.v1 as tf

_SUM = tf.distribute.ReduceOp.SUM


def count() -> int:
    """How many replicas share a step."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def name_of(variable: tf.Variable) -> str:
    """A variable's name in a checkpoint; `op.name` differs between replicas."""
    return variable.name.removesuffix(":0")


def sums(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Sum each value over the replicas; no gradient flows through the sum."""
    if count() == 1:
        return list(values)

    def reduce(strategy, per_replica):
        return strategy.extended.batch_reduce_to(_SUM, [(value, value) for value in per_replica])

    summed = tf.distribute.get_replica_context().merge_call(reduce, args=(list(values),))
    # TensorFlow knows no gradient of a collective sum.
    return [tf.stop_gradient(value) for value in summed]


def differentiable_sum(value: tf.Tensor) -> tf.Tensor:
    """The same with the gradient of a sum: that of every replica's loss, added up."""
    if count() == 1:
        return value
    (total,) = sums([value])
    with tf.get_default_graph().gradient_override_map({"IdentityN": "MgnSumOverReplicas"}):
        return tf.identity_n([value, total])[1]


@tf.RegisterGradient("MgnSumOverReplicas")
def _gradient_of_sum(_: tf.Operation, _own: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, None]:
    return sums([total])[0], None


def gather(rows: tf.Tensor, most: int | None = None) -> tf.Tensor:
    """The rows [B, ...] of all replicas, in their order: [sum of all B, ...].

    B may differ between replicas, and from step to step if `most` says how many rows there are at
    most in all: the sums of a cluster have one shape in every step. The gradient reaches the own
    rows only, so that the gradients of a loss that every replica computes from all rows add up to
    its gradient.
    """
    if count() == 1:
        return rows
    own = tf.one_hot(_index(), count(), dtype=tf.int32)
    (sizes,) = sums([own * tf.shape(rows)[0]])
    total = tf.reduce_sum(sizes)
    before = tf.reduce_sum(sizes[: _index()])
    after = (most or total) - before - tf.shape(rows)[0]
    place = tf.concat([[[before, after]], tf.zeros([rows.shape.rank - 1, 2], tf.int32)], axis=0)
    in_place = tf.pad(rows, place)  # zeros where the others' rows are
    (rows_of_all,) = sums([in_place])
    in_place, rows_of_all = in_place[:total], rows_of_all[:total]
    if not rows.dtype.is_floating:
        return rows_of_all
    # Adds zero, through which the gradient flows.
    return rows_of_all + (in_place - tf.stop_gradient(in_place))


def _index() -> int:
    return tf.distribute.get_replica_context().replica_id_in_sync_group
