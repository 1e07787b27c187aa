"""Curves of results, and names of files as text in any drawing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

FONT = "DejaVu Sans"  # comes with matplotlib
# For names of files, with `drawable`: the user's matplotlibrc chooses no font, and a $ is a $.
AS_IT_IS = {"fontfamily": FONT, "parse_math": False}
_SHOWN = 20  # ranks
_BARS = 100  # of a histogram


def drawable(text: str) -> str:
    """The text with "?" for each letter that `FONT` lacks, which would be a box and a warning."""
    font = get_font(findfont(FONT))  # cached
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in text)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    return figure, figure.subplots()


def draw_cmc(curves: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw cumulative matching characteristics, {name: float64 [max_rank]}, into a PNG."""
    figure, axes = _figure()
    for name, curve in curves.items():
        shown = curve[:_SHOWN]
        ranks = np.arange(1, len(shown) + 1)
        label = f"{name}, rank@1 {curve[0]:.3f}"
        axes.plot(ranks, shown, marker="o", markersize=3, label=label)
    axes.set(xlabel="rank k", ylabel="share of queries with a match in the first k", title="CMC")
    axes.set(xlim=(1, _SHOWN), ylim=(0, 1.02), xticks=[1, 5, 10, 15, 20])
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, format="png")


def draw_distances(
    edges: np.ndarray, same: np.ndarray, different: np.ndarray, threshold: float, path: Path
) -> None:
    """Draw the distances of same and of different pairs, with their threshold, into a PNG.

    Args:
        edges: float64 [bins + 1], ascending and equally far apart.
        same: int64 [bins], how many pairs of each distance; at least one pair.
        different: likewise.
        threshold: a distance.
        path: where the PNG goes.
    """
    occupied = np.flatnonzero(same + different)
    first, end = occupied[0], occupied[-1] + 1
    starts = np.arange(first, end, (end - first - 1) // _BARS + 1)
    borders = edges[np.append(starts, end)]
    figure, axes = _figure()
    # Hatch and line style tell them apart for those who cannot tell green from red.
    for name, counts, colour, hatch, style in (
        ("same person", same, "#009e73", "///", "solid"),
        ("different identities", different, "#cc3311", "...", "dashdot"),
    ):
        density = np.add.reduceat(counts[:end], starts) / counts.sum() / np.diff(borders)
        axes.stairs(density, borders, fill=True, color=colour, alpha=0.2)
        line = {"color": colour, "hatch": hatch, "linestyle": style, "linewidth": 1.5}
        axes.stairs(density, borders, label=f"{name}, {counts.sum():,} pairs", **line)
    axes.axvline(threshold, color="black", linestyle="dashed", label=f"threshold {threshold:.4f}")
    axes.set(xlabel="distance between embeddings", ylabel="density", title="Same person or not")
    axes.margins(y=0.4)  # room for the legend
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, format="png")


def draw_roc(
    false_positives: np.ndarray, true_positives: np.ndarray, marked: tuple[float, float], path: Path
) -> None:
    """Draw a receiver operating characteristic into a PNG.

    Args:
        false_positives: float64 [T], share of different pairs that each threshold takes for the
            same.
        true_positives: float64 [T], share of same pairs that it finds.
        marked: both at the suggested threshold.
        path: file to make.
    """
    figure, axes = _figure()
    shown = false_positives > 0  # the axis is logarithmic
    axes.plot(false_positives[shown], true_positives[shown], color="C0", label="every threshold")
    if marked[0] > 0:
        label = f"suggested: {marked[1]:.1%} found, {marked[0]:.2%} wrongly"
        axes.plot(*marked, "o", color="C3", label=label)
    axes.set(xlabel="share of different pairs taken for the same", title="ROC")
    axes.set(ylabel="share of same pairs found", ylim=(0, 1.02))
    least = false_positives[shown].min(initial=1.0)
    axes.set(xscale="log", xlim=(max(least, 1e-6), 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    figure.savefig(path, format="png")


def draw_sizes(sizes: Sequence[tuple[str, int, float, float]], path: Path) -> None:
    """Draw mAP and recall@10 by bytes a vector, (name, bytes, mAP, recall) each, into a PNG."""
    figure = Figure(figsize=(9, 4.5), dpi=120, layout="constrained")
    for axes, title, column in zip(
        figure.subplots(1, 2), ("mAP", "recall@10"), (2, 3), strict=True
    ):
        kinds: dict[str, list[tuple]] = {}
        for size in sizes:
            kinds.setdefault(_kind(size[0]), []).append(size)
        for (kind, members), marker in zip(kinds.items(), "osD^v*P", strict=False):
            counts = [size[1] for size in members]
            style = {"linestyle": "-" if kind.startswith("PCA") else "none", "marker": marker}
            axes.plot(counts, [size[column] for size in members], label=kind, **style)
        highest = max(size[column] for size in sizes)
        axes.set(xscale="log", xlabel="bytes a vector", title=title, ylim=(0, 1.05 * highest))
        axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")
    figure.savefig(path, format="png")


def _kind(name: str) -> str:
    """Which names are drawn alike."""
    family, _, stored = name.partition(", ")
    for start in ("PCA", "bits"):
        if family.startswith(start):
            return f"{start}, {stored}" if stored else start
    return f"some heads, {stored}" if stored else "all numbers"
