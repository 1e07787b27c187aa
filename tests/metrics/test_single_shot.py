"""Oracle: every possible gallery, by plain loops; the mean of many draws comes near."""

import itertools

import numpy as np
import pytest

from mgn.metrics import evaluate
from mgn.metrics.single_shot import random_gallery, single_gallery_shot
from mgn.system.errors import InputError

IDS, CAMERAS = np.repeat([1, 2, 3, 4], 4), np.tile([1, 1, 2, 2], 4)


@pytest.fixture
def features():
    """Of four identities, four images each, blurred so that ranks vary."""
    rng = np.random.default_rng(0)
    return (np.eye(4)[IDS - 1] + rng.normal(0, 0.7, (16, 4))).astype(np.float32)


def every_gallery(features, queries, entries_of):
    """Mean reciprocal rank and rank@1 of each query over all choices of one image an identity."""
    precisions, firsts = [], []
    for query in queries:
        choices = [entries_of(query, who) for who in (1, 2, 3, 4)]
        found = []
        for gallery in itertools.product(*choices):
            near = [float(((features[query] - features[i]) ** 2).sum()) for i in gallery]
            found.append(sorted(near).index(near[IDS[query] - 1]))
        precisions.append(np.mean([1 / (rank + 1) for rank in found]))
        firsts.append(np.mean([rank == 0 for rank in found]))
    return np.mean(precisions), np.mean(firsts)


def test_single_gallery_shot(features):
    def entries_of(query, who):
        other = CAMERAS[query] != CAMERAS if who == IDS[query] else True
        return np.flatnonzero((who == IDS) & other)

    expected = every_gallery(features, range(16), entries_of)
    got = single_gallery_shot(features, features, IDS, IDS, CAMERAS, CAMERAS, draws=4000)
    assert (got.draws, got.identities) == (4000, 4)
    assert 0.2 < expected[1] < 0.9  # else it would be no test
    np.testing.assert_allclose((got.mAP, got.cmc[0]), expected, atol=0.01)
    assert got.cmc[3] == 1.0 and 0 < got.spread < 0.2
    again = single_gallery_shot(features, features, IDS, IDS, CAMERAS, CAMERAS, draws=4000)
    assert again.summary() == got.summary()


def test_one_gallery_image_of_each_identity_leaves_nothing_to_draw(features):
    query, gallery = CAMERAS == 1, np.arange(16) % 4 == 2
    given = features[query], features[gallery], IDS[query], IDS[gallery]
    given = *given, CAMERAS[query], CAMERAS[gallery]
    expected = evaluate(*given)
    got = single_gallery_shot(*given, draws=3)
    assert got.mAP == pytest.approx(expected.mAP) and got.spread == 0
    np.testing.assert_allclose(got.cmc, expected.cmc)


def test_fewer_identities_are_easier_and_nobody_is_not_drawn(features):
    ids = np.where(IDS == 4, -1, np.where(IDS == 3, 0, IDS))
    labels = ids, ids, CAMERAS, CAMERAS
    assert single_gallery_shot(features, features, *labels, draws=5).identities == 2
    one = single_gallery_shot(features, features, *labels, identities=1, draws=5)
    assert (one.identities, one.cmc[0], one.mAP) == (1, 1.0, 1.0)
    with pytest.raises(InputError, match="no query person is in the gallery under another camera"):
        single_gallery_shot(features, features, IDS, IDS, np.ones(16), np.ones(16))


def test_random_gallery(features):
    def entries_of(query, who):
        return np.flatnonzero((who == IDS) & (np.arange(16) != query))

    # Each image is a query in three of four draws, and any other of its identity the match.
    expected = every_gallery(features, range(16), entries_of)
    got = random_gallery(features, IDS, draws=4000)
    assert got.identities == 4
    np.testing.assert_allclose((got.mAP, got.cmc[0]), expected, atol=0.01)
    with pytest.raises(InputError, match="no identity has two images"):
        random_gallery(features[::4], IDS[::4])
