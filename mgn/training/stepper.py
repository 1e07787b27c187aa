"""The graph and session of a run: takes a step, keeps the state between steps."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data.reading import training_dataset
from mgn.network import replicas
from mgn.system.session import new_graph, new_session
from mgn.training import phases
from mgn.training.distribution import Placement
from mgn.training.graph import build_train_graph
from mgn.weights import checkpoints, saving
from mgn.weights.checkpoints import Checkpoint
from mgn.weights.variables import model_variables

_RECORDED = (
    "cross_entropy",
    "triplet",
    "total",
    "grad_norm",
    "learning_rate",
    "loss_scale",
    "triplet_weight",
)  # of TrainOps


class Step(NamedTuple):
    """What one step says; figures are those of the state it started from."""

    figures: dict[str, float]  # the recorded ones, and those of mining
    indices: np.ndarray  # int64 [B]: this process's images, in the training set
    batch_size: int  # images, of all replicas
    images: np.ndarray | None  # float32 [B, height, width, 3]: what the first replica saw
    stop: bool  # this worker or another was asked to stop
    finish: bool  # this worker or another saw that the run is over


class Stepper:
    """Some steps of a run, all of one phase, on the replicas of a placement."""

    def __init__(
        self,
        config: TrainConfig,
        paths: Sequence[str],
        labels: np.ndarray,
        steps: range,
        placement: Placement,
        cached: np.ndarray | None = None,
    ):
        """Build; see `training_dataset` for the arguments. Then `initialise`, or `restore` all."""
        num_classes = int(labels.max()) + 1
        frozen = phases.frozen_at(config, steps.start)
        self._strategy = placement.strategy

        def dataset() -> tf.data.Dataset:
            span = steps.start, steps.stop
            return training_dataset(config, paths, labels, *span, cached, placement.share)

        def step(images: tf.Tensor, its_labels: tf.Tensor, indices: tf.Tensor) -> dict:
            images = tf.ensure_shape(images, [None, config.height, config.width, 3])
            ops = build_train_graph(config, images, its_labels, num_classes, frozen)
            (asked,) = replicas.sums([tf.identity(self._asked)])
            (batch_size,) = replicas.sums([tf.size(indices)])
            figures = {name: getattr(ops, name) for name in _RECORDED} | ops.mining._asdict()
            told = {"figures": figures, "asked": asked, "batch_size": batch_size}
            return {"told": told, "images": images, "indices": indices, "train": ops.train_op}

        with new_graph(config.seed).as_default() as graph, placement.strategy.scope():
            batch, first_input = _input(placement, dataset)
            self._asked = tf.placeholder(tf.float32, [2])
            results = placement.strategy.run(step, args=batch)
            self._first = tf.nest.map_structure(lambda x: _local(placement, x)[0], results)
            self._indices = _local(placement, results["indices"])
            self._train = placement.strategy.group(results["train"])
            self._mark = tf.placeholder(tf.int64, [])
            marks = placement.strategy.run(lambda: replicas.sums([tf.identity(self._mark)])[0])
            self._marks = _local(placement, marks)[0]
            self.variables = tf.global_variables()
            self.model_variables = model_variables()
            self.saver = saving.new_saver(self.variables)
            self._initialisers = [v.initializer for v in self.variables]
        self.session = new_session(graph, target=placement.target, config=placement.config)
        self.session.run(first_input)

    def initialise(self) -> None:
        """Set all variables: fresh weights, step 0."""
        self.session.run(self._initialisers)

    def restore(self, checkpoint: Checkpoint, variables: Sequence[tf.Variable]) -> None:
        """Set some of `variables`; see `checkpoints.restore`."""
        with self.session.graph.as_default(), self._strategy.scope():
            checkpoints.restore(self.session, checkpoint, variables)

    def take(self, stop: bool = False, finish: bool = False, with_images: bool = False) -> Step:
        """Take a step; `stop` and `finish` tell all workers what to do after it."""
        wanted = {"told": self._first["told"], "indices": self._indices, "train": self._train}
        if with_images:
            wanted["images"] = self._first["images"]
        got = self.session.run(wanted, {self._asked: (stop, finish)})
        told = got["told"]
        figures = {name: float(value) for name, value in told["figures"].items()}
        stops, finishes = (told["asked"] > 0).tolist()
        indices = np.concatenate(got["indices"])
        batch_size = int(told["batch_size"])
        return Step(figures, indices, batch_size, got.get("images"), stops, finishes)

    def agreed(self, mark: int) -> bool:
        """Wait for all workers; whether they gave the same number, 0 to 2**32.

        Unless they did, it is False for one of them at least.
        """
        total = self._strategy.num_replicas_in_sync
        return int(self.session.run(self._marks, {self._mark: mark})) == mark * total

    def close(self) -> None:
        """Free the memory."""
        self.session.close()


def _input(placement: Placement, dataset: Callable) -> tuple[tuple, tf.Operation]:
    """One step's (images, labels, indices), of each replica; and what starts the pipeline."""
    if placement.share.total == 1:
        batch = tf.data.make_initializable_iterator(dataset())
        return batch.get_next(), batch.initializer
    with warnings.catch_warnings():  # of options read back from a dataset, which we never do
        options = "To make it possible to preserve tf.data options"
        warnings.filterwarnings("ignore", options, UserWarning)
        batch = placement.strategy.make_input_fn_iterator(lambda _context: dataset())
    return batch.get_next(), batch.initializer


def _local(placement: Placement, value: object) -> tuple:
    return placement.strategy.experimental_local_results(value)
