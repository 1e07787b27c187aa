"""A checkpoint of another program to one of this toolkit's, proven by images through both."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn import weights
from mgn.config import NetworkOptions
from mgn.config.options import BODIES
from mgn.conversion import headorder, parity, torchfiles
from mgn.data.decoding import read_image
from mgn.data.records import image_files
from mgn.system.errors import CheckError, InputError, MgnError
from mgn.system.session import new_session
from mgn.weights import checkpoints, saving
from mgn.weights.coverage import Coverage, cover
from mgn.weights.families import Family, recognise, to_torch_layout
from mgn.weights.naming import mgn_pytorch_key
from mgn.weights.options import options_in
from mgn.weights.variables import assign_some

_IMAGES = 256  # at most, to judge the order of heads by


class Source(NamedTuple):
    """A file that was read, and what is to become of its weights."""

    path: Path
    key: str | None  # which network of the file, as the user named it
    state_dict: dict[str, np.ndarray]
    options: NetworkOptions
    graph: tf.Graph
    variables: list[tf.Variable]
    coverage: Coverage
    allowed: tuple[Sequence[str], Sequence[str]]  # patterns of what may be missing, and left over

    def in_order(self, order: str) -> "Source":
        """The same with its reductions taken to be numbered in another order."""
        shapes = _shapes(self.variables)
        family = self.coverage.family
        return self._replace(coverage=cover(self.state_dict, family, shapes, order, *self.allowed))


class Conversion(NamedTuple):
    """What was done: shown to the user, and stored with the checkpoint."""

    source: Source
    evidence: headorder.Evidence | None  # of the order of the reductions
    differences: dict[str, parity.Difference]


def read(
    path: Path,
    order: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_extra: Sequence[str] = (),
    key: str | None = None,
    **given: object,
) -> Source:
    """Read a checkpoint of one of `families.FAMILIES` and say where its weights go.

    Args:
        path: see `torchfiles.read`.
        order: "pytorch" or "mgn-reid", how the file numbers its reductions; None: its family's.
        allow_missing: patterns (as of a shell) of keys that may be missing; they keep initial
            values, or, if all classifiers are missing, there will be none.
        allow_extra: patterns of keys that may be left over.
        key: which network of the file, where it holds more than one.
        given: options that weights do not tell, such as `pool`, `height` and `width`; else they
            are what the family's authors trained with. See `options.options_in`.

    Raises:
        InputError: not such a file, no order in it, or options that it contradicts.
    """
    state_dict = torchfiles.read(path, key)
    with _naming(path):
        family = recognise(state_dict)
    if order and not family.order:
        raise InputError(f"--reduction_order: {_without_order(path, family)}")
    options = options_in(state_dict, family, given)
    graph, variables = parity.build_graph(options)
    allowed = allow_missing, allow_extra
    coverage = cover(state_dict, family, _shapes(variables), order, *allowed)
    return Source(Path(path), key, state_dict, options, graph, variables, coverage, allowed)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Begin errors about weights with the name of their file."""
    try:
        yield
    except MgnError as error:
        raise type(error)(f"{path}: {error}", **error.details) from None


def _shapes(variables: Sequence[tf.Variable]) -> dict[str, tuple[int, ...]]:
    return {v.op.name: tuple(v.shape.as_list()) for v in variables}


def _without_order(path: Path, family: Family) -> str:
    return f"{path} is of {family.name}, which has no reductions to order; leave the flag out"


def convert(
    source: Source,
    prefix: Path | None,
    overwrite: bool = False,
    verify: Path | None = None,
    given_order: bool = False,
) -> Conversion:
    """Set the network's variables, prove them, and put a checkpoint in place.

    Args:
        source: what `read` found.
        prefix: of the checkpoint to make, with its `.json`; None: prove only.
        overwrite: replace what is at `prefix`.
        verify: folder of images like those of the training, to judge the order of the reductions
            by. The order that fits is taken; where none clearly does, that of `source` stays.
        given_order: the user named the order, so another one is an error.

    Raises:
        InputError: `prefix` exists, or there is no order to verify.
        CheckError: missing, left-over, wrongly shaped or infinite weights, another order than the
            given one fits (the evidence is in `details`), or the networks differ; nothing is
            written.
    """
    if prefix is not None:
        saving.refuse_existing_checkpoint(prefix, overwrite)
        if torchfiles.checkpoint_at(source.path) == Path(prefix):
            raise InputError(f"{prefix}: is the checkpoint to convert; name another prefix")
    with _naming(source.path):
        source.coverage.check()
    with new_session(source.graph, rewrite=False) as session:
        _assign(session, source)
        evidence = _judge(session, source, verify) if verify else None
        if evidence and evidence.order and evidence.order != source.coverage.order:
            if given_order:
                given = f"--reduction_order {source.coverage.order} does not fit {source.path}"
                nearer = f"{evidence.order} is {evidence.margin:.1f} times nearer"
                problem = f"{given}, judged by {evidence.basis}: {nearer}; nothing was written"
                raise CheckError(problem, evidence=evidence.record())
            source = source.in_order(evidence.order)
            _assign(session, source)
        differences = parity.compare(session, _for_pytorch(session, source), source.options)
        done = Conversion(source, evidence, differences)
        if prefix is not None:
            _save(session, done, prefix, overwrite)
    return done


def _assign(session: tf.Session, source: Source) -> None:
    """Set every variable: from the file, or to its initial value where it may be missing.

    The heads that a backbone lacks get stand-ins, so that its proof goes through all of it.
    """
    arrays = weights.from_pytorch(source.state_dict, coverage=source.coverage)
    initial = set(source.coverage.initial)
    rng = np.random.default_rng(0)
    fresh, fed = [], []
    for variable in source.variables:
        name = variable.op.name
        if name in initial:
            fresh.append(variable)
            continue
        fed.append(variable)
        if name not in arrays:
            arrays[name] = rng.uniform(0.01, 0.03, variable.shape.as_list()).astype(np.float32)
    assign_some(session, fed, arrays)
    session.run([variable.initializer for variable in fresh])


def _judge(session: tf.Session, source: Source, verify: Path) -> headorder.Evidence:
    family = source.coverage.family
    if not family.order:
        raise InputError(f"--verify: {_without_order(source.path, family)}")
    if source.coverage.initial:
        raise InputError("--verify: some of the weights are missing; leave the flag out")
    images = _normalised(session, image_files(verify).paths)
    inputs = headorder.inputs_from_images(session, images)
    basis = f"{len(images)} images" if len(images) > 1 else "1 image"
    return headorder.judge(inputs, source.state_dict, family, basis)


def _normalised(session: tf.Session, paths: Sequence[str]) -> np.ndarray:
    """Images evenly chosen among `paths`: float32 [N, height, width, 3]."""
    chosen = paths[:: math.ceil(len(paths) / _IMAGES)]
    output = f"{parity.IMAGES}:0"
    images = [read_image(path)[None] for path in chosen]
    return np.concatenate([session.run(output, {"raw_images:0": image}) for image in images])


def _for_pytorch(session: tf.Session, source: Source) -> dict[str, np.ndarray]:
    """A state dict for `TorchMGN`: the file's own arrays, which never went through TensorFlow."""
    keys = source.coverage.keys
    absent = {v.op.name: v for v in source.variables if v.op.name not in keys}
    state_dict = {}
    for name, value in session.run(absent).items():
        state_dict[mgn_pytorch_key(name)] = to_torch_layout(value)
    for name, key in keys.items():
        state_dict[mgn_pytorch_key(name)] = source.state_dict[key]
    return state_dict


def _save(session: tf.Session, done: Conversion, prefix: Path, overwrite: bool) -> None:
    source = done.source
    coverage = source.coverage
    kept = source.variables
    if coverage.family.kind != "mgn":
        kept = [v for v in kept if v.op.name.split("/")[0] in BODIES]
    with source.graph.as_default():
        saver = saving.new_saver(kept)
    origin = {
        "file": source.path.name,
        "key": source.key,
        "sha256": checkpoints.sha256(torchfiles.checkpoint_at(source.path) or source.path),
        "family": coverage.family.name,
        "reduction_order": coverage.order,
        "order_evidence": done.evidence._asdict() if done.evidence else None,
        "initial": coverage.initial,
    }
    description = {**checkpoints.describe(source.options, coverage.family.kind), "source": origin}
    saving.save(session, saver, prefix, description, overwrite)
