"""Image files read ahead of a step by `tf.data`, or all of them at once."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data.augmentation import augment
from mgn.data.decoding import READERS, read_image
from mgn.data.images import resize
from mgn.data.sampling import Share, shared_batches
from mgn.system.errors import InputError
from mgn.system.progress import Progress
from mgn.system.session import new_graph, new_session

_READ_AT_ONCE = 64  # images, when all are read ahead
_PARALLEL = min(os.cpu_count() or 1, 16)  # batches made at once, each in a thread; or images


def training_dataset(
    config: TrainConfig,
    paths: Sequence[str],
    labels: np.ndarray,
    start: int,
    stop: int,
    cached: np.ndarray | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop` - 1; each is the same wherever training started.

    `labels` are int64 [N], 0 to C-1; `cached` is what `read_all` returned, or None to read a file
    when it is needed; `share` has the replicas to make batches for, one after the other (None:
    there is one).

    Returns:
        a dataset of (images float32 [B, height, width, 3] normalised, labels int64 [B], indices
        int64 [B]).
    """
    size = config.height, config.width, 3
    all_labels = tf.constant(labels)

    def elements() -> Iterator[tuple]:
        for indices, seeds in shared_batches(config, labels, start, stop, share or Share()):
            if cached is None:
                yield indices, seeds, np.empty((len(indices), 0, 0, 3), np.uint8)
            else:
                yield indices, seeds, cached[indices]

    def load(index_seed_and_image: tuple) -> tf.Tensor:
        index, seed, image = index_seed_and_image
        if cached is None:
            image = _read(paths, index, config)
        image = tf.ensure_shape(image, size)
        changes = config.random_erasing, config.crop_padding, config.color_jitter
        return augment(image, seed, *changes, config.mean, config.std)

    def load_batch(indices: tf.Tensor, seeds: tf.Tensor, kept: tf.Tensor) -> tuple:
        images = tf.map_fn(load, (indices, seeds, kept), fn_output_signature=tf.float32)
        return tf.ensure_shape(images, [None, *size]), tf.gather(all_labels, indices), indices

    signature = (
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None, 2], tf.int64),
        tf.TensorSpec([None, None, None, 3], tf.uint8),
    )
    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    return _ahead(dataset.map(load_batch, num_parallel_calls=_PARALLEL))


def read_all(config: TrainConfig, paths: Sequence[str]) -> np.ndarray:
    """Every image as a step would read it: uint8 [N, height, width, 3].

    Raises:
        InputError: one cannot be read; it is named.
    """
    images = np.empty((len(paths), config.height, config.width, 3), np.uint8)
    with new_graph().as_default() as graph:
        dataset = tf.data.Dataset.range(len(paths))
        dataset = dataset.map(lambda i: _read(paths, i, config), num_parallel_calls=_PARALLEL)
        dataset = _ahead(dataset.batch(_READ_AT_ONCE))
        following = tf.data.make_one_shot_iterator(dataset).get_next()
    with new_session(graph) as session, Progress(len(paths), "reading", "images") as progress:
        for start in range(0, len(paths), _READ_AT_ONCE):
            try:
                batch = session.run(following)
            except tf.errors.OpError:
                check_readable(paths)  # TensorFlow does not say which file
                raise
            images[start : start + len(batch)] = batch
            progress.advance(len(batch))
    return images


def _ahead(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset with one more element made ahead, and no thread that tunes it.

    TensorFlow's autotuner sleeps for up to a minute and may miss that a session closes: one in
    five runs of a few steps waited 5 s for it at the end.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(1).with_options(options)


def _read(paths: Sequence[str], index: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """A file as uint8 [height, width, 3]: whole grey levels, as Pillow's resize leaves them.

    It is decoded outside of the graph: TensorFlow's decoder reads the indices of a palette as
    colours, and takes no name that is not UTF-8.
    """

    def decoded(i: int) -> np.ndarray:
        return read_image(paths[i])

    image = tf.numpy_function(decoded, [index], tf.uint8, stateful=False)
    image = resize(tf.ensure_shape(image, [None, None, 3]), config.height, config.width)
    return tf.cast(tf.round(image), tf.uint8)


def check_readable(paths: Sequence[str]) -> None:
    """Decode each file once; `InputError` names the first that cannot be read."""

    def fault(path: str) -> str | None:
        try:
            read_image(path)
        except InputError as error:
            return str(error)

    faults = []
    threads = ThreadPoolExecutor(READERS)
    progress = Progress(len(paths), "checking", "images")
    with threads, progress:
        for found in threads.map(fault, paths):
            faults += [found] if found else []
            progress.advance()
    if len(faults) > 1:
        raise InputError(f"{faults[0]} ({len(faults) - 1} more: python -m mgn.doctor lists them)")
    if faults:
        raise InputError(faults[0])
