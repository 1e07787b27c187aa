"""The network's residual blocks in eight bits: scales, ranges and kernels from real images.

A map is kept as whole numbers of 0 to 255, with one range for all its channels. Three things keep
the network close to the one in float32 (figures of each in doc/benchmarks-log-int8.md):

- Channels are scaled towards each other first. A scale of a channel passes through ReLU and sum,
  and goes into the kernels on both sides (arXiv:1906.04721). What is added is scaled alike.
- A shortcut's convolution has results of both signs. It gets an offset that makes them 0 or more,
  and the convolution that it is added to takes the offset back: TensorFlow's kernel for a signed
  summand cuts results off at half of the range.
- Kernels have a scale for each channel that they make, and the mean error of that channel over the
  images is taken out of the bias (arXiv:1906.04721).
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.export.units import Unit, scale_groups
from mgn.inference.graph import NETWORK_INPUT
from mgn.system.errors import CheckError
from mgn.system.progress import Progress
from mgn.system.session import new_graph, new_session

_LEVELS, _WEIGHT = 255, 127  # largest whole numbers of a map, and of a kernel
_BATCH = 16
_EVENED = 0.5  # exponent: 0 leaves the channels' ranges as they are, 1 makes them equal
_LEAST = 1e-3  # of a channel's range, against the largest
_HEADROOM = 1.1  # of a map's range, for images that reach further than those it was taken from


class Tensor(NamedTuple):
    """What a map's whole numbers q mean: q / 255 * largest * scale - offset."""

    scale: np.ndarray  # float32 [C]
    offset: np.ndarray  # float32 [C]
    largest: float


class Kernel(NamedTuple):
    """A convolution in eight bits: of scaled maps, to a scaled map."""

    values: np.ndarray  # int8 [h, w, in, out], -127 to 127
    largest: np.ndarray  # float32 [out], which 127 stands for
    bias: np.ndarray  # float32 [out]


class Quantised(NamedTuple):
    """The residual blocks in eight bits."""

    tensors: dict[str, Tensor]  # by name
    kernels: dict[str, Kernel]  # by the unit's name; those kept in float32 have none
    noise: dict[str, float]  # by the unit's name, where asked for: see `_noise`


def quantise(
    network: tf.GraphDef, units: Sequence[Unit], images: np.ndarray, keep_float: int = 0
) -> Quantised:
    """Choose everything from images.

    Args:
        network: folded, float32.
        units: of the network, in order.
        images: float32 [N, height, width, 3], normalised; all maps of a layer are in memory.
        keep_float: so many units stay as they are, those that lose most by themselves.

    Raises:
        CheckError: the network makes numbers of these images that are not finite.
    """
    with new_graph().as_default() as graph:
        tf.import_graph_def(network, name="")
    with new_session(graph, rewrite=False) as session:
        return _quantised(session, units, images, keep_float)


def _quantised(
    session: tf.Session, units: Sequence[Unit], images: np.ndarray, keep_float: int
) -> Quantised:
    maps = _Maps(session, units, images)
    tensors = _tensors(units, *maps.ranges())
    noise = {}
    if keep_float:
        with Progress(len(units), "measuring", "layers") as progress:
            for unit in units:
                noise[unit.name] = _noise(unit, tensors, maps)
                progress.advance()
        maps.forget()
    kept = sorted(noise, key=noise.get, reverse=True)[:keep_float]
    rounded = _Maps(session, units, images)
    kernels = {}
    with Progress(len(units), "calibrating", "layers") as progress:
        for unit in units:
            wanted = maps.result(unit)
            if unit.name in kept:
                made = rounded.result(unit)
            else:
                kernels[unit.name], made = _corrected(unit, tensors, rounded, wanted)
            maps.put(unit, wanted)
            rounded.put(unit, made)
            progress.advance()
    return Quantised(tensors, kernels, noise)


class _Maps:
    """The network's maps of all images, layer after layer, by feeding those that are known.

    One is forgotten when no unit takes it any more.
    """

    def __init__(self, session: tf.Session, units: Sequence[Unit], images: np.ndarray):
        self._session = session
        self._units = units
        self._images = images
        self.forget()

    def forget(self) -> None:
        """Begin again with the images alone."""
        self._known = {NETWORK_INPUT: self._images}
        self._left = Counter(name for unit in self._units for name in unit.inputs)

    def ranges(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The least and the largest value of each channel of what units take and make."""
        graph = self._session.graph
        names = sorted({name for unit in self._units for name in (*unit.inputs, unit.result)})
        with graph.as_default():
            tensors = [graph.get_tensor_by_name(f"{name}:0") for name in names]
            wanted = [tf.reduce_min(tensor, axis=[0, 1, 2]) for tensor in tensors]
            wanted += [tf.reduce_max(tensor, axis=[0, 1, 2]) for tensor in tensors]
        found = []
        with Progress(len(self._images), "measuring", "images") as progress:
            for start in range(0, len(self._images), _BATCH):
                batch = self._images[start : start + _BATCH]
                found.append(self._session.run(wanted, {f"{NETWORK_INPUT}:0": batch}))
                progress.advance(len(batch))
        lows = [np.min(values, axis=0) for values in list(zip(*found, strict=True))[: len(names)]]
        highs = [np.max(values, axis=0) for values in list(zip(*found, strict=True))[len(names) :]]
        if not np.isfinite(np.concatenate([*lows, *highs])).all():
            raise CheckError("makes NaN or infinity of the images; use another checkpoint")
        return dict(zip(names, lows, strict=True)), dict(zip(names, highs, strict=True))

    def taken(self, name: str) -> np.ndarray:
        """A map that a unit takes; what no unit makes is computed from what is known."""
        if name not in self._known:
            self._known[name] = self._run(name, self._known)
        return self._known[name]

    def result(self, unit: Unit) -> np.ndarray:
        """What a unit makes of the known maps, in float32."""
        return self._run(unit.result, {name: self.taken(name) for name in unit.inputs})

    def total(
        self, unit: Unit, inputs: dict[str, np.ndarray], kernel: np.ndarray, bias: np.ndarray
    ) -> np.ndarray:
        """What a unit with these weights makes of these maps, before its ReLU."""
        return self._run(unit.total, inputs, dict(zip(unit.constants, (kernel, bias), strict=True)))

    def put(self, unit: Unit, made: np.ndarray) -> None:
        """Go on behind a unit."""
        for name in unit.inputs:
            self._left[name] -= 1
            if not self._left[name]:
                del self._known[name]
        if self._left[unit.result]:
            self._known[unit.result] = made

    def _run(self, name: str, maps: dict, weights: dict | None = None) -> np.ndarray:
        made = []
        for start in range(0, len(self._images), _BATCH):
            fed = {f"{known}:0": value[start : start + _BATCH] for known, value in maps.items()}
            fed |= {f"{constant}:0": value for constant, value in (weights or {}).items()}
            made.append(self._session.run(f"{name}:0", fed))
        return np.concatenate(made)


def _tensors(units: Sequence[Unit], lows: dict, highs: dict) -> dict[str, Tensor]:
    """Scales, alike where tensors are added; offsets, of shortcuts; ranges."""
    shortcuts = {unit.result for unit in units if not unit.relu}
    offsets = {
        name: -low if name in shortcuts else np.zeros_like(low) for name, low in lows.items()
    }
    widths = {name: np.maximum(highs[name] + offset, 0) for name, offset in offsets.items()}
    groups = scale_groups(units)
    widest: dict[str, np.ndarray] = {}
    for name, group in groups.items():
        widest[group] = np.maximum(widest.get(group, 0), widths[name])
    tensors = {}
    for name, group in groups.items():
        width = widest[group]
        evened = np.maximum(width / max(width.max(), 1e-30), _LEAST) ** _EVENED
        scale = evened.astype(np.float32)
        largest = max(float((widths[name] / scale).max()) * _HEADROOM, 1e-6)
        tensors[name] = Tensor(scale, offsets[name].astype(np.float32), largest)
    return tensors


def rounded_to(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """The nearest values that a map's whole numbers can mean."""
    step = np.float32(tensor.largest / _LEVELS) * tensor.scale
    whole = np.clip(np.rint((values + tensor.offset) / step), 0, _LEVELS)
    return whole * step - tensor.offset


def _rounded_kernel(unit: Unit, tensors: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of scaled maps in whole numbers, and what 127 stands for, by channel."""
    given = tensors[unit.given].scale[:, None]
    scaled = unit.kernel * given / tensors[unit.result].scale
    largest = np.maximum(np.abs(scaled).max(axis=(0, 1, 2)), 1e-30).astype(np.float32)
    return np.rint(scaled / largest * _WEIGHT).astype(np.int8), largest


def _meant(unit: Unit, tensors: dict, values: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The kernel of maps as they are that whole numbers mean."""
    scaled = values * (largest / _WEIGHT)
    given = tensors[unit.given].scale[:, None]
    return (scaled / given * tensors[unit.result].scale).astype(np.float32)


def _noise(unit: Unit, tensors: dict[str, Tensor], maps: _Maps) -> float:
    """Mean square of a unit's own error, of exact maps, over that of its result."""
    wanted = maps.result(unit)
    kernel = _meant(unit, tensors, *_rounded_kernel(unit, tensors))
    inputs = {name: rounded_to(tensors[name], maps.taken(name)) for name in unit.inputs}
    made = rounded_to(tensors[unit.result], maps.total(unit, inputs, kernel, unit.bias))
    maps.put(unit, wanted)
    return float(np.square(made - wanted).mean() / max(np.square(wanted).mean(), 1e-30))


def _corrected(
    unit: Unit, tensors: dict[str, Tensor], maps: _Maps, wanted: np.ndarray
) -> tuple[Kernel, np.ndarray]:
    """A unit in eight bits, its bias corrected so that the channels' means are those wanted.

    Returns:
        the kernel, and what it makes of the maps so far.
    """
    values, largest = _rounded_kernel(unit, tensors)
    kernel = _meant(unit, tensors, values, largest)
    inputs = {name: rounded_to(tensors[name], maps.taken(name)) for name in unit.inputs}
    total = maps.total(unit, inputs, kernel, unit.bias)
    result = tensors[unit.result]
    error = (rounded_to(result, total) - wanted).mean(axis=(0, 1, 2))
    bias = unit.bias - error + result.offset
    if unit.summand:
        bias = bias - tensors[unit.summand].offset
    made = rounded_to(result, total - error)
    return Kernel(values, largest, (bias / result.scale).astype(np.float32)), made
