"""Which checkpoint is kept as the best, when a run is over, and that a resumed run remembers."""

import dataclasses
import json
import shutil

import pytest
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.system.errors import CheckError
from mgn.training import runlog
from mgn.training.runlog import RunLog
from mgn.training.watch import BEST, Validation
from mgn.weights import checkpoints, saving

CONFIG = dataclasses.replace(TrainConfig(), eval_every=10, early_stop=2)


@pytest.fixture
def save(tmp_path):
    """Return a function that saves a tiny checkpoint of a step in tmp_path."""
    variable = tf.get_variable("a", initializer=tf.constant(0.0))
    saver, session = saving.new_saver([variable]), tf.Session()
    session.run(variable.initializer)

    def at(step):
        prefix = tmp_path / f"{checkpoints.NAME}-{step}"
        saving.save(session, saver, prefix, {"step": step}, overwrite=True)
        return prefix

    return at


def validated(folder, save, scores, step=0, config=CONFIG):
    """Score a checkpoint each 10 steps with these mAPs, after `step`; returns (best step, over?, due?)."""
    given = iter(scores)
    with RunLog(folder, step) as log:
        validation = Validation(
            config, folder, lambda _prefix: {"mAP": next(given), "rank@1": 0.5}, log
        )
        assert not validation.due(0) and not validation.due(step + 5)
        for _ in scores:
            step += 10
            assert validation.due(step)
            validation.run(save(step))
            assert not validation.due(step)  # it is done
        return checkpoints.step_of(checkpoints.newest(folder / BEST)), validation.over()


@pytest.mark.parametrize(
    ("scores", "best", "over"),
    [
        ([0.2], 10, False),
        ([0.2, 0.3, 0.1], 20, False),
        ([0.2, 0.3, 0.1, 0.3], 20, True),  # not better than the best: of equals the first is kept
        ([0.3, 0.2, 0.1, 0.4], 40, False),
    ],
)
def test_the_best_is_kept_and_two_scores_no_better_end_a_run(tmp_path, save, scores, best, over):
    assert validated(tmp_path, save, scores) == (best, over)
    assert len(list((tmp_path / BEST).iterdir())) == 3  # one checkpoint


def test_a_resumed_run_remembers(tmp_path, save):
    validated(tmp_path, save, [0.3, 0.2])
    assert validated(tmp_path, save, [0.25], step=20) == (10, True)
    # killed after the checkpoint of step 30 and before its score: it is scored then
    lines = (tmp_path / runlog.METRICS).read_text().splitlines(keepends=True)
    (tmp_path / runlog.METRICS).write_text("".join(lines[:-1]))
    with RunLog(tmp_path, 30) as log:
        assert Validation(CONFIG, tmp_path, lambda _: {"mAP": 0.1}, log).due(30)
    assert [json.loads(line)["mAP"] for line in lines] == [0.3, 0.2, 0.25]


def test_without_scores_nothing_is_due(tmp_path):
    with RunLog(tmp_path, 0) as log:
        assert not Validation(TrainConfig(), tmp_path, lambda _: {"mAP": 1.0}, log).due(10)
        assert not Validation(CONFIG, tmp_path, None, log).due(10)
        assert not Validation(CONFIG, tmp_path, None, log).over()


def test_a_best_that_cannot_be_written_leaves_the_one_before(tmp_path, save, monkeypatch):
    validated(tmp_path, save, [0.2])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CheckError, match="the disk is full"):
        validated(tmp_path, save, [0.9], step=10)
    assert checkpoints.newest(tmp_path / BEST).name == "model.ckpt-10"
