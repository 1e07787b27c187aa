"""The benchmark for GPUs on a CPU: that each part runs, and what it refuses."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import shallow
import tensorflow.compat.v1 as tf
from benchmarks import gpu

SCRIPT = Path(__file__).parent / "benchmarks" / "gpu.py"


def test_every_part_runs_on_a_cpu_too(tmp_path, monkeypatch, capsys):
    """One in a process of its own, as all do; the others in this one, which has imported all."""
    run_part = gpu.run_part
    monkeypatch.syspath_prepend(SCRIPT.parent)  # as where a script is started

    def run_part_here(part, more, flags):
        if part == "devices":
            return run_part(part, more, flags)
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--part", part, *more, "--tiny"])
        with small_network(part), tf.Graph().as_default():
            capsys.readouterr()
            assert gpu.main() == 0
        return json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    monkeypatch.setattr(gpu, "run_part", run_part_here)
    monkeypatch.setattr(gpu, "cards_here", lambda: 0)
    table = tmp_path / "gpu.md"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--tiny", "--output", str(table)])
    assert gpu.main() == 0
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


def small_network(part):
    """Of both sides, but where published values are those of the whole network."""
    return nullcontext() if part == "parity" else shallow.patched_with_torch()


def test_a_machine_without_a_gpu_gives_no_figures():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--tiny" in done.stderr.splitlines()[-1]
