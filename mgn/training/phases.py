"""The phases of a run: first with some layers frozen, if it is so asked, then with none."""

from collections.abc import Collection, Sequence

import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.network.replicas import name_of


def frozen_at(config: TrainConfig, step: int) -> tuple[str, ...]:
    """The bodies of the network that stand still in step `step`, counted from 0."""
    return config.freeze_layers if step < config.freeze_steps else ()


def steps_of_phase(config: TrainConfig, step: int, total: int) -> range:
    """The steps from `step` on that one graph takes, of a run of `total` steps."""
    end = config.freeze_steps if step < config.freeze_steps else total
    return range(step, min(end, total))


def divide(
    variables: Sequence[tf.Variable], frozen: Collection[str]
) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """Those that move, and those that stand still: of the `frozen` bodies."""
    moving, standing = [], []
    for variable in variables:
        (standing if body_of(variable) in frozen else moving).append(variable)
    return moving, standing


def body_of(variable: tf.Variable) -> str:
    """The first part of a variable's name: a body of the network, or a part of a head."""
    return name_of(variable).split("/")[0]


def describe(config: TrainConfig) -> str:
    """What stands still at first, as a line; nothing if nothing does."""
    if not config.freeze_steps:
        return ""
    frozen = ", ".join(config.freeze_layers)
    how = "weights as they are, batch norm with running statistics"
    return f"frozen for {config.freeze_steps} steps: {frozen} ({how})\n"
