"""A run that was stopped or killed, and goes on: the same bits as one that never was."""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
from benchmarks import soak_kills
from conftest import run
from tensorflow.python.framework.config import disable_op_determinism

import train
from mgn.inference.embedder import session_of_checkpoint
from mgn.weights import checkpoints

VARIABLES = 205  # of the shallow network
STEPS = 9  # epochs of three steps: 8 identities, three at a time
OPTIONS = [
    *("--recipe", "scratch", "--batch_ids", 3, "--batch_images", 2, "--triplet_start_step", 0),
    *("--triplet_start_loss", 0.9, "--margin", 1.2),
    *("--optimizer", "amsgrad", "--average_decay", 0.9, "--crop_padding", 3, "--warmup_steps", 4),
    *("--schedule", "cosine", "--epochs", 4, "--max_steps", STEPS, "--deterministic"),
    *("--eval_every", 5, "--cache", "--freeze_steps", 4, "--freeze_layers", "backbone,p2"),
    *("--keep_checkpoints", 4, "--random_erasing", 0.5),
]
pytestmark = pytest.mark.usefixtures("shallow_network")


@pytest.fixture(autouse=True)
def no_determinism_afterwards():
    """`--deterministic` switches the whole process."""
    yield
    disable_op_determinism()


@pytest.fixture(scope="module")
def train_set(dataset, tmp_path_factory):
    """The small data set without what is scored."""
    folder = tmp_path_factory.mktemp("train_set")
    shutil.copytree(dataset / "bounding_box_train", folder / "bounding_box_train")
    return folder


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """A run that was not interrupted, scored on the way and at its end."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run(train, "--dataset", dataset, "--train_dir", folder, *OPTIONS) == 0
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def interrupted_after(train_dir, step, number):
    """Send this process a signal as soon as `step` is logged."""

    def watch():
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and step not in soak_kills.steps_logged(train_dir):
            time.sleep(0.005)
        os.kill(os.getpid(), number)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()


def test_stopped_three_times_and_resumed_the_bits_are_the_same(dataset, whole, tmp_path):
    """Weights, moments, averages, step: all of a checkpoint; each line but its speed; all scores.

    `--deterministic` with what builds other graphs: the cache, validations, what was frozen and
    thaws, the last scores.
    """
    rng, folder = random.Random(), tmp_path / "run"
    stops = [rng.choice((1, 2)), rng.choice((4, 5)), 7]  # after a signal one more step may be taken
    print("signals after steps", stops)
    arguments = ["--dataset", dataset, "--train_dir", folder, *OPTIONS]
    for step, number in zip(stops, (signal.SIGINT, signal.SIGTERM, signal.SIGINT), strict=True):
        with interrupted_after(folder, step, number):
            assert run(train, *arguments) == 128 + number
        arguments = ["--train_dir", folder, "--resume"]
    assert run(train, *arguments) == 0
    assert soak_kills.weights_of(folder) == soak_kills.weights_of(whole)
    for ours, theirs in zip(lines(folder), lines(whole), strict=True):
        assert {**ours, "images_per_second": 0} == {**theirs, "images_per_second": 0}
    assert [line["step"] for line in lines(folder) if "mAP" in line] == [5]
    assert checkpoints.newest(folder / "best").name == checkpoints.newest(whole / "best").name
    trained = [
        (run_dir / "results.txt").read_text().splitlines()[-1] for run_dir in (folder, whole)
    ]
    assert trained[0] == trained[1] and trained[0].startswith("trained: mAP ")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_killed_twice_it_goes_on_from_a_complete_checkpoint(train_set, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        where = tmp_path / "run", train_set
        seen = soak_kills.kill_and_resume(*where, 2, 8, random.Random(), log, shallow.COMMAND)
    print(seen)
    assert soak_kills.steps_logged(tmp_path / "run") == list(range(1, 9))
    assert not list((tmp_path / "run").glob(".model.ckpt-*"))  # what killed saves left is gone


def test_what_is_scored_and_exported_is_the_average(whole):
    """Of a checkpoint with moving averages; each variable of the inference graph."""
    found = checkpoints.find(whole)
    stored = tf.train.load_checkpoint(str(found.prefix))
    with contextlib.closing(session_of_checkpoint(found)) as session, session.graph.as_default():
        values = session.run({v.op.name: v for v in tf.global_variables()})
    assert len(values) == VARIABLES and found.averaged
    assert all(np.array_equal(v, stored.get_tensor(f"{n}/average")) for n, v in values.items())
    name = "p1/layer4/0/conv1/weight"
    assert not np.array_equal(values[name], stored.get_tensor(name))
    assert not checkpoints.find(whole / "model.ckpt-0").averaged  # no step has been taken there


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(whole, tmp_path, capsys):
    folder = shutil.copytree(whole, tmp_path / "run")
    before = soak_kills.weights_of(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = checkpoints.file_of(checkpoints.newest(folder), checkpoints.DATA).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        status = run(train, "--train_dir", folder, "--resume", "--max_steps", STEPS + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1 and error.startswith(
        f"error: {folder}/model.ckpt-{STEPS + 1}: could not be written"
    )
    assert error.endswith(f"; continue with: python train.py --train_dir {folder} --resume")
    assert checkpoints.step_of(checkpoints.newest(folder)) == STEPS
    assert soak_kills.weights_of(folder) == before
