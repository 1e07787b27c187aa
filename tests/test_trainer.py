"""The plan of a run, counted by hand."""

import dataclasses

import pytest

from mgn.config import RECIPES
from mgn.data import read_split
from mgn.errors import InputError
from mgn.trainer import Trainer


def test_the_plan_counts_steps_pictures_and_passes(dataset, tmp_path):
    config = dataclasses.replace(RECIPES["scratch"], batch_ids=3, batch_images=2, epochs=10, milestones=(6,))
    plan = Trainer(config, read_split(dataset, "train"), tmp_path).plan()
    assert "8 people, 48 pictures (0 junk and 1 other files left out)" in plan
    # 8 people, 3 at a time, are 3 steps; 10 epochs of 8 x 2 pictures are 160, of 48
    assert "30 steps of 3 people x 2 pictures" in plan and "every person once, is 3 steps" in plan
    assert "160 pictures in all, 3.3 passes over the set; learning rate: x0.1 after steps 18\n" in plan


def test_one_person_is_refused(dataset, tmp_path):
    split = read_split(dataset, "train")
    split = dataclasses.replace(split, records=tuple(r for r in split.records if r.person == 3))
    with pytest.raises(InputError, match="one person only"):
        Trainer(RECIPES["scratch"], split, tmp_path)
