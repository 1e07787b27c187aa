"""Which images make a batch: labels and P×K batches, pure functions of (seed, epoch)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mgn.config import TrainConfig
from mgn.system.errors import InputError


def labels_of(persons: Sequence[int]) -> np.ndarray:
    """Contiguous int64 labels 0, 1, ... in the order of sorted identities, as in MGN-pytorch."""
    return np.unique(np.asarray(persons), return_inverse=True)[1].astype(np.int64)


def steps_per_epoch(num_classes: int, batch_ids: int) -> int:
    """Batches of an epoch: every identity once, P a batch. One left over joins the batch before."""
    full, rest = divmod(num_classes, batch_ids)
    return max(full + (rest > 1), 1)


def planned_steps(config: TrainConfig, num_classes: int) -> int:
    """Steps of the whole run: the epochs, or `max_steps` if that is less."""
    steps = config.epochs * steps_per_epoch(num_classes, config.batch_ids)
    return min(steps, config.max_steps or steps)


def pk_batches(
    labels: np.ndarray, batch_ids: int, batch_images: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """One epoch of P×K batches: every identity once, K images of each.

    Args:
        labels: int64 [N], 0 to C-1.
        batch_ids: P. The last batch holds the identities left over, at least two (a triplet needs
            a negative).
        batch_images: K. Images repeat only where an identity has fewer than K.
        seed: with `epoch`, all the randomness there is.
        epoch: counted from 0.

    Returns:
        int64 arrays of indices into `labels`, one a batch, an identity's K images side by side.
    """
    rng = np.random.default_rng((seed, epoch))
    # The images of each identity, in the order of `labels`.
    by_label = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels))
    images = np.split(by_label, ends[:-1])
    # K images of each, in random order.
    drawn = [_draw(rng, images[label], batch_images) for label in rng.permutation(len(images))]
    # P identities a batch; the last batch takes all that are left.
    last = steps_per_epoch(len(images), batch_ids) - 1
    groups = [drawn[batch_ids * step : batch_ids * (step + 1)] for step in range(last)]
    groups.append(drawn[batch_ids * last :])
    return [np.concatenate(group) for group in groups]


def _draw(rng: np.random.Generator, images: np.ndarray, count: int) -> np.ndarray:
    """`count` images, each as often as any other (give or take one)."""
    rounds = -(-count // len(images))
    return np.concatenate([rng.permutation(images) for _ in range(rounds)])[:count]


class Share(NamedTuple):
    """Replicas `first` to `first + count - 1` of the `total` that divide a batch's identities."""

    first: int = 0
    count: int = 1
    total: int = 1


def check_divides(config: TrainConfig, num_classes: int, replicas: int) -> None:
    """Raise `InputError` if there is a batch with fewer identities than replicas."""
    earlier = config.batch_ids * (steps_per_epoch(num_classes, config.batch_ids) - 1)
    fewest = min(config.batch_ids, num_classes - earlier)
    if fewest < replicas:
        raise InputError(
            f"--batch_ids {config.batch_ids}: an epoch's last batch has {fewest} identities, too"
            f" few for {replicas} replicas; change --batch_ids or --replicas"
        )


def shared_batches(
    config: TrainConfig, labels: np.ndarray, start: int, stop: int, share: Share
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (indices int64 [B], seeds int64 [B, 2]) of each replica in `share`, step by step.

    The steps are `start` to `stop` - 1. A replica gets whole identities. An image's seed is made
    of (seed, epoch, place in the epoch) alone, so that augmentation depends neither on where
    training started nor on how many replicas there are.
    """
    per_epoch = steps_per_epoch(int(labels.max()) + 1, config.batch_ids)
    for epoch in range(start // per_epoch, -(-stop // per_epoch)):
        batches = pk_batches(labels, config.batch_ids, config.batch_images, config.seed, epoch)
        place = 0  # in the epoch, of a batch's first image
        for step, batch in enumerate(batches, epoch * per_epoch):
            if start <= step < stop:
                places = epoch * 2**32 + np.arange(place, place + len(batch))
                seeds = np.stack([np.full(len(batch), config.seed), places], axis=1)
                # One row an identity; each replica gets a run of whole rows.
                by_identity = np.arange(len(batch)).reshape(-1, config.batch_images)
                parts = np.array_split(by_identity, share.total)
                for part in parts[share.first : share.first + share.count]:
                    rows = part.ravel()
                    yield batch[rows], seeds[rows]
            place += len(batch)
