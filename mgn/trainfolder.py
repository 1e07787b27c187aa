"""The folder of a run: whether one has begun in it, and keeping it to one process."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mgn.checkpoints import DATA, NAME
from mgn.errors import InputError
from mgn.files import held, is_unused
from mgn.runconfig import CONFIG

_BEFORE_FIRST = (CONFIG, f"{NAME}-0.json", f"{NAME}-0{DATA}")  # checkpoint: its .index comes last


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
