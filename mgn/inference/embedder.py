"""Any model file as `embed(images)`."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.config.options import EXPORT_MAX_PIXELS
from mgn.config.variants import HEIGHT, MEAN, STD, WIDTH, kept
from mgn.data.images import normalise, resize
from mgn.inference.exported import (
    METADATA,
    load_saved_model,
    metadata_of,
    read_graph_def,
    saved_model_folder,
    session_of,
)
from mgn.inference.given import checked
from mgn.inference.graph import IMAGE_TENSOR, ORIGINAL, OUTPUTS, PLAIN, PRE_POST, WHOLE, build
from mgn.inference.memory import give_back
from mgn.network.architecture import inference_network
from mgn.system.errors import ImageError, InputError
from mgn.system.forks import check_process, claim_process
from mgn.system.session import new_graph, new_session
from mgn.weights import checkpoints

_BATCH = 32  # images a forward, when a caller gives many


class Embedder:
    """A loaded model as a function of images, the same whatever kind of file it came from.

    A graph that takes encoded images gets them as PNG, which loses nothing. `session` holds the
    model, `input` and `result` are its tensors, `form` is "plain" or "pre_post", `reduced` whether
    it gives smaller vectors. Several threads may share one, but no processes, see `forks`.
    """

    def __init__(
        self,
        session: tf.Session,
        where: Path,
        served: tuple[str, str] | None = None,
        options: NetworkOptions | None = None,
    ):
        """Take a session on a graph with the contract's names.

        Args:
            session: that holds the model; closed on an error.
            where: its file, for errors.
            served: names of the two tensors, where a signature has others.
            options: of the network; None: what the graph says of itself.

        Raises:
            InputError: not such a graph.
            RuntimeError: as `forks.check_process`.
        """
        claim_process()
        graph = session.graph
        names = {operation.name for operation in graph.get_operations()}
        self.form = PRE_POST if OUTPUTS[PRE_POST] in names else PLAIN
        original = ORIGINAL if self.form == PRE_POST else OUTPUTS[PLAIN]
        missing = sorted({IMAGE_TENSOR, original} - names)
        if missing:
            session.close()
            lacking = " and no ".join(missing)
            raise InputError(f"{where}: has no tensor {lacking}; name an export of MGN")
        self.session = session
        given, result = served or (f"{IMAGE_TENSOR}:0", f"{OUTPUTS[self.form]}:0")
        self.input = graph.get_tensor_by_name(given)
        self.result = graph.get_tensor_by_name(result)
        self.reduced = WHOLE in names
        self._whole = graph.get_tensor_by_name(f"{WHOLE}:0") if self.reduced else None
        if self.form == PRE_POST:
            self._original = graph.get_tensor_by_name(f"{ORIGINAL}:0")
            return
        self._original = self._whole if self.reduced else self.result
        shape = self.input.shape.as_list()
        mean, std = (options.mean, options.std) if options else _pixels_of(graph)
        with graph.as_default():
            self._image = tf.placeholder(tf.uint8, [None, None, 3])
            resized = resize(self._image, shape[1] or HEIGHT, shape[2] or WIDTH)
            self._prepared = normalise(resized, mean, std)

    def __call__(self, images: Sequence[np.ndarray], flip: bool = True) -> np.ndarray:
        """Embed images, uint8 RGB [H, W, 3] of any sizes: float32 [N, 2048], of length 1.

        With `flip`, the embedding of the mirror image is added before normalising. A graph that
        gives smaller vectors makes them of that sum, whatever its form: float32 [N, `size`].

        Raises:
            ImageError: one is something else (see `given.checked`), or of a size that the
                graph does not take.
            InputError: not a list of images.
            RuntimeError: the model is closed, or another process's.
        """
        images = checked(images)
        if flip and self.form == PRE_POST:
            return self._each(images, self.result)
        total = self.original(images)
        if flip:
            total = total + self.original([image[:, ::-1] for image in images])
        if self.reduced:
            return self.session.run(self.result, {self._whole: total})
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)

    def original(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The network's own embedding, neither mirrored nor normalised: float32 [N, 2048]."""
        return self._each(images, self._original)

    def _each(self, images: Sequence[np.ndarray], output: tf.Tensor) -> np.ndarray:
        prepared = self.prepare(images)
        # A batch holds images of one size. Encoded images all have the shape [].
        by_shape: dict[tuple, list[int]] = {}
        for i, image in enumerate(prepared):
            by_shape.setdefault(image.shape, []).append(i)
        result = np.zeros((len(prepared), output.shape[-1]), np.float32)
        for indices in by_shape.values():
            for start in range(0, len(indices), _BATCH):
                chosen = indices[start : start + _BATCH]
                batch = np.stack([prepared[i] for i in chosen])
                result[chosen] = self.session.run(output, {self.input: batch})
        return result

    def prepare(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Images, uint8 RGB [H, W, 3], as the graph's input takes each of a batch."""
        check_process()
        if self.session is None:
            raise RuntimeError("this model is closed; load it again")
        images = checked(images)
        if self.input.dtype == tf.string:
            return [np.array(_as_png(image, i), object) for i, image in enumerate(images)]
        if self.form == PRE_POST:
            _check_size(images, self.input.shape)
            return [image.astype(self.input.dtype.as_numpy_dtype) for image in images]
        return [self.session.run(self._prepared, {self._image: image}) for image in images]

    def close(self) -> None:
        """Give the memory back to the system. The model cannot be used any more."""
        if self.session is not None:
            self.session.close()
            self.session = self.input = self.result = self._original = self._whole = None
            self._image = self._prepared = None
            give_back()


def _pixels_of(graph: tf.Graph) -> tuple[Sequence[float], Sequence[float]]:
    """The mean and deviation of images that a graph was made for."""
    nodes = [op.node_def for op in graph.get_operations() if op.name == METADATA]
    description = metadata_of(nodes)
    return description.get("mean", MEAN), description.get("std", STD)


def _check_size(images: Sequence[np.ndarray], shape: tf.TensorShape) -> None:
    """Of a graph that was exported for images of one size."""
    for position, image in enumerate(images):
        if not shape[1:].is_compatible_with(image.shape):
            size = "x".join(map(str, image.shape[:2]))
            wanted = f"{shape[1]}x{shape[2]}, its --input_size; resize it"
            raise ImageError(position, f"is {size}, and this model takes {wanted}")


def _as_png(image: np.ndarray, position: int) -> bytes:
    if image.shape[0] * image.shape[1] > EXPORT_MAX_PIXELS:
        raise ImageError(position, f"larger than {EXPORT_MAX_PIXELS} pixels; make it smaller")
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quick)[1].tobytes()


def load_embedder(path: str | Path | checkpoints.Checkpoint, **options: object) -> Embedder:
    """Load a model as `embed(images, flip=True)`.

    Args:
        path: a train_dir, a checkpoint's prefix, a `.pb`, a SavedModel's folder or a folder of
            versions (its newest); or a checkpoint already found.
        options: of the network, for a checkpoint without `.json`.

    Raises:
        InputError: none of these, damaged, or not of this network.
        RuntimeError: this process was forked from one that had used TensorFlow.
    """
    if isinstance(path, checkpoints.Checkpoint):
        return Embedder(session_of_checkpoint(path), path.prefix, options=path.options)
    exported = _exported(Path(path))
    if exported is None:
        return load_embedder(checkpoints.find(path, **options))
    embedder = open_exported(exported)
    if options:
        embedder.close()
        raise InputError(f"{path}: describes itself; leave out --{', --'.join(options)}")
    return embedder


def open_exported(path: Path, rewrite: bool = True) -> Embedder:
    """Load a `.pb` or SavedModel folder; see `session.new_session` for `rewrite`."""
    check_process()
    if path.is_dir():
        return Embedder(*load_saved_model(path, rewrite))
    return Embedder(session_of(read_graph_def(path), path, rewrite), path)


def resolve(path: str | Path) -> str:
    """A train_dir's newest checkpoint as it is now; anything else as it is."""
    return str(checkpoints.newest(Path(path)) or path)


def checkpoint_at(path: str | Path, **options: object) -> checkpoints.Checkpoint | None:
    """The checkpoint that `load_embedder` would load; None for a `.pb` or SavedModel."""
    return None if _exported(Path(path)) else checkpoints.find(path, **options)


def model_hash(path: str | Path, **options: object) -> str:
    """What tells one model's embeddings from another's: a hash of its weights, and its options."""
    exported = _exported(Path(path))
    if exported is None:
        return hash_of(checkpoints.find(path, **options))
    if exported.is_file():
        return checkpoints.sha256(exported)
    files = [exported / "saved_model.pb", *sorted(exported.glob("variables/*"))]
    return " ".join(checkpoints.sha256(file) for file in files)


def hash_of(checkpoint: checkpoints.Checkpoint) -> str:
    """The `model_hash` of a checkpoint that was found."""
    options = ", ".join(f"{n}={value!r}" for n, value in kept(checkpoint.options).items())
    return f"{checkpoints.sha256(checkpoint.prefix)} NetworkOptions({options})"


def _exported(path: Path) -> Path | None:
    """The `.pb` or SavedModel folder that `path` stands for; None: it stands for a checkpoint."""
    if path.suffix == ".pb":
        return path
    return None if checkpoints.newest(path) else saved_model_folder(path)


def session_of_checkpoint(checkpoint: checkpoints.Checkpoint) -> tf.Session:
    """A session on a fresh plain graph, with the checkpoint's weights."""
    check_process()
    checkpoint.check_whole()
    options = checkpoint.options
    with new_graph().as_default() as graph:
        build(PLAIN, options, "float32", lambda x: inference_network(x, options).embedding)
        variables = tf.global_variables()
    session = new_session(graph)
    checkpoints.restore(session, checkpoint, variables)
    return session
