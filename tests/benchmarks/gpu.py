"""One table of what this project does on a GPU: parity, speed and memory, in about ten minutes.

    python tests/benchmarks/gpu.py --output gpu.md    # then please send the file
    python tests/benchmarks/gpu.py --tiny             # on a CPU: that it runs, no figures

Each part runs in a process of its own, so that none holds memory of another and one that fails
leaves a line. PyTorch takes part where it sees the same card.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

PRECISIONS = ("float32", "bfloat16", "float16")
SECONDS = 600  # of a part: what takes longer hangs


def devices(_flags):
    import tensorflow as tf
    import torch

    from mgn.system.session import describe_devices

    rows = [("machine", f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version[:6]}")]
    rows.append(("TensorFlow", f"{tf.__version__}; {describe_devices()}"))
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU seen"
    rows.append(("PyTorch", f"{torch.__version__}; {card}"))
    build = tf.sysconfig.get_build_info()
    rows.append(
        ("CUDA, cuDNN of TensorFlow", f"{build.get('cuda_version')}, {build.get('cudnn_version')}")
    )
    return rows


def parity(flags):
    """Largest differences from published values: of the embedding, and of four training steps."""
    import numpy as np
    import tensorflow.compat.v1 as tf
    from conftest import REFERENCE, relative, seeded_variables

    from mgn import network, weights
    from mgn.config import TrainConfig
    from mgn.system.session import new_graph, new_session
    from mgn.training import build_train_graph

    tf.config.experimental.enable_tensor_float_32_execution(flags.tf32)
    kind = "TF32 allowed" if flags.tf32 else "float32"
    rows = []
    # The network's embedding of two images.
    stored = np.load(REFERENCE / "forward_seathiefwang_avg.npz")
    noise = np.random.RandomState(7).standard_normal((2, 3, 384, 128)).astype(np.float32)
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, 384, 128, 3])
        outputs = network.mgn(images, 751, False)
        starts = [v.initializer for v in tf.global_variables()]
    with new_session(graph, rewrite=False) as session:
        session.run(starts)
        weights.assign(session, seeded_variables("seathiefwang"))
        got = session.run(outputs.embedding, {images: noise.transpose(0, 2, 3, 1)})
    rows.append((f"embedding, {kind}", f"{relative(got, stored['embedding']):.1e}"))
    if flags.tiny:
        return rows
    # Four steps with AMSGrad.
    stored = np.load(REFERENCE / "train_adam.npz")
    rate = float(stored["learning_rate"])
    config = TrainConfig(optimizer="amsgrad", learning_rate=rate, batch_ids=4)
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, 384, 128, 3])
        labels = tf.constant(np.repeat(np.arange(4), 4))
        ops = build_train_graph(config, images, labels, 10)
        starts = [v.initializer for v in tf.global_variables()]
    draws = np.random.RandomState(11)
    worst = dict.fromkeys(("cross_entropy", "triplet", "total", "grad_norm"), 0.0)
    with new_session(graph, rewrite=False) as session:
        session.run(starts)
        weights.assign(session, seeded_variables("seathiefwang", 10))
        for step in range(4):
            batch = draws.standard_normal((16, 3, 384, 128)).astype(np.float32)
            wanted = {part: getattr(ops, part) for part in worst}
            fed = {images: batch.transpose(0, 2, 3, 1)}
            got, _ = session.run([wanted, ops.train_op], fed)
            for part, value in got.items():
                difference = abs(value / stored[part][step] - 1.0)
                worst[part] = max(worst[part], difference)
    rows += [(f"four steps, {part}, {kind}", f"{worst[part]:.1e}") for part in worst]
    return rows


def step(flags):
    """Images a second of training steps, and the most memory they took."""
    import tensorflow as tf
    from benchmark_training import tensorflow_step

    take = tensorflow_step(flags, flags.precision, xla=flags.xla)
    name = f"training step, {flags.precision}{', XLA' if flags.xla else ''}"
    rows = [(name, rate(take, flags))]
    if tf.config.list_physical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        rows.append((f"{name}: peak memory", f"{peak / 1e9:.1f} GB"))
    return rows


def torch_side(flags):
    """The same step in PyTorch, channels last, with its automatic mixed precision."""
    import torch
    from benchmark_training import torch_step

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    take = torch_step(flags, flags.precision, device)
    name = f"training step, {flags.precision}, PyTorch on {device}"
    rows = [(name, rate(take, flags))]
    if device == "cuda":
        rows.append((f"{name}: peak memory", f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB"))
    return rows


def inputs(flags):
    """Images a second of the input pipeline alone."""
    import dataclasses

    import numpy as np
    from benchmark_training import pipeline
    from PIL import Image

    from mgn.config import RECIPES
    from mgn.data.demo import draw_image

    size = {"height": flags.height, "width": flags.width}
    p_and_k = {"batch_ids": flags.identities, "batch_images": flags.images}
    config = dataclasses.replace(RECIPES["seathiefwang"], **size, **p_and_k)
    labels = np.repeat(np.arange(64), 8)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, person in enumerate(labels.tolist()):
            image = Image.fromarray(draw_image(0, person + 1, i % 3 + 1, i % 8))
            paths.append(f"{folder}/{i}.jpg")
            image.save(paths[-1], quality=90)
        speed = pipeline(config, paths, labels, None)
        rates = [speed() for _ in range(1 if flags.tiny else 3)]
    return [("input pipeline alone, files", f"{statistics.median(rates):.0f} images/s")]


def inference(flags):
    """Images a second of the exported graph with fixed weights, batches of 64."""
    import numpy as np
    from conftest import seeded_variables, write_checkpoint

    from mgn.config import NetworkOptions
    from mgn.export import freezing
    from mgn.inference import exported
    from mgn.inference.graph import IMAGE_TENSOR, OUTPUTS, PLAIN
    from mgn.weights import checkpoints

    options = NetworkOptions(10, height=flags.height, width=flags.width)
    count = flags.identities * flags.images
    images = np.random.default_rng(0).standard_normal((count, flags.height, flags.width, 3))
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / "seeded", seeded_variables("seathiefwang", 10), options)
        found = checkpoints.find(Path(folder) / "seeded")
        graph_def = freezing.freeze(found, PLAIN, "float32", flags.precision)
    session = exported.session_of(graph_def, flags.precision)
    fed = {f"{IMAGE_TENSOR}:0": images.astype(np.float32)}
    measured = rate(lambda: session.run(f"{OUTPUTS[PLAIN]}:0", fed), flags)
    return [(f"exported graph, {flags.precision}, batch {count}", measured)]


def replicas(flags):
    """A run of `train.py` on two cards against one: images a second, P identities each."""
    from mgn.data import demo
    from mgn.training.runlog import read

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dataset = demo.make(Path(folder) / "set")
        for count in (1, 2):
            steps = 4 if flags.tiny else 60
            size = ["--height", flags.height, "--width", flags.width, "--max_steps", steps]
            batch = ["--batch_ids", flags.identities * count, "--batch_images", flags.images]
            where = ["--dataset", dataset / ".", "--train_dir", Path(folder) / str(count)]
            more = ["--replicas", count, "--recipe", "scratch", "--precision", flags.precision]
            command = [sys.executable, "train.py", *where, *size, *batch, *more]
            subprocess.run(
                [str(part) for part in command], cwd=ROOT, check=True, capture_output=True
            )
            lines = [line for line in read(Path(folder) / str(count)) if "total" in line]
            speeds = [line["images_per_second"] for line in lines[len(lines) // 2 :]]
            name = f"train.py on {count} replicas, {flags.precision}"
            rows.append((name, f"{statistics.median(speeds):.1f} images/s"))
    return rows


def rate(act, flags):
    """Images a second of calls, the median of some rounds, and their least and most."""
    for _ in range(1 if flags.tiny else 2):  # compiles, chooses algorithms
        act()
    rates = []
    for _ in range(flags.rounds):
        began = time.perf_counter()
        for _ in range(flags.repeats):
            act()
        spent = (time.perf_counter() - began) / flags.repeats
        rates.append(flags.identities * flags.images / spent)
    return f"{statistics.median(rates):.1f} images/s ({min(rates):.1f} to {max(rates):.1f})"


PARTS = {
    "devices": devices,
    "parity": parity,
    "step": step,
    "torch": torch_side,
    "inputs": inputs,
    "inference": inference,
    "replicas": replicas,
}


def plan(cards, tiny):
    """(part, its flags) in the order of the table."""
    yield "devices", []
    yield "parity", []
    if cards:
        yield "parity", ["--tf32"]
    for precision in PRECISIONS[: 1 if tiny else None]:
        chosen = ["--precision", precision]
        yield "step", chosen
        if cards:
            yield "step", [*chosen, "--xla"]
        yield "torch", chosen
        yield "inference", chosen
    yield "inputs", []
    if cards > 1:
        yield "replicas", []


def run_part(part, more, flags):
    """The rows of one part, measured in a process of its own."""
    command = [sys.executable, __file__, "--part", part, *more]
    command += ["--tiny"] if flags.tiny else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return [(" ".join([part, *more]), f"not done in {SECONDS} s")]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return [(" ".join([part, *more]), f"failed: {last[:200]}")]
    return json.loads(done.stdout.strip().splitlines()[-1])


def cards_here():
    """How many GPUs TensorFlow sees, asked in a process of its own: this one holds no memory."""
    code = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(asked.stdout.strip().splitlines()[-1])


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="file for the table (Markdown)")
    parser.add_argument("--tiny", action="store_true", help="small images, few steps: a try-out")
    hidden = {"help": argparse.SUPPRESS}  # what a part is started with
    parser.add_argument("--part", choices=PARTS, **hidden)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", **hidden)
    parser.add_argument("--xla", action="store_true", **hidden)
    parser.add_argument("--tf32", action="store_true", **hidden)
    flags = parser.parse_args()
    flags.identities, flags.images = (2, 2) if flags.tiny else (16, 4)
    flags.height, flags.width = (96, 32) if flags.tiny else (384, 128)
    flags.rounds, flags.repeats = (1, 1) if flags.tiny else (5, 10)
    return flags


def main():
    flags = parse()
    if flags.part:
        print(json.dumps(PARTS[flags.part](flags)))
        return 0
    cards = cards_here()
    if not cards and not flags.tiny:
        advice = "--tiny tries the script on a CPU"
        print(f"error: TensorFlow sees no GPU here; {advice}", file=sys.stderr)
        return 2
    table = ["| what | measured |", "|---|---|"]
    print("\n".join(table), flush=True)
    failed = False
    for part, more in plan(cards, flags.tiny):
        for name, value in run_part(part, more, flags):
            failed |= value.startswith(("failed", "not done"))
            table.append(f"| {name} | {value} |")
            print(table[-1], flush=True)
    if flags.output:
        flags.output.write_text("\n".join(table) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
