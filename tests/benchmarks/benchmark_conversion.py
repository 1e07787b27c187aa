"""A whole conversion from start to finish: seconds and peak memory of the script, five rounds each
way.

python tests/benchmarks/benchmark_conversion.py
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from seeded import seeded_state_dict

from mgn.data.demo import make

SCRIPT = ROOT / "convert_pytorch_weights.py"
KEYS = Path(__file__).parents[1] / "reference" / "keys_seathiefwang.txt"


def measured(*arguments):
    """Run the script; returns (seconds, peak resident GB)."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - start, usage.ru_maxrss / 1e6


def main():
    with tempfile.TemporaryDirectory() as folder:
        given, made, back = (Path(folder) / name for name in ("x.pt", "made", "back.pt"))
        arrays = seeded_state_dict(KEYS)
        torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, given)
        print(f"{given.stat().st_size / 1e6:.0f} MB, 751 classes")
        images = make(Path(folder) / "demo_set") / "query"
        there = ("--pt_model_path", given, "--checkpoint", made, "--overwrite")
        ways = {
            "to TensorFlow": there,
            "the same with --verify": (*there, "--verify", images),
            "back to PyTorch": (
                *("--to_pytorch", "--pt_model_path", back),
                *("--checkpoint", made, "--overwrite"),
            ),
        }
        found = {name: [] for name in ways}
        for _ in range(5):
            for name, arguments in ways.items():
                found[name].append(measured(*arguments))
        for name, runs in found.items():
            seconds, peaks = zip(*runs, strict=True)
            print(
                f"{name:<24} median {statistics.median(seconds):.1f} s ({min(seconds):.1f} to"
                f" {max(seconds):.1f}), peak {max(peaks):.2f} GB"
            )


if __name__ == "__main__":
    main()
