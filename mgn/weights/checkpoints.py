"""TensorFlow checkpoints that describe themselves, by the options in PREFIX.json."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.config.options import PREPROCESSING
from mgn.config.variants import kept, options_in, with_variant
from mgn.network import HEADS, replicas
from mgn.system.errors import InputError, first_line
from mgn.system.files import read_json, sha256_of
from mgn.weights.filekinds import file_kind, folder_kind
from mgn.weights.told import check_agrees, check_possible, check_told, possible

NAME = "model.ckpt"  # checkpoints of a train_dir are NAME-STEP
DATA = ".data-00000-of-00001"
TENSORFLOW_ERRORS = (tf.errors.OpError, ValueError, RuntimeError, IndexError)  # on a bad file


class Checkpoint(NamedTuple):
    """A checkpoint on disk; `kind` is "mgn" (all of it) or "backbone" (a start for training)."""

    prefix: Path
    kind: str
    options: NetworkOptions
    training_set: str | None = None  # `Split.fingerprint`, of a run's own checkpoints
    averaged: bool = False  # a moving average of each weight is there, and is what the network is

    def name_of(self, variable: str) -> str:
        """What holds a variable's value in the file."""
        return f"{variable}/average" if self.averaged else variable

    def check_whole(self) -> None:
        """Raise `InputError` if it is a backbone."""
        if self.kind != "mgn":
            raise InputError(
                f"{self.prefix}: holds only a {self.kind}; use it with train.py --init_checkpoint"
            )


def describe(options: NetworkOptions, kind: str = "mgn") -> dict:
    """What every artefact says of itself, as JSON values."""
    return {
        "kind": kind,
        **kept(options),
        "embedding_order": [head.name for head in HEADS],
        "preprocessing": {
            "steps": PREPROCESSING,
            "mean": [round(value / 255, 9) for value in options.mean],
            "std": [round(value / 255, 9) for value in options.std],
        },
    }


def options_from(description: Mapping, where: object) -> NetworkOptions:
    """The options in what `describe` made; `where` names the file in the error."""
    try:
        return options_in(description)
    except KeyError as error:
        raise InputError(f"{where}: has no {error}; name a file of this toolkit") from None
    except (TypeError, InputError) as error:
        raise InputError(f"{where}: damaged ({error}); use another copy") from None


def find(path: Path, **given: object) -> Checkpoint:
    """Find a checkpoint.

    Args:
        path: a train_dir (its newest complete checkpoint), a folder with one checkpoint of any
            name, a prefix, or a checkpoint's file.
        given: options of the network from the command line. Without a `.json`, `pool` or `variant`
            is needed; with one, all must agree with it.

    Raises:
        InputError: nothing complete there, not a checkpoint of this network, or a contradiction.
    """
    prefix = prefix_at(path)
    if not file_of(prefix, ".index").is_file():
        kind = file_kind(path) if Path(path).is_file() else None
        missing = f"no {prefix.name}.index there; name a train_dir, or a checkpoint without ending"
        why = f"it looks like {kind.name}; {kind.to_run}" if kind else missing
        raise InputError(f"{path}: not a checkpoint ({why})")
    described = file_of(prefix, ".json")
    if not described.is_file():
        averaged = f"{HEADS[0].reduction}/0/weight/average" in stored_shapes(prefix)
        return Checkpoint(prefix, "mgn", _options_without_json(prefix, given), averaged=averaged)
    description = read_json(described)
    options = options_from(description, described)
    kind = description.get("kind", "mgn")

    # Neither the command line nor the weights may say otherwise.
    check_agrees(options, given, f"{prefix} was made with")
    if kind == "mgn":
        check_possible(options, _told_by_weights(prefix), described)
    averaged = bool(description.get("averaged"))
    return Checkpoint(prefix, kind, options, description.get("training_set"), averaged)


def prefix_at(path: Path) -> Path:
    """The prefix that `find` looks at."""
    return _in_folder(Path(path)) if Path(path).is_dir() else prefix_of(path)


def _in_folder(folder: Path) -> Path:
    """Prefix of the newest complete checkpoint of a run, or of the only one in the folder."""
    there = [newest(folder)] if newest(folder) else prefixes_in(folder)
    kind = None if there else folder_kind(folder)
    if kind:
        raise InputError(f"{folder}: not a checkpoint (it looks like {kind.name}; {kind.to_run})")
    if len(there) != 1:
        names = ", ".join(prefix.name for prefix in there)
        others = f"; name one of {names}" if names else "; name another"
        raise InputError(f"{folder}: no complete checkpoint {NAME}-STEP in this folder{others}")
    return there[0]


def prefixes_in(folder: Path) -> list[Path]:
    """Prefixes of all checkpoints in a folder, of any name."""
    return sorted(prefix_of(path) for path in Path(folder).iterdir() if path.suffix == ".index")


def newest(train_dir: Path) -> Path | None:
    """Prefix of the newest checkpoint in `train_dir` whose three files are there."""
    prefixes = [Path(train_dir) / f"{NAME}-{step}" for step in steps_in(train_dir)]
    complete = [p for p in prefixes if file_of(p, DATA).is_file() and file_of(p, ".json").is_file()]
    return complete[-1] if complete else None


def steps_in(train_dir: Path) -> list[int]:
    """The steps of which `train_dir` has a checkpoint, ascending."""
    found = (step_of(path) for path in Path(train_dir).glob(f"{NAME}-*.index"))
    return sorted(step for step in found if step is not None)


def step_of(path: Path) -> int | None:
    """The step in `model.ckpt-STEP` or one of its files' names."""
    match = re.match(rf"{re.escape(NAME)}-([0-9]+)(\.(index|json|data-.*))?$", Path(path).name)
    return int(match[1]) if match else None


def restore(session: tf.Session, checkpoint: Checkpoint, variables: Sequence[tf.Variable]) -> None:
    """Set `variables` from the checkpoint, strictly; to averages where it has them.

    Those of several replicas are set in the scope of their strategy.

    Raises:
        InputError: variables missing or of another shape (they are named), or a damaged file.
    """
    prefix = checkpoint.prefix
    shapes = stored_shapes(prefix)
    stored = {checkpoint.name_of(replicas.name_of(v)): v for v in variables}
    missing = [name for name in stored if name not in shapes]
    if missing:
        named = ", ".join(missing[:5])
        problem = f"{len(missing)} variables missing, such as {named}"
        raise InputError(f"{prefix}: {problem}; use a checkpoint of this network")
    wrong = []
    for name, variable in stored.items():
        wanted = variable.shape.as_list()
        if shapes[name] != wanted:
            wrong.append(f"{name} {shapes[name]} instead of {wanted}")
    if wrong:
        named = ", ".join(wrong[:3])
        problem = f"{len(wrong)} variables of another shape: {named}"
        raise InputError(f"{prefix}: {problem}; use a checkpoint of this network")
    try:
        with session.graph.as_default():
            if not checkpoint.averaged:
                tf.train.Saver(list(variables)).restore(session, str(prefix))
            elif replicas.count() == 1:
                tf.train.Saver(stored).restore(session, str(prefix))
            else:  # variables of several replicas have one name only for a Saver: their own
                _assign(session, stored, read(prefix, list(stored)))
    except TENSORFLOW_ERRORS as error:
        raise InputError(
            f"{prefix}: damaged checkpoint ({first_line(error)}); use another"
        ) from None


def _assign(session: tf.Session, variables: Mapping[str, tf.Variable], values: Mapping) -> None:
    for name, variable in variables.items():
        fed = tf.placeholder(tf.float32, variable.shape)
        session.run(variable.assign(fed, read_value=False), {fed: values[name]})


def sha256(path: Path) -> str:
    """Hash of a file, or of a checkpoint's weights where `path` is its prefix."""
    weights = file_of(path, DATA)
    return sha256_of(weights if weights.is_file() else Path(path))


def file_of(prefix: Path, suffix: str) -> Path:
    """A checkpoint's file by its suffix: DATA, ".index" or ".json"."""
    return Path(f"{prefix}{suffix}")


def prefix_of(path: Path) -> Path:
    """The prefix that a checkpoint's file belongs to; anything else as it is."""
    return Path(re.sub(r"\.(index|json|meta|data-\d+-of-\d+)$", "", str(path)))


def refuse_pattern(prefix: object) -> None:
    """Raise `InputError` for a path that TensorFlow would take for a pattern of paths."""
    if set("*?[]") & set(str(prefix)):
        problem = "TensorFlow cannot read checkpoints from a path with any of * ? [ ] in it"
        raise InputError(f"{prefix}: {problem}; rename it, or name it from inside that folder")


def stored_shapes(prefix: Path) -> dict[str, list[int]]:
    """{name: shape} of what a checkpoint holds; anything else is an `InputError`."""
    refuse_pattern(prefix)
    try:
        return tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    except TENSORFLOW_ERRORS as error:
        problem = f"{prefix}: not a readable TensorFlow checkpoint ({first_line(error)})"
        raise InputError(f"{problem}; use another copy") from None


def read(prefix: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Values by name, without a graph; a damaged file is an `InputError`."""
    reader = tf.train.load_checkpoint(str(prefix))
    try:
        return {name: reader.get_tensor(name) for name in names}
    except TENSORFLOW_ERRORS as error:
        raise InputError(
            f"{prefix}: damaged checkpoint ({first_line(error)}); use another"
        ) from None


def _options_without_json(prefix: Path, given: Mapping) -> NetworkOptions:
    told = _told_by_weights(prefix)
    check_told(told, given, f"{prefix} has no .json beside it, and weights")
    usual = {name: values[0] for name, values in told.items()}
    options = NetworkOptions(**{**usual, **with_variant(given)})
    check_possible(options, told, f"{prefix} as given", advise=True)
    return options


def _told_by_weights(prefix: Path) -> dict[str, tuple]:
    shapes = stored_shapes(prefix)
    if f"{HEADS[0].reduction}/0/weight" not in shapes:
        others = "convert MGN-ReId's with convert_pytorch_weights.py"
        raise InputError(f"{prefix}: a TensorFlow checkpoint of another network; {others}")
    return possible(shapes.get)
