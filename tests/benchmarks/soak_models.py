"""Damaged model files through whatever reads them, each in a process of its own: the work is done,
or one line says why not; never a crash, a hang, a traceback or all of the memory.

    python tests/benchmarks/soak_models.py [--count 500] [--seed 0]

A damaged file is a frozen graph, a SavedModel, a checkpoint's index, data or JSON, a run's
configuration, or a PyTorch file. Ends with the counts, and with status 1 if one broke the rule. A
checkpoint that still loads must give the embeddings that it gave (its data have checksums); in a
graph a changed number is another network's, so there they are only counted.
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
import torch
import undrawn
from benchmarks.options import tiny_set
from mutated import mutate

import convert_pytorch_weights
import evaluate
import train
from mgn.export import __main__ as describe
from mgn.system import cli

SECONDS, GIGABYTES = 120, 8  # of a process, at most
FLAGS = ["--recipe", "scratch", "--batch_ids", "2", "--batch_images", "2", "--max_steps", "2"]


class Kind(NamedTuple):
    """Something that is damaged, and a command that reads it."""

    name: str
    path: str  # what the command is given, in the folder of all models
    damaged: str  # a pattern of the files of which one is damaged
    script: object
    arguments: list[str]  # {} stands for the path
    exact: bool = False  # embeddings must be what they were, if there are any
    whole: int = 0  # how the command ends with the file as it is


def _evaluate(path, features="{out}/features.npz"):
    images = "--query", "{sets}/query", "--gallery", "{sets}/query"
    return ["--model", path, *images, "--features", features, "--output_dir", "{out}/scores"]


KINDS = [
    Kind("graph, described", "plain.pb", "plain.pb", describe, ["{}"]),
    Kind("graph, scored", "pre_post.pb", "pre_post.pb", evaluate, _evaluate("{}")),
    Kind("SavedModel", "served", "served/1/saved_model.pb", evaluate, _evaluate("{}")),
    Kind("index", "run", "run/model.ckpt-2.index", evaluate, _evaluate("{}"), True),
    Kind("data", "run", "run/model.ckpt-2.data-*", evaluate, _evaluate("{}"), True),
    Kind("JSON", "run", "run/model.ckpt-2.json", evaluate, _evaluate("{}"), True),
    Kind("configuration", "run", "run/config.json", train, ["--train_dir", "{}", "--resume"]),
    *(
        Kind(
            f"PyTorch ({file})",
            file,
            file,
            convert_pytorch_weights,
            ["--pt_model_path", "{}", "--dry_run", "--height", "96", "--width", "32"],
            whole=status,
        )
        for file, status in (("zip.pth", 0), ("old.pth", 0), ("x.safetensors", 1))
    ),
]


def prepare(folder):
    """A run of a small network, its exports, and PyTorch files of zeros; in a process of its own,
    as a process that has used TensorFlow cannot fork."""
    import export_pb
    import export_pb_with_pre_post
    import export_tf_serving_with_pre_post

    shallow.patch(pytest.MonkeyPatch())
    models = folder / "models"
    sets = tiny_set(folder / "sets", 0)
    run = models / "run"
    small = ["--height", "96", "--width", "32", "--dataset", str(sets)]
    assert cli.run(train.main, ["--train_dir", str(run), *small, *FLAGS]) == 0
    for script, name in ((export_pb, "plain"), (export_pb_with_pre_post, "pre_post")):
        made = ["--checkpoint", str(run), "--pb_path", str(models / f"{name}.pb")]
        assert cli.run(script.main, made) == 0
    served = ["--pb_path", str(models / "pre_post.pb"), "--export_path", str(models / "served")]
    assert cli.run(export_tf_serving_with_pre_post.main, served) == 0

    # Zeros of the real network's shapes take no room in a zip; safetensors have no kernels, so that
    # they end with a check that failed.
    from safetensors.numpy import save_file
    from seeded import read_keys

    keys = read_keys(ROOT / "tests" / "reference" / "keys_seathiefwang.txt")
    tensors = {key: torch.zeros(()).expand(shape) for key, shape in keys}
    torch.save(tensors, models / "zip.pth")
    torch.save(tensors, models / "old.pth", _use_new_zipfile_serialization=False)
    vectors = {key: np.zeros(shape, np.float32) for key, shape in keys if len(shape) < 2}
    save_file(vectors, models / "x.safetensors")


def damage(path, rng):
    """Change a file in place: some bytes, or in a graph some node's fields; returns the old."""
    whole = path.read_bytes()
    changed = mutate(whole, rng)
    if path.suffix == ".pb" and rng.integers(2):
        changed = _changed_nodes(whole, rng)
    path.write_bytes(changed)
    return whole


def _changed_nodes(contents, rng):
    """A graph with a node renamed, without an input, an attribute or the whole node."""
    try:
        graph_def = tf.GraphDef.FromString(contents)
        nodes = graph_def.node
    except Exception:  # a SavedModel
        return mutate(contents, rng)
    if not nodes:
        return mutate(contents, rng)
    for _ in range(rng.integers(1, 4)):
        node = nodes[int(rng.integers(len(nodes)))]
        kind = rng.integers(5)
        if kind == 0:
            node.name = f"other_{node.name}"
        elif kind == 1 and node.input:
            del node.input[int(rng.integers(len(node.input)))]
        elif kind == 2 and node.attr:
            del node.attr[sorted(node.attr)[int(rng.integers(len(node.attr)))]]
        elif kind == 3:
            node.op = nodes[int(rng.integers(len(nodes)))].op
        else:
            node.input.extend(nodes[int(rng.integers(len(nodes)))].input)
    return graph_def.SerializeToString()


def read_by(kind, folder, out):
    """Run a kind's command in a forked process; returns (exit status, its stderr, megabytes)."""
    places = {"sets": folder / "sets", "out": out}
    path = str(folder / "models" / kind.path)
    arguments = [a.replace("{}", path).format(**places) for a in kind.arguments]
    log = out / "stderr"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.setsid()
            with log.open("w") as stream:
                os.dup2(stream.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.stdout = os.fdopen(1, "w", closefd=False)
                sys.stderr = os.fdopen(2, "w", closefd=False)
                if kind.script is not convert_pytorch_weights:
                    shallow.patch(pytest.MonkeyPatch())
                if kind.script is evaluate:
                    undrawn.patch(pytest.MonkeyPatch())  # nor `heads.png` of a damaged model
                status = cli.run(kind.script.main, arguments)
                sys.stderr.flush()
        except SystemExit as stop:  # argparse
            status = stop.code
        finally:
            os._exit(status)
    return _waited(child, log)


def _waited(child, log):
    end = time.monotonic() + SECONDS
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code, log.read_text(errors="replace"), used.ru_maxrss / 1024
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.wait4(child, 0)
            return "hang", log.read_text(errors="replace"), 0.0
        time.sleep(0.02)


def judged(kind, status, text, megabytes, out, whole):
    """How it ended, and whether that is against the rule."""
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    if status in (1, 2) and len(lines) == 1 and "Traceback" not in text:
        return f"status {status}", megabytes > 1024 * GIGABYTES
    if status != 0 or "Traceback" in text:
        return f"ended with {status}", True
    features = out / "features.npz"
    if not features.exists() or whole is None:
        return "status 0", False
    same = all(np.array_equal(a, b) for a, b in zip(_features(features), whole, strict=True))
    return f"status 0, {'the same' if same else 'other'} embeddings", kind.exact and not same


def read_wholes(folder, out):
    """Each command once with its files as they are: {path: features}, and how many end otherwise
    than they must. Else a command that always fails would pass for one that refuses."""
    found, wrong, done = {}, 0, []
    for kind in KINDS:
        if (kind.script, kind.path) in done:
            continue
        done.append((kind.script, kind.path))
        out.mkdir()
        status, text, megabytes = read_by(kind, folder, out)
        features = out / "features.npz"
        if features.exists():
            found[kind.path] = _features(features)
        found.setdefault(kind.path, None)
        print(f"{kind.name}: whole, status {status}, {megabytes:.0f} MB", flush=True)
        if status != kind.whole:
            wrong += 1
            print(text, flush=True)
        shutil.rmtree(out)
    return found, wrong


def _features(path):
    with np.load(path, allow_pickle=False) as stored:
        return [stored[name] for name in sorted(stored) if "features" in name]


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(arguments)
    rng = np.random.default_rng(flags.seed)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    counts, broken, most = Counter(), 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = multiprocessing.get_context("spawn").Process(target=prepare, args=(folder,))
        maker.start()
        maker.join()
        assert maker.exitcode == 0
        out = folder / "out"
        wholes, wrong_wholes = read_wholes(folder, out)
        broken += wrong_wholes
        for i in range(flags.count):
            kind = KINDS[i % len(KINDS)]
            out.mkdir()
            path = sorted((folder / "models").glob(kind.damaged))[0]
            before = damage(path, rng)
            changed = path.read_bytes()
            status, text, megabytes = read_by(kind, folder, out)
            path.write_bytes(before)
            end, wrong = judged(kind, status, text, megabytes, out, wholes[kind.path])
            counts[kind.name, end] += 1
            most = max(most, megabytes)
            if wrong:
                broken += 1
                kept = Path(tempfile.gettempdir()) / f"soak_{flags.seed}_{i}_{path.name}"
                kept.write_bytes(changed)
                last = text.strip().splitlines()[-1:] or ["nothing"]
                print(f"{i}: {kind.name}: {end}: {last[0]} ({kept})", flush=True)
            shutil.rmtree(out)
    for (name, end), count in sorted(counts.items()):
        print(f"{name}: {end}: {count}")
    print(f"{flags.count} files, {broken} against the rule, {most:.0f} MB at most")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
