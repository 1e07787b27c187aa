"""Pictures of results."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # not pyplot: no window system, no global state

_SHOWN = 20  # ranks


def draw_cmc(curves: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw cumulative matching characteristics into a PNG; `curves` maps a name to float64 [max_rank]."""
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        shown = curve[:_SHOWN]
        axes.plot(
            np.arange(1, len(shown) + 1),
            shown,
            marker="o",
            markersize=3,
            label=f"{name}, rank@1 {curve[0]:.3f}",
        )
    axes.set(xlabel="rank k", ylabel="share of queries with a match in the first k", title="CMC")
    axes.set(xlim=(1, _SHOWN), ylim=(0, 1.02), xticks=[1, 5, 10, 15, 20])
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, format="png")
