"""doc/migration.md: the permutation it gives for old vectors."""

import numpy as np
from blocks import marked

from mgn.network import HEADS

OLD = [
    "fg_p1",
    "fg_p2",
    "f0_p2",
    "f1_p2",
    "fg_p3",
    "f0_p3",
    "f1_p3",
    "f2_p3",
]  # the reproduced repository's


def test_old_vectors_come_into_the_new_order():
    (block,) = marked("old vectors")
    old = np.repeat([OLD, OLD], 256, axis=1)
    names = {"old": old}
    exec(block.text.strip(), names)
    assert names["new"].tolist() == [np.repeat([head.name for head in HEADS], 256).tolist()] * 2
