"""Which images make a batch: labels and P×K batches, pure functions of (seed, epoch)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mgn.config import TrainConfig
from mgn.system.errors import InputError


def labels_of(persons: Sequence[int]) -> np.ndarray:
    """Contiguous int64 labels 0, 1, ... in the order of sorted person numbers (MGN-pytorch's order)."""
    return np.unique(np.asarray(persons), return_inverse=True)[1].astype(np.int64)


def steps_per_epoch(num_classes: int, batch_ids: int) -> int:
    """Batches in one epoch: every person once, P at a time; a last person alone joins the batch before."""
    full, rest = divmod(num_classes, batch_ids)
    return max(full + (rest > 1), 1)


def pk_batches(
    labels: np.ndarray, batch_ids: int, batch_images: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """One epoch of P×K batches: every person once, K images of each.

    Args:
        labels: int64 [N], 0 to C-1.
        batch_ids: P. The last batch holds the identities left over, at least two (a triplet needs a
            negative).
        batch_images: K. Images repeat only where a person has fewer than K.
        seed: with `epoch`, all the randomness there is.
        epoch: counted from 0.

    Returns:
        int64 arrays of indices into `labels`, one a batch, the K images of a person side by side.
    """
    rng = np.random.default_rng((seed, epoch))
    images = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    drawn = [_draw(rng, images[person], batch_images) for person in rng.permutation(len(images))]
    cuts = [batch_ids * (i + 1) for i in range(steps_per_epoch(len(images), batch_ids) - 1)]
    return [
        np.concatenate(drawn[a:b]) for a, b in zip([0, *cuts], [*cuts, len(drawn)], strict=True)
    ]


def _draw(rng: np.random.Generator, images: np.ndarray, count: int) -> np.ndarray:
    """`count` images, each as often as any other (give or take one)."""
    rounds = -(-count // len(images))
    return np.concatenate([rng.permutation(images) for _ in range(rounds)])[:count]


class Share(NamedTuple):
    """The replicas `first` to `first + count - 1` of `total`, between which a batch's identities are divided."""

    first: int = 0
    count: int = 1
    total: int = 1


def check_divides(config: TrainConfig, num_classes: int, replicas: int) -> None:
    """Raise `InputError` if there is a batch with fewer identities than replicas."""
    identities = config.batch_ids
    last = num_classes - identities * (steps_per_epoch(num_classes, identities) - 1)
    if min(identities, last) < replicas:
        raise InputError(
            f"--batch_ids {identities}: an epoch's last batch has {min(identities, last)} identities, too few for"
            f" {replicas} replicas; choose another number of identities or of replicas"
        )


def training_batches(
    config: TrainConfig, labels: np.ndarray, start: int, stop: int
) -> Iterator[tuple]:
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

    A replica gets whole identities. An image's seed is made of (seed, epoch, place in the epoch)
    alone, so that augmentation depends neither on where training started nor on how many replicas
    there are.
    """
    for batch, epoch, place in training_batches(config, labels, start, stop):
        places = epoch * 2**32 + np.arange(place, place + len(batch))
        seeds = np.stack([np.full(len(batch), config.seed), places], axis=1)
        identities = np.array_split(
            np.arange(len(batch)).reshape(-1, config.batch_images), share.total
        )
        for rows in identities[share.first : share.first + share.count]:
            yield batch[rows.ravel()], seeds[rows.ravel()]


def planned_steps(config: TrainConfig, num_classes: int) -> int:
    """Steps of the whole run: the epochs, or `max_steps` if that is less."""
    steps = config.epochs * steps_per_epoch(num_classes, config.batch_ids)
    return min(steps, config.max_steps or steps)
