"""Image files read: ahead of a step by `tf.data`, or one by one."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data.images import augment, decode, resize
from mgn.data.sampling import Share, shared_batches
from mgn.system.errors import InputError
from mgn.system.progress import Progress
from mgn.system.session import new_session

_READ_AT_ONCE = 64  # images, when all are read ahead
READERS = 4  # threads that decode


def training_dataset(
    config: TrainConfig,
    paths: Sequence[str],
    labels: np.ndarray,
    start: int,
    stop: int,
    cached: np.ndarray | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop` - 1; a step's batch does not depend on where training started.

    Args:
        config: hyper-parameters.
        paths: image files.
        labels: int64 [N], 0 to C-1.
        start: first step.
        stop: one more than the last step.
        cached: of `read_all`; None: read each file when it is needed.
        share: the replicas to make batches for, one after the other; None: there is one.

    Returns:
        a dataset of (images float32 [B, height, width, 3] normalised, labels int64 [B], indices
        int64 [B]).
    """
    size = config.height, config.width, 3
    all_paths, all_labels = tf.constant(list(paths)), tf.constant(labels)

    def elements() -> Iterator[tuple]:
        for indices, seeds in shared_batches(config, labels, start, stop, share or Share()):
            kept = (
                np.empty((len(indices), 0, 0, 3), np.uint8) if cached is None else cached[indices]
            )
            yield indices, seeds, kept

    def load(index_seed_and_image: tuple) -> tf.Tensor:
        index, seed, image = index_seed_and_image
        if cached is None:
            image = _read(tf.gather(all_paths, index), config)
        return augment(
            tf.ensure_shape(image, size), seed, config.random_erasing, config.crop_padding
        )

    def load_batch(indices: tf.Tensor, seeds: tf.Tensor, kept: tf.Tensor) -> tuple:
        images = tf.map_fn(load, (indices, seeds, kept), fn_output_signature=tf.float32)
        return tf.ensure_shape(images, [None, *size]), tf.gather(all_labels, indices), indices

    signature = (
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None, 2], tf.int64),
        tf.TensorSpec([None, None, None, 3], tf.uint8),
    )
    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    parallel = tf.data.experimental.AUTOTUNE
    return dataset.map(load_batch, num_parallel_calls=parallel).prefetch(parallel)


def read_all(config: TrainConfig, paths: Sequence[str]) -> np.ndarray:
    """Every image as a step would read it: uint8 [N, height, width, 3]."""
    images = np.empty((len(paths), config.height, config.width, 3), np.uint8)
    with tf.Graph().as_default() as graph:
        dataset = tf.data.Dataset.from_tensor_slices(list(paths))
        parallel = tf.data.experimental.AUTOTUNE
        read = dataset.map(lambda path: _read(path, config), num_parallel_calls=parallel)
        following = tf.data.make_one_shot_iterator(read.batch(_READ_AT_ONCE).prefetch(1)).get_next()
    with new_session(graph) as session, Progress(len(paths), "reading", "images") as progress:
        for start in range(0, len(paths), _READ_AT_ONCE):
            batch = session.run(following)
            images[start : start + len(batch)] = batch
            progress.advance(len(batch))
    return images


def _read(path: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """A file as uint8 [height, width, 3]: whole grey levels, as Pillow's resize leaves them."""
    image = resize(decode(tf.io.read_file(path)), config.height, config.width)
    return tf.cast(tf.round(image), tf.uint8)


class ImageReader:
    """Reads image files outside of any graph; safe to call from several threads."""

    def __init__(self):
        with tf.Graph().as_default() as graph:
            self._contents = tf.placeholder(tf.string, [])
            self._image = decode(self._contents)
        self._session = new_session(graph)

    def __call__(self, path: str | Path) -> np.ndarray:
        """Read one file to uint8 RGB [H, W, 3].

        Raises:
            InputError: not there, or not a whole JPEG, PNG or BMP; the file is named.
        """
        try:
            return self._session.run(self._image, {self._contents: Path(path).read_bytes()})
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except tf.errors.OpError:
            raise InputError(
                f"{path}: not a whole JPEG, PNG or BMP image; mend or remove it"
            ) from None

    def close(self) -> None:
        """Free the session."""
        self._session.close()


def check_readable(paths: Sequence[str]) -> None:
    """Decode each file once.

    Raises:
        InputError: some cannot be read; the first is named.
    """

    def fault(path: str) -> str | None:
        try:
            read(path)
        except InputError as error:
            return str(error)

    faults, threads = [], ThreadPoolExecutor(READERS)
    with (
        closing(ImageReader()) as read,
        threads,
        Progress(len(paths), "checking", "images") as progress,
    ):
        for found in threads.map(fault, paths):
            faults += [found] if found else []
            progress.advance()
    if faults:
        more = (
            f" ({len(faults) - 1} more: python -m mgn.doctor lists them)" if len(faults) > 1 else ""
        )
        raise InputError(faults[0] + more)
