"""A thousand damaged JPEGs through an exported graph, each alone: an error or a vector, never a
crash.

    python tests/benchmarks/soak_jpeg.py [--count 1000] [--seed 0]

Ends with the counts; a crash ends it before. A whole image now and then must give what it gave at
first.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parents[n]) for n in (2, 1)]

import cv2
import numpy as np
import tensorflow.compat.v1 as tf
from conftest import seeded_variables, write_checkpoint
from mutated import mutate

from mgn.config import NetworkOptions
from mgn.data.demo import draw_image
from mgn.export import freezing
from mgn.inference import exported
from mgn.inference.graph import PRE_POST
from mgn.weights import checkpoints


def reason(error):
    """The line that says it, without TensorFlow's frame and the numbers."""
    frame = ("Graph execution error", "Detected at", "Node:", "[[")
    lines = [line.strip() for line in error.message.splitlines()]
    said = next(line for line in lines if line and not line.startswith(frame))
    return " ".join(word for word in said.split() if not word.isdigit())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    rng = np.random.default_rng(flags.seed)
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "x"
        write_checkpoint(
            prefix, seeded_variables("seathiefwang", 10), NetworkOptions(10, height=96, width=32)
        )
        graph_def = freezing.freeze(checkpoints.find(prefix), PRE_POST, "jpeg")
    kinds = [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]]
    whole = [
        cv2.imencode(".jpg", draw_image(0, person, 1, 0), kinds[person % 3])[1].tobytes()
        for person in range(1, 13)
    ]
    ends = Counter()
    with exported.session_of(graph_def, "the graph") as session:

        def embed(contents):
            return session.run(
                "result_embedding:0", {"image_tensor:0": np.array([contents], object)}
            )

        expected = embed(whole[0])
        for i in range(flags.count):
            try:
                made = embed(mutate(whole[i % len(whole)], rng))
                assert made.shape == (1, 2048) and np.isfinite(made).all()
                ends["a vector"] += 1
            except tf.errors.InvalidArgumentError as error:
                ends[reason(error)] += 1
            if i % max(1, flags.count // 20) == 0:
                assert np.array_equal(embed(whole[0]), expected)
    assert sum(ends.values()) == flags.count
    for end, count in ends.most_common():
        print(f"{count:>6}  {end}")


if __name__ == "__main__":
    main()
