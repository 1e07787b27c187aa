"""The folder of a run: whether one has begun in it, keeping it to one process, going on in it."""

import contextlib
import errno
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from mgn.checkpoints import DATA, NAME
from mgn.errors import CheckError, InputError
from mgn.files import held, is_unused, not_written
from mgn.runconfig import CONFIG

_BEFORE_FIRST = (CONFIG, f"{NAME}-0.json", f"{NAME}-0{DATA}")  # checkpoint: its .index comes last
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def has_begun(train_dir: Path) -> bool:
    """Whether there is more than what a run leaves that is killed before its first checkpoint."""
    return not is_unused(train_dir, _BEFORE_FIRST)


def refuse_begun(train_dir: Path) -> None:
    """Raise `InputError` if a run has begun in the folder."""
    if has_begun(train_dir):
        raise InputError(f"{train_dir} holds a run: resume it, or name another folder")


@contextlib.contextmanager
def claimed(train_dir: Path) -> Iterator[None]:
    """Make the folder, keep other runs out of it, and remove what killed saves left.

    Raises:
        InputError: another run is at work in it.
    """
    train_dir.mkdir(parents=True, exist_ok=True)
    with held(train_dir):
        for leftover in train_dir.rglob(f".{NAME}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def command_to_go_on(train_dir: Path) -> str:
    """What to type to resume the run."""
    return f"python train.py --train_dir {shlex.quote(str(train_dir))} --resume"


def to_go_on(error: CheckError, train_dir: Path) -> CheckError:
    """The same error, and how to go on when its cause is mended."""
    return CheckError(f"{error}; go on with: {command_to_go_on(train_dir)}")


@contextlib.contextmanager
def full_disk_told(train_dir: Path) -> Iterator[None]:
    """Turn a full disk, outside of a save too, into a `CheckError` with the command to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise to_go_on(not_written(error.filename or train_dir, error), train_dir) from None
