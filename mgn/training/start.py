"""Which weights of another checkpoint a training run starts from, and whether it goes on from its own."""

import logging
from collections.abc import Sequence
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn import checkpoints
from mgn.config import NetworkOptions, TrainConfig
from mgn.errors import InputError
from mgn.network import HEADS
from mgn.replicas import name_of

log = logging.getLogger(__name__)


def find_start(init_checkpoint: str, config: TrainConfig) -> checkpoints.Checkpoint:
    """Find `--init_checkpoint` and check that a run with `config` can start from it.

    Raises:
        InputError: no such checkpoint, or one with other options.
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
    return found


def check_goes_on(
    found: checkpoints.Checkpoint, options: NetworkOptions, training_set: str, pictures: int
) -> None:
    """Raise `InputError` unless a run can go on from its checkpoint `found`.

    Args:
        found: the newest of the run.
        options: the network's, with the data set's number of people.
        training_set: `Split.fingerprint` of the data set.
        pictures: in it.
    """
    if found.options != options:
        raise InputError(
            f"--resume: {found.prefix} was trained with {found.options.num_classes} classes, this data set"
            f" has {options.num_classes}; resume with the data set and the options that the run began with"
        )
    if found.training_set not in (None, training_set):
        raise InputError(
            f"--resume: {found.prefix} was trained with other pictures than this data set's {pictures};"
            " resume with the data set that the run began with"
        )


def variables_taken(
    variables: Sequence[tf.Variable],
    found: checkpoints.Checkpoint,
    num_classes: int,
    fresh_classifier: bool,
) -> list[tf.Variable]:
    """The variables that start from a checkpoint; a backbone has no heads, and what is left out is said.

    Args:
        variables: of the network.
        found: where to start from.
        num_classes: people in training; classifiers of another number start anew.
        fresh_classifier: they start anew in any case: its classes are other people.
    """
    whole, theirs = found.kind == "mgn", found.options.num_classes
    fresh = set() if whole else {head.reduction for head in HEADS}
    if not whole or fresh_classifier or theirs != num_classes:
        fresh |= {head.classifier for head in HEADS}
    taken = [v for v in variables if name_of(v).split("/")[0] not in fresh]
    log.info(f"{len(taken)} of {len(variables)} variables start from {found.prefix}")
    if whole and fresh:
        log.info(f"the classifiers start anew: {theirs or 'none'} classes there, {num_classes} people here")
    return taken
