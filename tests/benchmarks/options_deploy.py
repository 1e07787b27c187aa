"""Targets of `python -m mgn.deploy` with their options and all variants of the network.

    python tests/benchmarks/options_deploy.py [--first N]

Each pair of values stands in one row at least, as in `options.py`. No network is trained.
Prints a line a row, and exits with 1 if one fails.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[1]))

import tensorflow.compat.v1 as tf
from benchmarks.options import covering, run

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.data.demo import checked_dataset
from mgn.deploy import __main__ as deploy
from mgn.deploy import targets
from mgn.export import freezing
from mgn.inference.graph import PLAIN
from mgn.network.architecture import inference_network
from mgn.system.session import new_graph, new_session
from mgn.weights import checkpoints, saving

DEPLOY = {
    "target": deploy.TARGETS,
    "variant": ("mgn-pytorch", "lwplw", "fastreid-v0.1", "fastreid", "luperson"),
    "pre": (False, True),
    "length_1": (False, True),
    "weights": (None, "half", "dynamic_range", "int8"),
    "keep_float": (None, 5),
    "rgb": (False, True),
    "input_size": (None, "64x30"),
    "overwrite": (False, True),
}


def untrained(variant: str, pb_path: Path) -> Path:
    """A plain export of a network as training begins it."""
    options = NetworkOptions(0, height=96, width=32, **VARIANTS[variant], variant=variant)
    prefix = pb_path.with_suffix("")
    with new_graph().as_default() as graph:
        inference_network(tf.placeholder(tf.float32, [None, 96, 32, 3]), options)
        saver = saving.new_saver(tf.global_variables())
        start = tf.global_variables_initializer()
    with new_session(graph, rewrite=False) as session:
        session.run(start)
        saving.save(session, saver, prefix, checkpoints.describe(options))
    freezing.export_pb(prefix, pb_path, PLAIN)
    return pb_path


def demo_images() -> Path:
    """The demo set's training images."""
    return checked_dataset(None).folder / "bounding_box_train"


def deploy_row(row: dict, pb_path: Path, folder: Path) -> str:
    """Make a row's files of an export of its variant; returns what is wrong, or "".

    Without what its target does not take; that is refused, as its own tests say. The command itself
    compares the values.
    """
    name, target = row["target"], targets.TARGETS[row["target"]]
    output = folder / f"made{deploy.ENDINGS.get(name, '')}"
    arguments = [name, "--pb_path", pb_path, "--output", output]
    chosen = [flag for flag in ("pre", "length_1", "rgb", "overwrite") if row[flag]]
    chosen += [row["weights"]] if row["weights"] else []
    arguments += [f"--{flag}" for flag in chosen if flag in (*target.takes, "overwrite")]
    if "--int8" in arguments:
        calibrated = ["--calibration", demo_images(), "--calibration_images", 32]
        arguments += [*calibrated, "--int8_bound", -1]  # of networks that have not learned
        arguments += ["--keep_float", row["keep_float"]] if row["keep_float"] else []
    if row["input_size"] and "input_size" in target.takes:
        arguments += ["--input_size", row["input_size"]]
    made = target.files(output)
    if row["overwrite"] and not target.holds:
        for path in made:
            path.write_text("before")
    status, output = run(deploy, arguments)
    if name == "opencv" and row["variant"] == "luperson":
        told = "use the target onnx" in output
        return "" if status == 2 and told else f"exit status {status}, not refused: {output}"
    if status == 0 and all(path.exists() for path in made):
        return ""
    return f"exit status {status}: {output.strip().splitlines()[-1]}"


def main() -> int:
    """Run all rows, or the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, help="rows; omitted: all")
    flags = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        exports = {v: untrained(v, Path(temporary) / f"{v}.pb") for v in DEPLOY["variant"]}
        for row in covering(DEPLOY)[: flags.first]:
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                problem = deploy_row(row, exports[row["variant"]], Path(folder))
            told = " ".join(f"{name}={value}" for name, value in row.items())
            print(f"{problem or 'done'} ({time.monotonic() - began:.0f} s): {told}", flush=True)
            failed += bool(problem)
    print(f"{failed} rows failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
