"""TensorFlow checkpoints written: all files of one or none, under names that others find."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.system.errors import InputError
from mgn.system.files import not_written, refuse_existing, refuse_prefix
from mgn.weights.checkpoints import (
    DATA,
    NAME,
    TENSORFLOW_ERRORS,
    file_of,
    refuse_pattern,
    step_of,
    steps_in,
)


def new_saver(variables: Sequence[tf.Variable]) -> tf.train.Saver:
    """A Saver for `save`; make it once a graph, for it adds operations."""
    return tf.train.Saver(list(variables), max_to_keep=0)


def save(
    session: tf.Session,
    saver: tf.train.Saver,
    prefix: Path,
    description: Mapping,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint and its `.json` beside `prefix`, then rename them into place.

    The `.index` comes last, and goes first when a checkpoint is replaced: with it there, the rest
    is there.

    Raises:
        InputError: it exists and `overwrite` is not set.
        CheckError: it could not be written (disk full); what was there before is still there.
    """
    prefix = Path(prefix)
    refuse_existing_checkpoint(prefix, overwrite)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{prefix.name}.", dir=prefix.parent) as folder:
        made = Path(folder) / "made"
        aside = Path(folder) / "aside"
        text = json.dumps(description, indent=2) + "\n"
        try:
            with session.graph.as_default():
                saver.save(session, str(made), write_meta_graph=False, write_state=False)
            file_of(made, ".json").write_text(text, encoding="utf-8")
        except (*TENSORFLOW_ERRORS, OSError) as error:
            raise not_written(prefix, error) from None
        try:
            _rename(prefix, aside)
        except BaseException:
            _rename(aside, prefix)
            raise
        try:
            _rename(made, prefix)
        except BaseException:
            delete(prefix)
            _rename(aside, prefix)
            raise


def _rename(old: Path, new: Path) -> None:
    """Rename a checkpoint's files: the `.index` first when it goes out of use, else last."""
    suffixes = (".index", ".json", DATA) if new.name == "aside" else (DATA, ".json", ".index")
    for suffix in suffixes:
        if file_of(old, suffix).exists():
            file_of(old, suffix).replace(file_of(new, suffix))


def refuse_existing_checkpoint(prefix: Path, overwrite: bool) -> None:
    """Raise `InputError` if a file of it exists, or if its name could not be read back."""
    prefix = Path(prefix)
    if prefix.exists():
        hidden = "file, which a checkpoint of that name would hide"
        what = "folder" if prefix.is_dir() else hidden
        other = prefix.with_suffix("") / "mgn"
        raise InputError(f"{prefix}: is a {what}; name another, such as {other}")
    refuse_pattern(prefix.resolve())
    refuse_prefix(prefix, overwrite)
    for suffix in (".index", ".json", DATA):
        path = file_of(prefix, suffix)
        refuse_existing(path, overwrite and not path.is_dir())


def copy(prefix: Path, folder: Path) -> Path:
    """Make the checkpoint the only one of `folder`; returns its prefix there.

    Raises:
        CheckError: it could not be written (disk full); what was there before is still there.
    """
    folder.mkdir(exist_ok=True)
    made = folder / prefix.name
    with tempfile.TemporaryDirectory(prefix=f".{prefix.name}.", dir=folder) as temporary:
        there = Path(temporary) / prefix.name
        try:
            for suffix in (DATA, ".json", ".index"):
                shutil.copyfile(file_of(prefix, suffix), file_of(there, suffix))
        except OSError as error:
            raise not_written(made, error) from None
        _rename(there, made)
    for step in steps_in(folder):
        if step != step_of(made):
            delete(folder / f"{NAME}-{step}")
    return made


def make_latest(prefix: Path, keep: int) -> None:
    """Name the checkpoint its folder's latest, for TensorFlow's tools; keep the `keep` newest."""
    folder = prefix.parent
    steps = [step for step in steps_in(folder) if step <= step_of(prefix)]
    for step in steps[:-keep]:
        delete(folder / f"{NAME}-{step}")
    names = [f"{NAME}-{step}" for step in steps[-keep:]]
    # An absolute folder, or TensorFlow rewrites the names relative to something else.
    tf.train.update_checkpoint_state(str(folder.resolve()), prefix.name, names)


def delete(prefix: Path) -> None:
    """Remove a checkpoint's files, the `.index` first."""
    for suffix in (".index", ".json", DATA):
        with suppress(FileNotFoundError):
            file_of(prefix, suffix).unlink()
