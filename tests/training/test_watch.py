"""What ends a run or is warned of; which checkpoint is the best, and when a run is over."""

import dataclasses
import json
import shutil

import pytest
import tensorflow.compat.v1 as tf

from mgn.config import TrainConfig
from mgn.system.errors import CheckError
from mgn.training import runlog
from mgn.training.runlog import RunLog
from mgn.training.watch import BAD_BATCH, BEST, Health, Validation
from mgn.weights import checkpoints, saving

FINE = {"cross_entropy": 1.0, "triplet": 0.5, "grad_norm": 3.0, "loss_scale": 1.0}
CONFIG = dataclasses.replace(TrainConfig(), eval_every=10, early_stop=2)


@pytest.mark.parametrize("part", ["cross_entropy", "triplet", "grad_norm"])
def test_a_figure_that_is_not_finite_names_part_step_and_batch(tmp_path, part):
    health = Health(tmp_path)
    health.check(3, FINE, ["a.jpg"])
    images = [f"{i}.jpg" for i in range(8)]
    with pytest.raises(
        CheckError, match=rf"step 4: {part} is nan, in the batch of 0.jpg, 1.jpg, 2.jpg and"
    ):
        health.check(4, {**FINE, part: float("nan")}, images)
    assert (tmp_path / BAD_BATCH).read_text().split() == images


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ([], "--learning_rate$"),
        ([0, 2], r"if needed from \S+model.ckpt-2, which is older$"),
        (
            [0, 2, 4],
            r"from \S+model.ckpt-2, which is older; model.ckpt-4 has the weights that"
            " led to it$",
        ),
        ([4], "--learning_rate; model.ckpt-4 has the weights that led to it$"),
    ],
)
def test_the_checkpoint_to_go_on_from_is_one_of_before(tmp_path, saved, told):
    """Weights are those after the step before: what is saved with this step's number made it."""
    for step in saved:
        (tmp_path / f"model.ckpt-{step}.index").write_text("")
    with pytest.raises(CheckError, match=told):
        Health(tmp_path).check(4, {**FINE, "triplet": float("nan")}, ["a"])


def test_an_infinite_gradient_of_a_scaled_loss_is_left_to_the_scale(tmp_path):
    health = Health(tmp_path)
    health.check(0, {**FINE, "grad_norm": float("inf"), "loss_scale": 2.0}, ["a"])
    for figures in ({"grad_norm": float("inf")}, {"triplet": float("nan"), "loss_scale": 2.0}):
        with pytest.raises(CheckError):
            health.check(0, {**FINE, **figures}, ["a"])


def test_each_worker_of_a_cluster_lists_its_own_part_of_a_bad_batch(tmp_path):
    for worker in (0, 1):
        health = Health(tmp_path, worker)
        with pytest.raises(CheckError, match=r"bad_batch-1\.txt" if worker else r"bad_batch\.txt"):
            health.check(4, {**FINE, "triplet": float("inf")}, [f"{worker}.jpg"])
    written = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert written == {"bad_batch.txt": "0.jpg\n", "bad_batch-1.txt": "1.jpg\n"}


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
    """Score checkpoints with these mAPs, one each 10 steps; returns (best step, over?)."""
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
