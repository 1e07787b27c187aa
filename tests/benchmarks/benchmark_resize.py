"""The resize as TensorFlow's own operation and as two matrix products, of any size and of one.

    python tests/benchmarks/benchmark_resize.py [--rounds 15]

Milliseconds a batch to 384x128, the least of the rounds; sides alternate.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parents[2])]

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.data.images import resize
from mgn.data.matrix_resize import resize_by_products
from mgn.system.session import new_graph, new_session

BATCHES = (1, 8, 32)
SIZES = ((128, 64), (256, 128), (400, 160), (1080, 540))


def runner(function, size):
    """`function` on uint8 images of a size, (None, None) for any, as a Python function."""
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, *size, 3])
        resized = function(images, 384, 128)
    session = new_session(graph)
    return lambda batch: session.run(resized, {images: batch})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    flags = parser.parse_args()
    rng = np.random.default_rng(0)
    own, products = runner(resize, (None, None)), runner(resize_by_products, (None, None))
    print("| batch of images | own operation, ms | products, ms | products, fixed size, ms |")
    print("|---|---|---|---|")
    for size in SIZES:
        sides = own, products, runner(resize_by_products, size)
        for count in BATCHES:
            batch = rng.integers(0, 256, (count, *size, 3), np.uint8)
            least = [np.inf] * len(sides)
            for _ in range(flags.rounds):
                for i, side in enumerate(sides):
                    start = time.perf_counter()
                    side(batch)
                    least[i] = min(least[i], time.perf_counter() - start)
            shown = " | ".join(f"{1e3 * seconds:.1f}" for seconds in least)
            print(f"| {count} of {size[0]}×{size[1]} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
