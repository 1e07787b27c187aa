"""Seconds of a training step with and without oneDNN, in alternating processes."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[n]) for n in (2, 1)]
ROUNDS, WARM_UP, STEPS = 5, 2, 3


def main():
    """Alternate both sides and print their medians."""
    seconds = {"0": [], "1": []}
    for _ in range(ROUNDS):
        for setting, times in seconds.items():
            environment = {
                **os.environ,
                "TF_ENABLE_ONEDNN_OPTS": setting,
                "TF_CPP_MIN_LOG_LEVEL": "3",
            }
            command = [sys.executable, __file__, "--one"]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            times.append(float(done.stdout))
    for setting, times in seconds.items():
        print(
            f"TF_ENABLE_ONEDNN_OPTS={setting}: median {statistics.median(times):.2f} s a step of"
            f" 32 images of 96x32, {min(times):.2f} to {max(times):.2f} in {ROUNDS} rounds"
        )


def one_round():
    """Print the best of a few steps of recipe `scratch`, input left out."""
    import numpy as np
    import tensorflow.compat.v1 as tf

    from mgn.config import RECIPES
    from mgn.training import build_train_graph

    config = RECIPES["scratch"]
    with tf.Graph().as_default(), tf.Session() as session:
        noise = np.random.default_rng(0).normal(size=(32, config.height, config.width, 3))
        images = tf.constant(noise.astype(np.float32))
        ops = build_train_graph(config, images, tf.constant(np.repeat(np.arange(8), 4)), 40)
        session.run([v.initializer for v in tf.global_variables()])
        times = []
        for _ in range(WARM_UP + STEPS):
            start = time.perf_counter()
            session.run(ops.train_op)
            times.append(time.perf_counter() - start)
    print(min(times[WARM_UP:]))


if __name__ == "__main__":
    one_round() if "--one" in sys.argv else main()
