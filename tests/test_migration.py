"""doc/migration.md: the permutation it gives for old vectors."""

import re
from pathlib import Path

import numpy as np

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
    text = (Path(__file__).parent.parent / "doc" / "migration.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ +(new = .*)$", text, re.MULTILINE)
    old = np.repeat([OLD, OLD], 256, axis=1)
    names = {"old": old}
    exec(line, names)
    assert names["new"].tolist() == [np.repeat([head.name for head in HEADS], 256).tolist()] * 2
