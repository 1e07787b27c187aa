"""What an export costs beyond its network: preprocessing, decoding, loading, waiting, a folder of
files.

    python tests/benchmarks/benchmark_forms.py forms [--rounds 5] [--batches 1,8]
    python tests/benchmarks/benchmark_forms.py process [--precisions float32] [--calls 100]
    python tests/benchmarks/benchmark_forms.py folder [--rounds 5] [--images 64]

Each takes --winograd. Seeded network (751 classes, average pooling, 384x128), drawn pedestrians of
128x64 as JPEG. Sides alternate.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cv2
import numpy as np
from conftest import seeded_variables, write_checkpoint

from mgn.config import NetworkOptions
from mgn.data.decoding import read_image
from mgn.data.demo import draw_image
from mgn.data.records import image_files
from mgn.evaluation.embedding import embed_split
from mgn.export import freezing
from mgn.inference.embedder import open_exported
from mgn.inference.graph import PLAIN, PRE_POST
from mgn.system.session import session_config
from mgn.weights import checkpoints

CHILD = """
import json, os, sys, time
import numpy as np, tensorflow.compat.v1 as tf
path, output, calls, array, config = sys.argv[1:]
config = tf.ConfigProto.FromString(bytes.fromhex(config))
def memory(field):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(field)]
    return int(line.split()[1]) / 1e6
batch, found, start = np.load(array), {"imported": memory("VmRSS")}, time.perf_counter()
graph_def = tf.GraphDef.FromString(open(path, "rb").read())
with tf.Graph().as_default(), tf.Session(config=config) as session:
    tf.import_graph_def(graph_def, name="")
    del graph_def
    found["load"] = time.perf_counter() - start
    seconds = []
    for _ in range(int(calls) + 1):
        start = time.perf_counter()
        session.run(output, {"image_tensor:0": batch})
        seconds.append(time.perf_counter() - start)
    found |= {"first": seconds[0], "seconds": seconds[1:]}
    found |= {"resident": memory("VmRSS"), "peak": memory("VmHWM")}
print(json.dumps(found))
"""


def images(count):
    return [draw_image(0, person, 1, 0) for person in range(1, count + 1)]


def encoded(image):
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def frozen_file(folder, form, input_type="float32", precision="float32", winograd=False):
    path = folder / f"{form}_{input_type}_{precision}_{winograd}.pb"
    if not path.exists():
        prefix = folder / "x"
        if not Path(f"{prefix}.index").exists():
            write_checkpoint(prefix, seeded_variables("seathiefwang"), NetworkOptions(751))
        graph_def = freezing.freeze(checkpoints.find(prefix), form, input_type, precision, winograd)
        path.write_bytes(graph_def.SerializeToString(deterministic=True))
    return path


def alternate(sides, rounds):
    """{name: seconds, one for each round}, after a run of each that does not count."""
    seconds = {name: [] for name in sides}
    for i in range(rounds + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def forms(folder, flags):
    """Two plain forwards against one run of each form with preprocessing."""
    plain = open_exported(frozen_file(folder, PLAIN, "float32", flags.precision, flags.winograd))
    others = {
        kind: open_exported(frozen_file(folder, PRE_POST, kind, flags.precision, flags.winograd))
        for kind in ("float32", "uint8", "jpeg")
    }
    for batch in map(int, flags.batches.split(",")):
        shown = images(batch)
        prepared = np.stack(plain.prepare(shown))
        given = {kind: np.stack(side.prepare(shown)) for kind, side in others.items()}
        given["jpeg"] = np.array([encoded(image) for image in shown], object)

        def run(side, array):
            return side.session.run(side.result, {side.input: array})

        def twice(prepared=prepared):
            return run(plain, prepared), run(plain, prepared[:, :, ::-1])

        sides = {"two plain forwards": twice}
        sides |= {kind: functools.partial(run, side, given[kind]) for kind, side in others.items()}
        seconds = alternate(sides, flags.rounds)
        base = statistics.median(seconds["two plain forwards"])
        print(f"batch {batch}, {flags.precision}")
        for name, found in seconds.items():
            paired = [s / b - 1 for s, b in zip(found, seconds["two plain forwards"], strict=True)]
            middle = statistics.median(found)
            each = f"({min(found) * 1000:.1f} to {max(found) * 1000:.1f})"
            change = f"{middle / base - 1:+.1%}, round by round {statistics.median(paired):+.1%}"
            print(f"  {name:<20} median {middle * 1000:8.1f} ms {each}  {change}")


def process(folder, flags):
    """Load, first call, latency at batch 1 and memory, each in a process of its own; size of the
    file."""
    np.save(folder / "batch.npy", images(1)[0][None])
    for precision in flags.precisions.split(","):
        path = frozen_file(folder, PRE_POST, "uint8", precision, flags.winograd)
        config = session_config().SerializeToString().hex() if flags.fused_only else ""
        given = path, "result_embedding:0", str(flags.calls), folder / "batch.npy", config
        command = [sys.executable, "-c", CHILD, *given]
        found = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        p50, p99 = np.percentile(found["seconds"], [50, 99])
        print(
            f"{precision}: {path.stat().st_size / 1e6:.0f} MB, load {found['load']:.2f} s, first"
            f" call {found['first']:.2f} s, batch 1: p50 {p50 * 1000:.0f} ms,"
            f" p99 {p99 * 1000:.0f} ms"
            f" ({flags.calls} calls); resident {found['resident']:.2f} GB"
            f" (peak {found['peak']:.2f}),"
            f" of which TensorFlow itself {found['imported']:.2f}"
        )


def folder_of_files(folder, flags):
    """`evaluate.py`'s way from files to features against the bare graph on images in memory."""
    files = folder / "images"
    files.mkdir()
    shown = images(flags.images)
    for i, image in enumerate(shown):
        (files / f"{i:04}.jpg").write_bytes(encoded(image))
    embed = open_exported(frozen_file(folder, PRE_POST, "uint8", flags.precision, flags.winograd))
    split, batches = (
        image_files(files),
        [np.stack(shown[i : i + 32]) for i in range(0, len(shown), 32)],
    )

    def bare():
        for batch in batches:
            embed.session.run(embed.result, {embed.input: batch})

    sides = {"bare graph": bare, "folder": lambda: embed_split(embed, split, read_image, "gallery")}
    seconds = alternate(sides, flags.rounds)
    rates = {name: flags.images / statistics.median(found) for name, found in seconds.items()}
    for name, found in seconds.items():
        each = f"{flags.images / max(found):.2f} to {flags.images / min(found):.2f}"
        print(f"  {name:<12} {rates[name]:6.2f} images/s ({each})")
    paired = [b / f for b, f in zip(seconds["bare graph"], seconds["folder"], strict=True)]
    print(
        f"  folder at {statistics.median(paired):.1%} of the bare graph's rate, {flags.precision}"
    )


def main():
    parser = argparse.ArgumentParser()
    modes = {"forms": forms, "process": process, "folder": folder_of_files}
    parser.add_argument("mode", choices=modes)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--precisions", default="float32,bfloat16,float16")
    parser.add_argument("--calls", type=int, default=100)
    text = "of `process`: a session as this project's own, without passes that a CPU has no use for"
    parser.add_argument("--fused_only", action="store_true", help=text)
    parser.add_argument("--winograd", action="store_true", help="exports that have it")
    parser.add_argument("--images", type=int, default=64)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        modes[flags.mode](Path(name), flags)


if __name__ == "__main__":
    main()
