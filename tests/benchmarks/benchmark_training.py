"""Training steps and the input pipeline against PyTorch's, on made-up images of 384x128.

    python tests/benchmarks/benchmark_training.py step      # TensorFlow and PyTorch, alternating
    python tests/benchmarks/benchmark_training.py rewriter  # bfloat16 by casts or rewriting
    python tests/benchmarks/benchmark_training.py average   # what a moving average of weights costs
    python tests/benchmarks/benchmark_training.py profile   # where a step's time goes
    python tests/benchmarks/benchmark_training.py input     # JPEG files to batches
    python tests/benchmarks/benchmark_training.py memory --identities 16  # peak of a few steps

The other side is the same work written plainly: `mgn/conversion/torch_mgn.py` from the same
weights, the same losses, `torch.optim`; Pillow. A batch of 64 needs some 20 GB: nothing else may
run beside `memory`.
"""

import argparse
import dataclasses
import math
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import tensorflow.compat.v1 as tf
import torch
from benchmark_inference import matrix_rates
from PIL import Image

from mgn import weights
from mgn.config import RECIPES
from mgn.config.variants import MEAN, STD
from mgn.conversion.torch_mgn import TorchMGN
from mgn.data.demo import draw_image
from mgn.data.reading import read_all, training_dataset
from mgn.training import build_train_graph
from mgn.training.distribution import one_device

CLASSES = 751
FORWARD_GFLOP = 23.8  # an image of 384x128, `python -m mgn.export`; backward is twice that


def tensorflow_step(flags, precision, rewriter=False, winograd=False, xla=False, decay=0.0):
    """A function that takes one step of the recipe `seathiefwang`; its images are on the device."""
    options = one_device(xla).config
    if rewriter:
        options.graph_options.rewrite_options.disable_meta_optimizer = False
        options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = 1
    images, labels = batch(flags)
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        held = tf.placeholder(tf.float32, images.shape)
        kept = tf.get_variable("images", initializer=held, trainable=False, use_resource=True)
        kind = {"batch_ids": flags.identities, "batch_images": flags.images}
        kind |= {"precision": precision, "winograd": winograd, "average_decay": decay}
        config = dataclasses.replace(RECIPES["seathiefwang"], **kind)
        ops = build_train_graph(config, kept.read_value(), tf.constant(labels), CLASSES)
        starts = [v.initializer for v in tf.global_variables()]
    session = tf.Session(graph=graph, config=options)
    session.run(starts, {held: images})
    with graph.as_default():
        weights.assign(
            session, weights.from_pytorch({k: v.numpy() for k, v in first_weights().items()})
        )

    def step(**more):
        return float(session.run([ops.total, ops.train_op], **more)[0])

    return step


def torch_step(flags, precision, device="cpu"):
    """The same step in PyTorch, channels last; float16 with its loss scaling."""
    images, labels = batch(flags)
    network = TorchMGN(CLASSES)
    network.load_state_dict(first_weights())
    network = network.train().to(device, memory_format=torch.channels_last)
    kinds = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    scaler = torch.amp.GradScaler(device, enabled=precision == "float16")
    optimizer = torch.optim.Adam(network.parameters(), 2e-4, weight_decay=5e-4, amsgrad=True)
    # channels last in memory already
    batched = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    labels = torch.from_numpy(labels).to(device)
    same = labels[:, None] == labels[None]

    def triplet(x):
        distances = torch.cdist(x, x)
        hardest = (
            distances.masked_fill(~same, 0).amax(1),
            distances.masked_fill(same, torch.inf).amin(1),
        )
        return (hardest[0] - hardest[1] + 1.2).relu().mean()

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, kinds.get(precision), enabled=precision in kinds):
            _, features, logits = network(batched)
        softmax = sum(torch.nn.functional.cross_entropy(x.float(), labels) for x in logits) / 8
        loss = softmax + 2 * sum(triplet(x.float()) for x in features[:3]) / 3
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return step


def first_weights():
    """What both sides start from."""
    torch.manual_seed(0)
    return TorchMGN(CLASSES).state_dict()


def batch(flags):
    shape = flags.identities * flags.images, flags.height, flags.width, 3
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return images, np.repeat(np.arange(flags.identities), flags.images)


def alternate(sides, rounds, count):
    """Print each side's images a second; returns {name: median}."""
    for name, side in sides.items():
        print(f"  {name}: loss of the first step {side():.3f}", flush=True)  # a warm-up
    rates = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            rates[name].append(count / (time.perf_counter() - start))
    for name, each in rates.items():
        middle = f"{statistics.median(each):6.2f}"
        print(f"  {name:<28} {middle} images/s ({min(each):.2f} to {max(each):.2f})")
    return {name: statistics.median(each) for name, each in rates.items()}


def steps(flags):
    for precision in flags.precision.split(","):
        sides = {
            f"TensorFlow {precision}": tensorflow_step(flags, precision),
            "the same, Winograd": tensorflow_step(flags, precision, winograd=True),
            f"PyTorch {precision}": torch_step(flags, precision),
        }
        before = matrix_rates()[precision]
        ours, winograds, theirs = alternate(
            sides, flags.rounds, flags.identities * flags.images
        ).values()
        after = matrix_rates()[precision]
        share = (
            3
            * FORWARD_GFLOP
            * (flags.height * flags.width)
            / (384 * 128)
            * ours
            / max(before, after)
        )
        print(f"  ratio {ours / theirs:.2f}; {share:.0%} of the rate of a matrix product")
        print(f"  ratio with Winograd's convolutions {winograds / theirs:.2f}")
        print(f"  ({before:.0f} and {after:.0f} GFLOP/s before and after)")


def rewriter(flags):
    sides = {
        "casts in the graph": tensorflow_step(flags, "bfloat16"),
        "graph rewriter": tensorflow_step(flags, "float32", rewriter=True),
    }
    alternate(sides, flags.rounds, flags.identities * flags.images)


def average(flags):
    for precision in flags.precision.split(","):
        sides = {
            f"{precision}": tensorflow_step(flags, precision),
            "the same, averaged": tensorflow_step(flags, precision, decay=0.999),
        }
        alternate(sides, flags.rounds, flags.identities * flags.images)


def profile(flags):
    for precision in flags.precision.split(","):
        step = tensorflow_step(flags, precision)
        step()
        traced = tf.RunMetadata()
        step(options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=traced)
        seconds = Counter()
        for device in traced.step_stats.dev_stats:
            for node in device.node_stats:
                kind = node.timeline_label.split(" = ")[-1].split("(")[0] or node.node_name
                seconds[kind] += node.op_end_rel_micros / 1e6
        total = sum(seconds.values())
        print(f"{precision}: {total:.2f} s in operations (several run at a time)")
        for kind, spent in seconds.most_common(14):
            print(f"  {kind:<48} {spent:6.2f} s {spent / total:5.1%}")


def inputs(flags):
    """Images a second from JPEG files of Market-1501's size to batches."""
    config = RECIPES["seathiefwang"]
    with tempfile.TemporaryDirectory() as folder:
        paths, labels = [], np.repeat(np.arange(64), 8)
        for i, person in enumerate(labels):
            image = draw_image(0, int(person) + 1, i % 3 + 1, i % 8)
            paths.append(f"{folder}/{i}.jpg")
            Image.fromarray(image).resize((64, 128)).save(paths[-1], quality=90)
        cached = read_all(config, paths)
        sides = {
            "TensorFlow, files": pipeline(config, paths, labels, None),
            "TensorFlow, kept in memory": pipeline(config, paths, labels, cached),
            "PyTorch-style loader": loader(config, paths),
        }
        for side in sides.values():
            side()
        rates = {name: [] for name in sides}
        for _ in range(flags.rounds):
            for name, side in sides.items():
                rates[name].append(side())
        for name, each in rates.items():
            print(
                f"  {name:<28} {statistics.median(each):7.1f} images/s"
                f" ({min(each):.1f} to {max(each):.1f})"
            )


def pipeline(config, paths, labels, cached):
    with tf.Graph().as_default() as graph:
        dataset = training_dataset(config, paths, labels, 0, 10**6, cached)
        iterator = tf.data.make_initializable_iterator(dataset)
        following = iterator.get_next()
    session = tf.Session(graph=graph)
    session.run(iterator.initializer)
    return lambda: rate(lambda: len(session.run(following)[2]))


class Images(torch.utils.data.Dataset):
    """Pillow's decoding and bicubic resize, flip, erasing, normalisation, as torchvision does
    them."""

    def __init__(self, config, paths):
        self.config, self.paths = config, paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        size = self.config.width, self.config.height
        image = Image.open(self.paths[index]).convert("RGB").resize(size, Image.BICUBIC)
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
        x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        if torch.rand(()) < self.config.random_erasing:
            self.erase(x)
        return x

    def erase(self, x):
        """A rectangle of 2 to 40 % of the image, if one of ten lies inside (arXiv:1708.04896)."""
        height, width = x.shape[1:]
        for _ in range(10):
            area = height * width * random.uniform(0.02, 0.4)
            aspect = random.uniform(0.3, 1 / 0.3)
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h < height and w < width:
                top, left = random.randint(0, height - h), random.randint(0, width - w)
                x[:, top : top + h, left : left + w] = 0
                return


def loader(config, paths):
    count = config.batch_ids * config.batch_images
    endless = torch.utils.data.RandomSampler(paths, replacement=True, num_samples=10**6)
    workers = {"num_workers": os.cpu_count(), "multiprocessing_context": "fork"}
    batches = iter(
        torch.utils.data.DataLoader(Images(config, paths), count, sampler=endless, **workers)
    )
    return lambda: rate(lambda: len(next(batches)))


def rate(next_batch, seconds=8.0):
    """Images a second of the second half of some seconds: what was made ahead is gone by then."""
    began = start = time.perf_counter()
    count = 0
    while time.perf_counter() - began < seconds:
        if start == began and time.perf_counter() - began > seconds / 2:
            start, count = time.perf_counter(), 0
        count += next_batch()
    return count / (time.perf_counter() - start)


def memory(flags):
    step = tensorflow_step(flags, flags.precision)
    for _ in range(2):
        step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{flags.identities * flags.images} images, {flags.precision}: peak {peak:.1f} GB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = {
        "step": steps,
        "rewriter": rewriter,
        "average": average,
        "profile": profile,
        "input": inputs,
        "memory": memory,
    }
    parser.add_argument("mode", choices=modes)
    parser.add_argument("--identities", type=int, default=4)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--precision", default="float32,bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    modes[flags.mode](flags)


if __name__ == "__main__":
    main()
