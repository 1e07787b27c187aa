"""Where a run starts: its folder, the weights it begins with, and whether it may go on."""

import contextlib
import errno
import logging
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.config.options import BODIES
from mgn.config.settings import CONFIG, RunSettings
from mgn.config.variants import FIELDS, shown_value
from mgn.data.records import Split
from mgn.network import HEADS
from mgn.network.replicas import name_of
from mgn.system.errors import CheckError, InputError
from mgn.system.files import is_unused, locked, not_written
from mgn.weights import checkpoints
from mgn.weights.checkpoints import DATA, NAME

log = logging.getLogger(__name__)
_BEFORE_FIRST = (CONFIG, f"{NAME}-0.json", f"{NAME}-0{DATA}")  # checkpoint: its .index comes last
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def find_start(settings: RunSettings) -> checkpoints.Checkpoint:
    """Find `init_checkpoint`, and check that the run can start from it.

    Raises:
        InputError: no such checkpoint, or one with other options.
    """
    config = settings.config
    path = settings.init_checkpoint
    described = checkpoints.file_of(checkpoints.prefix_at(path), ".json").is_file()
    ours = {name: getattr(config, name) for name in ("height", "width", *FIELDS)}
    found = checkpoints.find(path, **({} if described else ours))
    # Of a backbone only its blocks count.
    differ = []
    for name in FIELDS if found.kind == "mgn" else ("ibn",):
        theirs = getattr(found.options, name)
        if theirs != getattr(config, name):
            differ.append((name, theirs))
    if differ:
        has = ", ".join(f"{name} {shown_value(theirs)}" for name, theirs in differ)
        flags = " ".join(f"--{name} {shown_value(theirs)}" for name, theirs in differ)
        named = found.options.variant
        whole = found.kind == "mgn" and named not in ("mgn-pytorch", config.variant)
        advice = f"--variant {named}" if whole else flags
        raise InputError(f"--init_checkpoint {found.prefix}: has {has}; add {advice}")
    return found


def newest_of(train_dir: Path) -> checkpoints.Checkpoint:
    """The newest complete checkpoint of a run's folder.

    Raises:
        InputError: there is none.
    """
    prefix = checkpoints.newest(train_dir)
    if prefix is None:
        problem = f"{train_dir}: no complete checkpoint to resume from"
        raise InputError(f"{problem}; start a new run in another folder")
    return checkpoints.find(prefix)


def check_goes_on(found: checkpoints.Checkpoint, config: TrainConfig, split: Split) -> None:
    """Raise `InputError` unless a run can go on from its checkpoint `found` with this data set."""
    trained = f"--resume: {found.prefix} was trained with"
    num_classes = len(set(split.persons.tolist()))
    if found.options != config.network_options(num_classes):
        raise InputError(
            f"{trained} {found.options.num_classes} classes, this data set has {num_classes};"
            " resume with the data set and the options that the run began with"
        )
    if found.training_set and not split.has_fingerprint(found.training_set):
        raise InputError(
            f"{trained} other images than this data set's {len(split.records)};"
            " resume with the data set that the run began with"
        )


def variables_taken(
    variables: Sequence[tf.Variable],
    found: checkpoints.Checkpoint,
    num_classes: int,
    fresh_classifier: bool,
) -> list[tf.Variable]:
    """The variables that start from a checkpoint; logs what does not.

    Args:
        variables: of the network.
        found: where to start from; a backbone has no heads.
        num_classes: identities in training; classifiers of another number start anew.
        fresh_classifier: they start anew in any case: its classes are other identities.
    """
    whole = found.kind == "mgn"
    theirs = found.options.num_classes
    names = {name_of(v) for v in variables}
    has_bias = f"{HEADS[0].classifier}/bias" in names
    of_another_kind = has_bias != (found.options.classifier == "linear")
    scopes = {name_of(v).split("/")[0] for v in variables}
    fresh = set() if whole else scopes - set(BODIES)
    if not whole or fresh_classifier or theirs != num_classes or of_another_kind:
        fresh |= {head.classifier for head in HEADS}
    taken = [v for v in variables if name_of(v).split("/")[0] not in fresh]
    log.info(f"{len(taken)} of {len(variables)} variables start from {found.prefix}")
    if whole and fresh:
        why = f"{theirs or 'none'} classes there, {num_classes} identities here"
        if theirs and of_another_kind:
            why = f"{found.options.classifier} there, not here (--classifier)"
        log.info(f"the classifiers start from scratch: {why}")
    return taken


def has_begun(train_dir: Path) -> bool:
    """Whether there is more than what a run leaves that is killed before its first checkpoint."""
    return not is_unused(train_dir, _BEFORE_FIRST)


def refuse_begun(train_dir: Path) -> None:
    """Raise `InputError` if a run has begun in the folder."""
    if has_begun(train_dir):
        raise InputError(f"{train_dir}: holds a run; add --resume, or name another folder")


@contextlib.contextmanager
def claimed(train_dir: Path) -> Iterator[None]:
    """Make the folder, keep other runs out of it, and remove what killed saves left.

    Raises:
        InputError: another run is at work in it.
    """
    train_dir.mkdir(parents=True, exist_ok=True)
    with locked(train_dir):
        for leftover in train_dir.rglob(f".{NAME}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def command_to_go_on(train_dir: Path) -> str:
    """What to type to resume the run."""
    return f"python train.py --train_dir {shlex.quote(str(train_dir))} --resume"


def with_resume_hint(error: CheckError, train_dir: Path) -> CheckError:
    """The same error, and how to go on when its cause is mended."""
    return CheckError(f"{error}; continue with: {command_to_go_on(train_dir)}")


@contextlib.contextmanager
def report_full_disk(train_dir: Path) -> Iterator[None]:
    """Turn a full disk, outside of a save too, into a `CheckError` with the command to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        problem = not_written(error.filename or train_dir, error)
        raise with_resume_hint(problem, train_dir) from None
