"""The input pipeline: picture files to normalised, augmented P×K batches, ready ahead of the step."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data import pk_batches, steps_per_epoch
from mgn.errors import InputError
from mgn.images import augment, decode, resize
from mgn.progress import Progress
from mgn.session import new_session

_READ_AT_ONCE = 64  # pictures, when all are read ahead


class Share(NamedTuple):
    """The replicas `first` to `first + count - 1` of `total`, between which a batch's people are divided."""

    first: int = 0
    count: int = 1
    total: int = 1


def check_divides(config: TrainConfig, num_classes: int, replicas: int) -> None:
    """Raise `InputError` if there is a batch with fewer people than replicas."""
    people = config.batch_ids
    last = num_classes - people * (steps_per_epoch(num_classes, people) - 1)
    if min(people, last) < replicas:
        raise InputError(
            f"--batch_ids {people}: an epoch's last batch has {min(people, last)} people, too few for"
            f" {replicas} replicas; choose another number of people or of replicas"
        )


def training_batches(config: TrainConfig, labels: np.ndarray, start: int, stop: int) -> Iterator[tuple]:
    """Yield (indices int64 [B], epoch, first one's place in the epoch) for steps `start` to `stop` - 1."""
    per_epoch = steps_per_epoch(int(labels.max()) + 1, config.batch_ids)
    for epoch in range(start // per_epoch, -(-stop // per_epoch)):
        batches = pk_batches(labels, config.batch_ids, config.batch_images, config.seed, epoch)
        place = 0
        for i, batch in enumerate(batches):
            if start <= epoch * per_epoch + i < stop:
                yield batch, epoch, place
            place += len(batch)


def shared_batches(
    config: TrainConfig, labels: np.ndarray, start: int, stop: int, share: Share
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (indices int64 [B], seeds int64 [B, 2]): for each step the parts of the replicas in `share`.

    A replica gets whole people. A picture's seed is made of (seed, epoch, place in the epoch) alone, so that
    augmentation depends neither on where training started nor on how many replicas there are.
    """
    for batch, epoch, place in training_batches(config, labels, start, stop):
        places = epoch * 2**32 + np.arange(place, place + len(batch))
        seeds = np.stack([np.full(len(batch), config.seed), places], axis=1)
        people = np.array_split(np.arange(len(batch)).reshape(-1, config.batch_images), share.total)
        for rows in people[share.first : share.first + share.count]:
            yield batch[rows.ravel()], seeds[rows.ravel()]


def training_dataset(
    config: TrainConfig,
    paths: Sequence[str],
    labels: np.ndarray,
    start: int,
    stop: int,
    pictures: np.ndarray | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop` - 1; a step's batch does not depend on where training started.

    Args:
        config: hyper-parameters.
        paths: picture files.
        labels: int64 [N], 0 to C-1.
        start: first step.
        stop: one more than the last step.
        pictures: of `read_all`; None: read each file when it is needed.
        share: the replicas to make batches for, one after the other; None: there is one.

    Returns:
        a dataset of (images float32 [B, height, width, 3] normalised, labels int64 [B], indices int64 [B]).
    """
    size = config.height, config.width, 3
    all_paths, all_labels = tf.constant(list(paths)), tf.constant(labels)

    def elements() -> Iterator[tuple]:
        for indices, seeds in shared_batches(config, labels, start, stop, share or Share()):
            kept = np.empty((len(indices), 0, 0, 3), np.uint8) if pictures is None else pictures[indices]
            yield indices, seeds, kept

    def load(index_seed_and_picture: tuple) -> tf.Tensor:
        index, seed, picture = index_seed_and_picture
        if pictures is None:
            picture = _read(tf.gather(all_paths, index), config)
        return augment(tf.ensure_shape(picture, size), seed, config.random_erasing, config.crop_padding)

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
    """Every picture as a step would read it: uint8 [N, height, width, 3]."""
    pictures = np.empty((len(paths), config.height, config.width, 3), np.uint8)
    with tf.Graph().as_default() as graph:
        dataset = tf.data.Dataset.from_tensor_slices(list(paths))
        parallel = tf.data.experimental.AUTOTUNE
        read = dataset.map(lambda path: _read(path, config), num_parallel_calls=parallel)
        following = tf.data.make_one_shot_iterator(read.batch(_READ_AT_ONCE).prefetch(1)).get_next()
    with new_session(graph) as session, Progress(len(paths), "reading", "pictures") as progress:
        for start in range(0, len(paths), _READ_AT_ONCE):
            batch = session.run(following)
            pictures[start : start + len(batch)] = batch
            progress.advance(len(batch))
    return pictures


def _read(path: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """A file as uint8 [height, width, 3]: whole grey levels, as Pillow's resize leaves them."""
    picture = resize(decode(tf.io.read_file(path)), config.height, config.width)
    return tf.cast(tf.round(picture), tf.uint8)
