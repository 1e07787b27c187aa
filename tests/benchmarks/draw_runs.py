"""Draws what several runs of `train.py` learnt, one beside the other.

    python tests/benchmarks/draw_runs.py runs/a runs/b --output doc/scratch.png

The cross-entropy as a share of ln(identities), which guessing has; the distance of the hardest
negative, which goes to 0 in a collapse; mAP. Needs the data sets where they were.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[2]))

from mgn.config.settings import CONFIG, read_config
from mgn.data.records import read_split
from mgn.training.runlog import read

WINDOW = 25  # steps, of the moving averages


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--dashed", nargs="+", type=Path, default=[], help="runs that went wrong")
    parser.add_argument("--output", type=Path, required=True)
    flags = parser.parse_args()
    figure = Figure(figsize=(10, 9), layout="constrained")
    losses, distances, scores = figure.subplots(3, 1, sharex=True)
    for number, run in enumerate([*flags.runs, *flags.dashed]):
        style = {"color": f"C{number}", "linestyle": "--" if run in flags.dashed else "-"}
        draw(run, style, losses, distances, scores)
    losses.set_ylabel("cross-entropy / ln(identities)")
    losses.axhline(1.0, color="0.7", linewidth=0.8)
    losses.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5)
    distances.set_ylabel("hardest negative, distance")
    distances.set_yscale("log")
    for axis_format in (distances.yaxis.set_major_formatter, distances.yaxis.set_minor_formatter):
        axis_format("{x:g}")
    scores.set_ylabel("mAP on query and gallery")
    scores.set_ylim(bottom=0)
    scores.set_xlabel("step; a ring is where the triplet loss joins")
    figure.savefig(flags.output, dpi=100)


def draw(run: Path, style: dict, losses, distances, scores) -> None:
    """One run into the three axes."""
    lines = read(run)
    steps = [line for line in lines if "total" in line]
    persons = [read_split(d, "train").persons for d in read_config(run / CONFIG).datasets]
    guessing = math.log(sum(len(set(found.tolist())) for found in persons))
    at = np.array([line["step"] for line in steps])[WINDOW - 1 :]
    shares = smooth([line["cross_entropy"] / guessing for line in steps])
    negatives = smooth([line["hardest_negative"] for line in steps])
    losses.plot(at, shares, label=run.name, **style)
    distances.plot(at, negatives, **style)
    joined = [line["step"] for line in steps if line.get("triplet_weight", 0) > 0]
    if joined:
        place = max(joined[0] - WINDOW, 0)
        for axes, values in ((losses, shares), (distances, negatives)):
            axes.plot(at[place], values[place], "o", color=style["color"], markerfacecolor="white")
    scored = [line for line in lines if "mAP" in line]
    scores.plot([s["step"] for s in scored], [s["mAP"] for s in scored], marker="o", **style)


def smooth(values: list[float]) -> np.ndarray:
    """Moving average."""
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), "valid")


if __name__ == "__main__":
    main()
