"""Which weights of another checkpoint a training run starts from."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn import checkpoints
from mgn.config import TrainConfig
from mgn.errors import InputError
from mgn.network import HEADS


def find_start(
    init_checkpoint: str, config: TrainConfig, num_classes: int, fresh_classifier: bool
) -> checkpoints.Checkpoint:
    """Find `--init_checkpoint` and check that a run with `config` and `num_classes` people can start from it.

    Raises:
        InputError: no such checkpoint, or one with other options or another number of classes.
    """
    described = Path(init_checkpoint).is_dir() or Path(f"{init_checkpoint}.json").is_file()
    ours = {name: getattr(config, name) for name in ("pool", "height", "width")}
    found = checkpoints.find(init_checkpoint, **({} if described else ours))
    if found.kind != "mgn":
        return found
    for name in ("pool", "reduction"):
        theirs = getattr(found.options, name)
        if theirs != getattr(config, name):
            raise InputError(f"--init_checkpoint {found.prefix} has {name} {theirs}: add --{name} {theirs}")
    if found.options.num_classes != num_classes and not fresh_classifier:
        raise InputError(
            f"--init_checkpoint {found.prefix} has {found.options.num_classes or 'no'} classes, this data set"
            f" {num_classes}: add --fresh_classifier to start the classifiers anew"
        )
    return found


def variables_taken(variables: Sequence[tf.Variable], kind: str, fresh_classifier: bool) -> list[tf.Variable]:
    """The variables that start from a checkpoint of this kind; a backbone has no heads."""
    fresh = {head.classifier for head in HEADS} if fresh_classifier or kind != "mgn" else set()
    if kind != "mgn":
        fresh |= {head.reduction for head in HEADS}
    return [v for v in variables if v.op.name.split("/")[0] not in fresh]
