"""Smaller vectors inside an export: which, of the right model, as a layer, and what is said."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config.options import EMBEDDING_SIZE, Reduce
from mgn.data import probe
from mgn.inference.embedder import Embedder, hash_of
from mgn.metrics.reduction import Reduction, choose, read_reductions
from mgn.metrics.smaller import Axes, towards
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.weights import checkpoints

_SHOWN = {"mAP": "mAP", "rank1": "rank@1"}  # scores by their names for readers


class Reduced:
    """A checkpoint's vectors made smaller in float64: what an export of them must give."""

    def __init__(self, source: Embedder, reduction: Reduction):
        self.original = source.original  # whole in the export too
        self._source = source
        self._reduction = reduction

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """As `Embedder.__call__`: float64 [N, `size`]."""
        return self._reduction(self._source(images))


def chosen(asked: Reduce | None) -> Reduction | None:
    """Read the reduction that was asked for; None: none was.

    Raises:
        InputError: another file, a damaged one, or one without this reduction.
    """
    if asked is None:
        return None
    where = f"--reduce_with {asked.file}"
    reductions = read_reductions(asked.file, where)
    if len(reductions.fitted.centre) != EMBEDDING_SIZE:
        problem = f"is for embeddings of {len(reductions.fitted.centre)} numbers"
        raise InputError(f"{where}: {problem}, not {EMBEDDING_SIZE}; make it again")
    return choose(reductions, asked.name, where)


def expected(
    asked: Reduce | None,
    reduction: Reduction | None,
    checkpoint: checkpoints.Checkpoint,
    source: Embedder,
) -> Embedder | Reduced:
    """What an export is held against: the checkpoint, followed by its reduction if there is one.

    Args:
        asked: for errors.
        reduction: see `chosen`.
        checkpoint: that is exported.
        source: the same, loaded.

    Raises:
        InputError: the reduction was made for another model.
    """
    if reduction is None:
        return source
    origin = reduction.origin

    def seen() -> np.ndarray | None:
        return probe.embedded_by(lambda images: source(images, flip=origin.flip))

    try:
        probe.check_same(origin.model, origin.probe, hash_of(checkpoint), seen)
    except probe.OtherModelError as error:
        todo = f"make one with evaluate.py --model {checkpoint.prefix} --sizes"
        raise InputError(f"--reduce_with {asked.file}: {error}; {todo}") from None
    return Reduced(source, reduction)


def named(reduction: Reduction | None) -> str:
    """For errors: behind the name of what an export is held against."""
    return f" made smaller ({reduction.name})" if reduction else ""


def as_layer(reduction: Reduction | None) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """What `inference.graph.build` takes; without what scales to length 1 before and behind it."""
    if reduction is None:
        return None
    if reduction.heads:
        return lambda whole: _heads(whole, reduction.heads)
    return lambda whole: _axes(whole, reduction.fitted)


def _heads(whole: tf.Tensor, kept: Sequence[int]) -> tf.Tensor:
    parts = tf.split(whole, len(HEADS), axis=1)
    return tf.concat([parts[head] for head in kept], axis=1)


def _axes(whole: tf.Tensor, fitted: Axes) -> tf.Tensor:
    """The centre is taken off behind the product, where OpenCV reads it as a layer's bias."""
    bias = -fitted.centre.astype(np.float64) @ towards(fitted, np.float64)
    product = tf.matmul(whole, tf.constant(towards(fitted), tf.float32))
    return tf.nn.bias_add(product, tf.constant(bias, tf.float32))


def about(reduction: Reduction | None) -> dict:
    """What an export says of its reduction, as JSON values; empty without one."""
    if reduction is None:
        return {}
    origin = reduction.origin
    told = {
        "name": reduction.name,
        "size": reduction.size,
        "heads": reduction.heads and [HEADS[head].name for head in reduction.heads],
        "model": origin.model,
        "scores": reduction.scores,
        "whole": reduction.whole,
        "dataset": origin.dataset,
        "images": origin.images,
        "flip": origin.flip,
    }
    return {"smaller": told}


def reduction_lines(description: dict) -> list[str]:
    """A description's reduction for readers; none without one."""
    told = description.get("smaller")
    if not told:
        return []
    kept = f" ({' '.join(told['heads'])})" if told["heads"] else ""
    fitted = "" if told["heads"] else f", fitted to {told['images']} gallery images"
    flip = "image and mirror image" if told["flip"] else "the image alone"
    price = "not measured at this size"
    if told["scores"]:
        small, whole = told["scores"], told["whole"]
        pairs = [f"{_SHOWN[name]} {small[name]:.4f} ({whole[name]:.4f} whole)" for name in _SHOWN]
        price = f"{', '.join(pairs)}, recall@10 {small['recall10']:.4f}"
    return [
        f"smaller {told['name']}{kept}: {told['size']} numbers of length 1{fitted}",
        f"price   {price}",
        f"        on {told['dataset']}, of {flip}, by model {told['model'][:12]}",
    ]
