"""Kills a training run with SIGKILL at random moments, most of them during a save; it goes on each
time.

    python tests/benchmarks/soak_kills.py --kills 20

After each kill the run must resume from a complete checkpoint, and nothing corrupt may be picked
up; at the end its weights must be those of a run that was never killed, bit for bit. Prints one
line a kill.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tensorflow.compat.v1 as tf

from mgn.data.demo import make
from mgn.data.names import FOLDERS
from mgn.weights import checkpoints

OPTIONS = ["--recipe", "scratch", "--batch_ids", "4", "--batch_images", "2", "--optimizer", "sgd"]
OPTIONS += ["--save_every", "1", "--deterministic", "--average_decay", "0"]


SCRIPT = [sys.executable, "train.py"]


def command(train_dir, dataset, *more):
    return ["--train_dir", str(train_dir), "--dataset", str(dataset), *OPTIONS, *more]


def resumed(train_dir):
    return ["--train_dir", str(train_dir), "--resume"]


def steps_logged(train_dir):
    path = train_dir / "metrics.jsonl"
    lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n")]


def start(arguments, log, script=SCRIPT):
    command = [*script, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def kill_in_a_save(process, train_dir, rng, timeout=180):
    """Kill a moment after a temporary folder of a save appears, or between saves; returns what was
    seen."""
    deadline, during = time.monotonic() + timeout, rng.random() < 0.8
    before = len(steps_logged(train_dir))
    while time.monotonic() < deadline and process.poll() is None:
        saving = any(train_dir.glob(".model.ckpt-*")) and len(steps_logged(train_dir)) > before
        if saving == during and len(steps_logged(train_dir)) > before:
            time.sleep(rng.uniform(0, 0.6))
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    return "while saving" if any(train_dir.glob(".model.ckpt-*")) else "between saves"


def kill_and_resume(train_dir, dataset, kills, steps, rng, log, script=SCRIPT):
    """Kill a run of `steps` steps `kills` times; returns (what a kill met, step it goes on from) of
    each. `script` is what runs train.py."""
    seen, arguments = [], command(train_dir, dataset, "--max_steps", str(steps))
    for _ in range(kills):
        process = start(arguments, log, script)
        met = kill_in_a_save(process, train_dir, rng)
        assert weights_of(train_dir), "no complete checkpoint that can be read"
        seen.append((met, checkpoints.step_of(checkpoints.newest(train_dir))))
        arguments = resumed(train_dir)
    assert start(arguments, log, script).wait() == 0, "the last resume failed"
    return seen


def weights_of(train_dir):
    """{name: bytes} of the newest checkpoint: weights, moments, averages, step."""
    reader = tf.train.load_checkpoint(str(checkpoints.newest(train_dir)))
    return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder, steps, began = Path(folder), 3 * flags.kills + 3, time.monotonic()
        dataset = folder / "set"
        dataset.mkdir()
        (make(folder / "demo") / FOLDERS["train"]).rename(
            dataset / FOLDERS["train"]
        )  # nothing to score on
        with (folder / "log").open("wb") as log:
            rng = random.Random(flags.seed)
            seen = kill_and_resume(folder / "run", dataset, flags.kills, steps, rng, log)
            for number, (met, step) in enumerate(seen, 1):
                print(f"kill {number}: {met}; resumes from step {step}")
            assert steps_logged(folder / "run") == list(range(1, steps + 1))
            uninterrupted = command(folder / "whole", dataset, "--max_steps", str(steps))
            assert start(uninterrupted, log).wait() == 0
        same = weights_of(folder / "run") == weights_of(folder / "whole")
    during = sum(met == "while saving" for met, _ in seen)
    print(
        f"{flags.kills} kills, {during} of them while saving, {steps} steps,"
        f" {time.monotonic() - began:.0f} s; the weights are"
        f" {'those of an uninterrupted run, bit for bit' if same else 'OTHERS'}"
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
