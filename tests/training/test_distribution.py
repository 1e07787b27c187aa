"""`train.py` on two processes against one with the same batches; see `network/test_replicas.py`."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import shallow
from conftest import run

import train
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")
ROOT = Path(__file__).parents[2]
OPTIONS = [
    *("--recipe", "scratch", "--batch_ids", 3, "--batch_images", 2, "--triplet_start_step", 0),
    *("--triplet_start_loss", 0, "--margin", 1.2),
    *("--optimizer", "sgd", "--momentum", 0, "--learning_rate", 1e-3, "--random_erasing", 0),
    *("--sync_batch_norm", "--save_every", 1, "--average_decay", 0),
    *("--kernel_init", "he", "--zero_init_identities", 0),  # or rounding is magnified by depth
    *("--freeze_steps", 1, "--freeze_layers", "p3"),  # the second step has another graph
]


@pytest.fixture(scope="module")
def alone(dataset, tmp_path_factory):
    """One step of one replica: flags of a run from the same weights, and its line."""
    folder = tmp_path_factory.mktemp("distribution")
    shutil.copytree(dataset / "bounding_box_train", folder / "set" / "bounding_box_train")
    arguments = ["--dataset", folder / "set", *OPTIONS]
    assert run(train, *arguments, "--train_dir", folder / "run", "--max_steps", 1) == 0
    start = ["--init_checkpoint", folder / "run" / "model.ckpt-0"]
    yield [*arguments, *start], lines(folder / "run")[0]
    shutil.rmtree(folder)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check_figures(got, expected):
    for name in ("cross_entropy", "triplet", "total", "grad_norm", "active", "hardest_positive"):
        assert got[name] == pytest.approx(expected[name], rel=1e-4), name


def test_two_processes_one_is_killed_and_the_run_goes_on(alone, tmp_path):
    arguments, first = alone
    folder, ports = tmp_path / "run", free_ports(2)
    workers = [start(arguments, folder, ports, 0)]
    time.sleep(3)  # one is waited for
    workers.append(start(arguments, folder, ports, 1))
    try:
        wait_for(lambda: (folder / "metrics.jsonl").exists() and len(lines(folder)) >= 2, workers)
        workers[1].kill()
        error = workers[0].communicate(timeout=90)[1]
    finally:
        for worker in workers:
            worker.kill()
    check_figures(lines(folder)[0], first)
    assert workers[0].returncode == 1
    last = error.strip().splitlines()[-1]
    assert last.startswith(
        f"error: the worker at localhost:{ports[1]} is gone; start all workers again"
    )
    saved = checkpoints.step_of(checkpoints.newest(folder))
    assert saved >= 1
    steps = max(saved + 1, 4)  # past the end of an epoch, where a batch has two identities
    check_resumes(folder, ports, steps)
    alone_too = ["--train_dir", folder, "--resume", "--max_steps", steps + 1]
    assert run(train, *alone_too) == 0
    assert [line["step"] for line in lines(folder)] == list(range(1, steps + 2))


def check_resumes(folder, ports, steps):
    """The same command on both, one of them later."""
    workers = []
    try:
        for index in (0, 1):
            workers.append(start(["--resume", "--max_steps", steps], folder, ports, index))
            time.sleep(3)
        errors = [worker.communicate(timeout=240)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], errors


def start(arguments, folder, ports, index):
    """The first worker under the older name of a chief."""
    addresses = [f"localhost:{port}" for port in ports]
    cluster = {"master": addresses[:1], "worker": addresses[1:]}
    mine = {"type": "worker", "index": index - 1} if index else {"type": "master", "index": 0}
    task = json.dumps({"cluster": cluster, "task": mine})
    command = [*shallow.COMMAND, *arguments, "--train_dir", folder]
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "TF_CONFIG": task},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(condition, processes, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), processes[0].stderr.read()
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("flags", "config", "expected"),
    [
        (
            ["--replicas", "3", "--batch_ids", "3"],
            "",
            "last batch has 2 identities, too few for 3 replicas",
        ),
        (["--replicas", "2"], "{", "TF_CONFIG: not JSON"),
    ],
)
def test_what_cannot_be_divided(dataset, tmp_path, capsys, monkeypatch, flags, config, expected):
    monkeypatch.setenv("TF_CONFIG", config)
    arguments = ["--dataset", dataset, "--train_dir", tmp_path / "run", "--recipe", "scratch"]
    assert run(train, *arguments, *flags) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
