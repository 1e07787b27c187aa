"""The plan of a run, counted by hand; workers that differ; a signal at the end."""

import dataclasses
import errno
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from mgn.config import RECIPES
from mgn.data.records import read_split
from mgn.data.sampling import planned_steps
from mgn.system.errors import CheckError, InputError, Stopped
from mgn.training.distribution import one_device
from mgn.training.run import describe
from mgn.training.trainer import Trainer
from mgn.weights.checkpoints import DATA


def test_the_plan_counts_steps_images_and_passes(dataset):
    config = dataclasses.replace(
        RECIPES["scratch"], batch_ids=3, batch_images=2, epochs=10, milestones=(6,)
    )
    split = read_split(dataset, "train")
    plan = describe(config, split, 8, planned_steps(config, 8), 1)
    assert "8 identities, 48 images (0 junk and 1 other files left out)" in plan
    # 8 identities, 3 at a time, are 3 steps; 10 epochs of 8 x 2 images are 160, of 48
    assert "30 steps of 3 identities x 2 images" in plan and "every person once, is 3 steps" in plan
    assert (
        "160 images in all, 3.3 passes over the set; learning rate: x0.1 after steps 18\n" in plan
    )


def test_one_person_is_refused(dataset, tmp_path):
    split = read_split(dataset, "train")
    split = dataclasses.replace(split, records=tuple(r for r in split.records if r.person == 3))
    with pytest.raises(InputError, match="one person only"):
        Trainer(RECIPES["scratch"], split, tmp_path)


def test_workers_that_were_started_differently_are_refused(dataset, tmp_path):
    """They would hang at the first checkpoint that only one of them writes, or train from two steps."""
    marks = []

    def said_by(step=0, **options):
        config = dataclasses.replace(RECIPES["scratch"], **options)
        cluster = one_device()._replace(addresses=("localhost:1", "localhost:2"))
        trainer = Trainer(config, read_split(dataset, "train"), tmp_path, cluster)
        trainer.step, trainer._stepper = (
            step,
            SimpleNamespace(agreed=marks.append),
        )  # None: not agreed
        with pytest.raises(InputError, match=f"at step {step} this worker and the others differ"):
            trainer._meet()
        return marks.pop()

    assert said_by() == said_by()
    assert len({said_by(), said_by(step=500), said_by(save_every=7), said_by(max_steps=9)}) == 4


def test_a_signal_while_the_last_checkpoint_is_scored_is_not_lost(dataset, tmp_path):
    """All is saved by then, and no step comes after which it would be looked at."""
    config = dataclasses.replace(RECIPES["scratch"], max_steps=2, eval_every=2)
    trainer = Trainer(config, read_split(dataset, "train"), tmp_path)
    trainer.step = 2
    for suffix in (DATA, ".json", ".index"):
        (tmp_path / f"model.ckpt-2{suffix}").write_text("")

    def score(_prefix):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"mAP": 0.5, "rank@1": 0.5}

    with pytest.raises(Stopped, match="stopped at step 2 after saving") as stopped:
        trainer.run(score)
    assert stopped.value.signal_number == signal.SIGTERM
    assert (tmp_path / "best" / "model.ckpt-2.index").exists()  # what was scored is kept


def test_a_image_that_breaks_during_a_run_is_named(dataset, tmp_path):
    """TensorFlow says no more than that a JPEG is damaged."""

    def take(*_, **__):
        raise tf.errors.InvalidArgumentError(None, None, "Invalid JPEG data")

    split = read_split(shutil.copytree(dataset, tmp_path / "copy"), "train")
    trainer = Trainer(dataclasses.replace(RECIPES["scratch"], max_steps=2), split, tmp_path)
    trainer.step, trainer._stepper = 0, SimpleNamespace(take=take)
    with pytest.raises(CheckError, match="step 0: Invalid JPEG data"):  # all can be read
        trainer.run()
    Path(split.paths[3]).write_bytes(b"")
    with pytest.raises(InputError, match=f"{Path(split.paths[3]).name}: not a whole JPEG"):
        trainer.run()


@pytest.mark.parametrize(
    ("error", "raised", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space", "a.jsonl"),
            CheckError,
            "^a.jsonl: could not be written.*go on with",
        ),
        (
            CheckError("best: could not be written"),
            CheckError,
            "^best: could not be written; go on with: python",
        ),
        (OSError(errno.EIO, "I/O error"), OSError, "I/O error$"),  # no word of what was not written
    ],
)
def test_what_a_full_disk_ends_says_how_to_go_on(dataset, tmp_path, error, raised, told):
    """While a checkpoint is scored; a step's log line takes the same way."""
    config = dataclasses.replace(RECIPES["scratch"], max_steps=2, eval_every=2)
    trainer = Trainer(config, read_split(dataset, "train"), tmp_path)
    trainer.step = 2

    def score(_prefix):
        raise error

    with pytest.raises(raised, match=told):
        trainer.run(score)
