"""The alarm on losses that were recorded: it sounds in runs that collapse, and in no other."""

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import REFERENCE

from mgn.config import TrainConfig
from mgn.training.collapse import Collapse

RECORDED = REFERENCE / "recorded_losses.npz"  # its origin is in the README there
FINE = {"cross_entropy": 1.0, "triplet_weight": 1.0, "hardest_negative": 5.0}


def warnings_of(caplog, steps, num_classes, per_epoch, **options):
    """(step, text) of each warning, over the figures of these steps."""
    caplog.set_level(logging.WARNING)
    alarm = Collapse(TrainConfig(**options), num_classes, per_epoch)
    told = []
    for step, figures in enumerate(steps, start=1):
        caplog.clear()
        alarm.after_step(step, SimpleNamespace(figures={**FINE, **figures}), False)
        told += [(step, record.getMessage()) for record in caplog.records]
    return told


def recorded(name):
    """The figures of each step, and (identities, steps of an epoch, margin)."""
    rows = np.load(RECORDED)[name]
    *_, classes, per_epoch, margin = rows[0].tolist()
    names = ("cross_entropy", "triplet_weight", "hardest_negative")
    steps = [dict(zip(names, row[:3].tolist(), strict=True)) for row in rows[1:]]
    return steps, int(classes), int(per_epoch), margin


@pytest.mark.parametrize(
    ("name", "earliest", "latest"), [("collapse_700", 150, 230), ("collapse_700_later", 530, 570)]
)
def test_a_real_collapse_is_told_once_with_advice(caplog, name, earliest, latest):
    """The distances vanish between steps 125 and 200; in the other run between 490 and 550."""
    steps, classes, per_epoch, margin = recorded(name)
    told = warnings_of(caplog, steps, classes, per_epoch, margin=margin)
    assert len(told) == 1
    step, text = told[0]
    print(step, text)
    assert earliest <= step <= latest
    assert "embeddings have become alike" in text
    for option in ("--learning_rate", "--warmup_steps", "--triplet_start_step", "--margin none"):
        assert option in text


@pytest.mark.parametrize("name", ["learns_700", "learns_40"])
def test_runs_that_learn_are_left_alone(caplog, name):
    """Among them long stretches with a cross-entropy of ln(700), and a triplet at its margin."""
    steps, classes, per_epoch, margin = recorded(name)
    assert not warnings_of(caplog, steps, classes, per_epoch, margin=margin)


def test_the_soft_margin_has_no_margin_to_advise(caplog):
    steps = [{"hardest_negative": 0.01}] * 60
    ((step, text),) = warnings_of(caplog, steps, 40, 5, margin=None)
    assert step == 50 and "--margin" not in text


def test_before_the_triplet_joins_near_embeddings_are_no_collapse(caplog):
    steps = [{"hardest_negative": 0.0, "triplet_weight": 0.0}] * 200
    assert not warnings_of(caplog, steps, 40, 5)


@pytest.mark.parametrize(("per_epoch", "warmup", "expected"), [(5, 0, 350), (50, 100, 1150)])
def test_a_classifier_that_still_guesses_is_told_once(caplog, per_epoch, warmup, expected):
    """After 20 epochs and 300 steps at least, and the warm-up; then a window of 50 steps."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 2000)
    steps = [{"cross_entropy": math.log(40) + value} for value in noise]
    told = warnings_of(caplog, steps, 40, per_epoch, warmup_steps=warmup)
    assert [step for step, _ in told] == [expected]
    assert "the classifier guesses" in told[0][1] and "3.69" in told[0][1]


def test_a_classifier_that_learns_slowly_is_left_alone(caplog):
    steps = [{"cross_entropy": math.log(40) * 0.97}] * 1000
    assert not warnings_of(caplog, steps, 40, 5)
