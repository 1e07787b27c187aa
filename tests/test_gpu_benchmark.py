"""The benchmark for GPUs on a CPU: that each part runs, and what it refuses."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "benchmarks" / "gpu.py"


def test_every_part_runs_on_a_cpu_too(tmp_path):
    table = tmp_path / "gpu.md"
    command = [sys.executable, SCRIPT, "--tiny", "--output", table]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = table.read_text(encoding="utf-8")
    rows = dict(line.strip("| ").split(" | ", 1) for line in text.splitlines()[2:])
    assert float(rows["embedding, float32"]) <= 1e-5
    for measured in (
        "training step, float32",
        "training step, float32, PyTorch on cpu",
        "exported graph, float32, batch 4",
        "input pipeline alone, files",
    ):
        assert float(rows[measured].split()[0]) > 0, measured
    assert {"machine", "TensorFlow", "PyTorch"} <= set(rows)


def test_a_machine_without_a_gpu_gives_no_figures():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--tiny" in done.stderr.splitlines()[-1]
