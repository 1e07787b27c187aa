"""Labels and P×K batches."""

import numpy as np
import pytest

from mgn.data import sampling


def test_labels_follow_the_sorted_identities():
    assert sampling.labels_of([7, 2, 1500, 2]).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("identities", "ids"), [(24, 8), (10, 4), (9, 4), (5, 4), (3, 8), (2, 2), (751, 16)]
)
def test_batches_hold_every_person_once_with_k_images(identities, ids):
    rng = np.random.default_rng(identities)
    labels = rng.permutation(np.repeat(np.arange(identities), rng.integers(1, 9, identities)))
    batches = sampling.pk_batches(labels, ids, 4, seed=3, epoch=5)
    assert len(batches) == sampling.steps_per_epoch(identities, ids)
    seen = []
    for batch in batches:
        rows = batch.reshape(-1, 4)
        assert 2 <= len(rows) <= ids + 1
        for row in rows:
            (person,) = set(labels[row])
            available = np.sum(labels == person)
            assert len(set(row)) == min(4, available)  # no image twice while there are others
            assert np.unique(row, return_counts=True)[1].max() == -(-4 // min(4, available))
            seen.append(person)
    assert sorted(seen) == list(range(identities))


def test_market_1501_has_47_steps_an_epoch():
    assert sampling.steps_per_epoch(751, 16) == 47  # as MGN-pytorch's 751 identities at P=16


def test_batches_are_a_function_of_seed_and_epoch():
    labels = np.repeat(np.arange(12), 6)
    first, again = (np.concatenate(sampling.pk_batches(labels, 4, 4, 1, 2)) for _ in range(2))
    assert np.array_equal(first, again)
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        other = np.concatenate(sampling.pk_batches(labels, 4, 4, seed, epoch))
        assert not np.array_equal(first, other)
