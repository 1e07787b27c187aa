"""Memory of a process that loads a model, embeds images of random sizes and closes it, repeatedly.

    python tests/benchmarks/memory.py MODEL [--rounds 3] [--calls 100]

Prints megabytes, a line a round. Linux.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parents[2])]

import numpy as np

from mgn.inference import load_embedder

LARGEST = 300  # rows or columns


def megabytes():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=100)
    flags = parser.parse_args()
    rng = np.random.default_rng(0)

    def embed_some(embed, calls):
        for _ in range(calls):
            sizes = rng.integers(1, LARGEST, (3, 2))
            embed([rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes])

    print("before | in use | after more calls | closed")
    for _ in range(flags.rounds):
        found = [megabytes()]
        embed = load_embedder(flags.model)
        embed([np.zeros((LARGEST, LARGEST, 3), np.uint8)])
        embed_some(embed, flags.calls // 5)
        found.append(megabytes())
        embed_some(embed, flags.calls)
        found.append(megabytes())
        embed.close()
        found.append(megabytes())
        print(" | ".join(f"{value:.0f}" for value in found), flush=True)


if __name__ == "__main__":
    main()
