"""The plan of a run, counted by hand; workers that differ; a signal at the end."""

import dataclasses
import errno
import os
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from mgn.config import RECIPES
from mgn.config.settings import RunSettings
from mgn.data.records import read_split
from mgn.system.errors import CheckError, InputError, Stopped
from mgn.training import datasets, trainer
from mgn.training.distribution import one_device
from mgn.training.run import describe
from mgn.training.trainer import Trainer
from mgn.weights.checkpoints import DATA


def begun(dataset, train_dir, step=0, placement=None, **options):
    """A trainer of recipe `scratch` at some step."""
    settings = RunSettings(dataclasses.replace(RECIPES["scratch"], **options), (dataset,))
    return Trainer(settings, read_split(dataset, "train"), train_dir, placement, step)


@pytest.fixture
def graphless(monkeypatch):
    """Trainers made in the test have no graph; returns a function that sets what a step does."""
    acts = {"close": lambda: None, "agreed": lambda _mark: False}
    monkeypatch.setattr(trainer, "Stepper", lambda *_: SimpleNamespace(**acts))
    return acts.update


def test_the_plan_counts_steps_images_and_passes(dataset):
    config = dataclasses.replace(
        RECIPES["scratch"],
        batch_ids=3,
        batch_images=2,
        epochs=10,
        schedule="step",
        milestones=(6,),
        warmup_steps=7,
    )
    data = datasets.read(RunSettings(config, (dataset,)))
    plan = describe(config, data, 1)
    left_out = "0 junk, 0 distractors, 1 other files: 1 hidden"
    counted = f"48 images of 8 identities by 2 cameras (left out: {left_out})"
    assert plan.startswith(f"training set: {counted}\nrecipe")
    # 8 identities, 3 at a time, are 3 steps; 10 epochs of 8 x 2 images are 160, of 48
    assert "30 steps of 3 identities x 2 images" in plan and "every person once, is 3 steps" in plan
    assert (
        "160 images in all, 3.3 passes over the set;"
        " learning rate: 7 steps of warm-up, x0.1 after steps 18\n" in plan
    )
    # 0.75 ln 8
    joins = "joins after 300 steps, once the cross-entropy is below 1.56 (0.75 of guessing's)\n"
    assert joins in plan
    assert "blocks: do not start as the identity (8 identities; from 100 on)\n" in plan
    enough = dataclasses.replace(config, zero_init_identities=8)
    assert "blocks: start as the identity (8 identities; from 8 on)\n" in describe(enough, data, 1)
    asked = dataclasses.replace(config, zero_init_identities=0)
    assert "blocks:" not in describe(asked, data, 1)
    always = dataclasses.replace(config, triplet_start_step=0, triplet_start_loss=0.0)
    assert "joins" not in describe(always, data, 1)


def test_one_person_is_refused(dataset, tmp_path):
    split = read_split(dataset, "train")
    split = dataclasses.replace(split, records=tuple(r for r in split.records if r.person == 3))
    with pytest.raises(InputError, match="has one person"):
        Trainer.fresh(RunSettings(RECIPES["scratch"], (dataset,)), split, tmp_path / "run")


def test_workers_that_were_started_differently_are_refused(dataset, tmp_path, graphless):
    """They would hang at a checkpoint that only one of them writes, or train from two steps."""
    marks = []
    graphless({"agreed": marks.append})  # which returns None: not agreed

    def said_by(step=0, **options):
        cluster = one_device()._replace(addresses=("localhost:1", "localhost:2"))
        one = begun(dataset, tmp_path, step, cluster, **options)
        with pytest.raises(InputError, match=f"at step {step} this worker and the others differ"):
            one.meet()
        one.close()
        return marks.pop()

    assert said_by() == said_by()
    assert len({said_by(), said_by(step=500), said_by(save_every=7), said_by(max_steps=9)}) == 4


@pytest.mark.usefixtures("graphless")
def test_a_signal_while_the_last_checkpoint_is_scored_is_not_lost(dataset, tmp_path):
    """All is saved by then, and no step comes after which it would be looked at."""
    at_end = begun(dataset, tmp_path, 2, max_steps=2, eval_every=2)
    for suffix in (DATA, ".json", ".index"):
        (tmp_path / f"model.ckpt-2{suffix}").write_text("")

    def score(_prefix):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"mAP": 0.5, "rank@1": 0.5}

    with pytest.raises(Stopped, match="stopped at step 2 after saving") as stopped:
        at_end.run(score)
    assert stopped.value.signal_number == signal.SIGTERM
    assert (tmp_path / "best" / "model.ckpt-2.index").exists()  # what was scored is kept


def test_an_image_that_breaks_during_a_run_is_named(dataset, tmp_path, graphless):
    """TensorFlow says no more than that a JPEG is damaged."""

    def take(*_, **__):
        raise tf.errors.InvalidArgumentError(None, None, "Invalid JPEG data")

    graphless({"take": take})
    copy = shutil.copytree(dataset, tmp_path / "copy")
    run = begun(copy, tmp_path, max_steps=2)
    with pytest.raises(CheckError, match="step 0: Invalid JPEG data"):  # all can be read
        run.run()
    broken = Path(read_split(copy, "train").paths[3])
    broken.write_bytes(b"")
    with pytest.raises(InputError, match=f"{re.escape(broken.name)}: empty"):
        run.run()


@pytest.mark.parametrize(
    ("error", "raised", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space", "a.jsonl"),
            CheckError,
            "^a.jsonl: could not be written.*continue with",
        ),
        (
            CheckError("best: could not be written"),
            CheckError,
            "^best: could not be written; continue with: python",
        ),
        (OSError(errno.EIO, "I/O error"), OSError, "I/O error$"),  # no word of what was not written
    ],
)
@pytest.mark.usefixtures("graphless")
def test_what_a_full_disk_ends_says_how_to_go_on(dataset, tmp_path, error, raised, told):
    """While a checkpoint is scored; a step's log line takes the same way."""
    at_end = begun(dataset, tmp_path, 2, max_steps=2, eval_every=2)

    def score(_prefix):
        raise error

    with pytest.raises(raised, match=told):
        at_end.run(score)


def test_a_watch_that_ends_a_run_lets_nothing_be_logged_or_saved(dataset, tmp_path, graphless):
    """The figures of a step are looked at first: what was saved before stays the latest."""
    figures = dict.fromkeys(("cross_entropy", "triplet", "grad_norm", "loss_scale"), float("nan"))
    taken = trainer.Step(figures, [0, 1], 2, None, False, False)
    graphless({"take": lambda *_: taken})
    run = begun(dataset, tmp_path, max_steps=2, save_every=1)
    with pytest.raises(CheckError, match="step 0: cross_entropy is nan"):
        run.run()
    assert not (tmp_path / "metrics.jsonl").read_text()
    assert not list(tmp_path.glob("model.ckpt-*"))
