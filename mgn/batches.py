"""The input pipeline: picture files to normalised, augmented P×K batches, ready ahead of the step."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.data import pk_batches, steps_per_epoch
from mgn.images import augment, decode, normalise, resize


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


def training_dataset(
    config: TrainConfig, paths: Sequence[str], labels: np.ndarray, start: int, stop: int
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop` - 1; a step's batch does not depend on where training started.

    Returns:
        a dataset of (images float32 [B, height, width, 3] normalised, labels int64 [B], indices int64 [B]).
    """

    def indices_and_seeds():
        for batch, epoch, place in training_batches(config, labels, start, stop):
            places = np.arange(place, place + len(batch))
            yield batch, np.stack([np.full(len(batch), config.seed), epoch * 2**32 + places], axis=1)

    all_paths, all_labels = tf.constant(list(paths)), tf.constant(labels)

    def load(index_and_seed):
        index, seed = index_and_seed
        picture = decode(tf.io.read_file(tf.gather(all_paths, index)))
        return augment(normalise(resize(picture, config.height, config.width)), seed, config.random_erasing)

    def load_batch(indices, seeds):
        images = tf.map_fn(load, (indices, seeds), fn_output_signature=tf.float32)
        images.set_shape([None, config.height, config.width, 3])
        return images, tf.gather(all_labels, indices), indices

    signature = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2], tf.int64)
    dataset = tf.data.Dataset.from_generator(indices_and_seeds, output_signature=signature)
    parallel = tf.data.experimental.AUTOTUNE
    return dataset.map(load_batch, num_parallel_calls=parallel).prefetch(parallel)
