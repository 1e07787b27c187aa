"""The proof of a conversion: the same images through PyTorch's network and TensorFlow's."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
import torch

from mgn.config import NetworkOptions
from mgn.conversion.torch_mgn import TorchMGN
from mgn.data.demo import draw_image
from mgn.data.images import normalise, resize
from mgn.network.architecture import HEADS, inference_network
from mgn.system.errors import CheckError
from mgn.system.session import new_graph

_TINY = 1e-30  # for a head that is 0 everywhere
_TOLERANCE = 1e-4  # largest difference over largest value
IMAGES = "images"  # float32 [N, height, width, 3], normalised


class Difference(NamedTuple):
    """Of one head: the largest difference over the largest value; None: it has no classifier."""

    feature: float
    logits: float | None


def build_graph(options: NetworkOptions) -> tuple[tf.Graph, list[tf.Variable]]:
    """The network for inference, with names for `compare`; and its variables."""
    with new_graph().as_default() as graph:
        raw_images = tf.placeholder(tf.uint8, [None, None, None, 3], name="raw_images")
        images = normalise(
            resize(raw_images, options.height, options.width), options.mean, options.std
        )
        images = tf.identity(images, IMAGES)
        images.set_shape([None, options.height, options.width, 3])
        tf.set_random_seed(0)  # for a variable that a file lacks, as allowed
        outputs = inference_network(images, options, classifiers=True)
        for head, feature in zip(HEADS, outputs.features, strict=True):
            tf.identity(feature, f"feature_{head.name}")
        for head, logits in zip(HEADS, outputs.logits, strict=bool(outputs.logits)):
            tf.identity(logits, f"logits_{head.name}")
        return graph, tf.global_variables()


def compare(
    session: tf.Session, state_dict: Mapping[str, np.ndarray], options: NetworkOptions
) -> dict[str, Difference]:
    """Send two drawn pedestrians through both networks.

    Args:
        session: of `build_graph(options)`, its variables set.
        state_dict: {MGN-pytorch's key: array}, complete; these never went through TensorFlow.
            Counters of batches may be there or not.
        options: of both.

    Returns:
        {head's name: difference}.

    Raises:
        CheckError: a head differs by more than 1e-4 of its largest value.
    """
    raw_images = np.stack([draw_image(0, person, 1, 0) for person in (1, 2)])
    names = [f"feature_{head.name}" for head in HEADS]
    if options.num_classes:
        names += [f"logits_{head.name}" for head in HEADS]

    # The same normalised images through both networks.
    wanted = [f"{name}:0" for name in (IMAGES, *names)]
    images, *ours = session.run(wanted, {"raw_images:0": raw_images})
    with torch.inference_mode():
        network = _torch_network(state_dict, options)
        _, features, logits = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))

    # What each head's outputs differ by; the worst decides.
    found = {}
    for name, own, other in zip(names, ours, (*features, *logits), strict=True):
        found[name] = _relative_difference(own, other.numpy())
    differences = {}
    for head in HEADS:
        of_logits = found.get(f"logits_{head.name}")
        differences[head.name] = Difference(found[f"feature_{head.name}"], of_logits)
    worst = max(found, key=lambda name: np.nan_to_num(found[name], nan=np.inf))
    if not found[worst] <= _TOLERANCE:
        problem = _what_is_wrong(found[worst])
        told = f"{worst}: {problem}; nothing was written"
        raise CheckError(told, differences=record(differences))
    return differences


def _relative_difference(own: np.ndarray, other: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # infinities differ by NaN, which fails
        return float(np.abs(own - other).max() / max(np.abs(other).max(), _TINY))


def _what_is_wrong(difference: float) -> str:
    if np.isfinite(difference):
        return f"differs from PyTorch's by {difference:.1e} of its largest value (report this)"
    reason = "a negative running_var or far too large weights"
    return f"NaN or infinite, though no weight is ({reason}); convert another checkpoint"


def _torch_network(state_dict: Mapping[str, np.ndarray], options: NetworkOptions) -> TorchMGN:
    with torch.device("meta"):  # no memory, no random start: every value is given
        network = TorchMGN(options.num_classes, **options.architecture()).eval()
    given = {}
    for key, value in state_dict.items():
        given[key] = torch.from_numpy(np.asarray(value, np.float32))
    for key in network.state_dict():
        if key.endswith("num_batches_tracked"):
            given[key] = torch.tensor(0)
    network.load_state_dict(given, strict=True, assign=True)
    return network


def table(differences: Mapping[str, Difference]) -> str:
    """A row for each head."""
    rows = [f"{'head':<8}{'feature':>10}{'logits':>10}"]
    for name, (feature, logits) in differences.items():
        of_logits = "-" if logits is None else f"{logits:.1e}"
        rows.append(f"{name:<8}{feature:>10.1e}{of_logits:>10}")
    return "\n".join(rows)


def record(differences: Mapping[str, Difference]) -> dict:
    """The same as JSON values, which know no NaN."""
    made = {}
    for name, found in differences.items():
        made[name] = {}
        for kind, value in found._asdict().items():
            known = value is not None and np.isfinite(value)
            made[name][kind] = value if known else None
    return made


def largest(differences: Mapping[str, Difference]) -> float:
    """The largest of all heads'."""
    features = [found.feature for found in differences.values()]
    logits = [found.logits for found in differences.values() if found.logits is not None]
    return max(features + logits)
