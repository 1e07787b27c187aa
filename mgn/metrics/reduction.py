"""The file of smaller vectors, `reduction.npz`: made by `evaluate.py --sizes`, taken by exports."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.metrics import smaller
from mgn.metrics.smaller import PCA, Axes
from mgn.system.arrays import BAD_FILE, read_values, write_values
from mgn.system.errors import InputError
from mgn.system.numbers import is_digits

FORMAT = "mgn reduction 1"
FLOAT = "float32"  # the type of the table's rows that a graph can give
WHOLE = FLOAT  # the row of whole vectors
_STORED = ("int8", "float16", "bits")  # rows of how vectors are stored, not of how they are made


class Origin(NamedTuple):
    """The features that reductions were fitted to, and scored on."""

    model: str  # see `inference.embedder.model_hash`
    probe: np.ndarray  # float32 [D], the model's embedding of `data.probe`; empty: not known
    flip: bool  # the mirror image is in them
    dataset: str
    images: int  # of the gallery


class Reductions(NamedTuple):
    """What a file holds: every reduction, and what each costs."""

    origin: Origin
    fitted: Axes  # float32
    heads: dict[str, list[int]]  # numbers of heads by the name of a subset
    scores: dict[str, dict]  # {mAP, rank1, recall10} by the name of a row of the table


class Reduction(NamedTuple):
    """A map of whole vectors [N, D] of length 1 to smaller ones [N, `size`] of length 1."""

    name: str  # such as "PCA 256" or "heads of whole maps"
    size: int
    heads: list[int] | None  # that are kept; None: axes
    fitted: Axes | None  # as many axes as numbers; None: heads
    scores: dict | None  # its row of the table; None: not measured
    whole: dict  # the row of whole vectors
    origin: Origin

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The smaller vectors in float64: what every export is held against."""
        exact = features.astype(np.float64)
        if self.heads:
            return smaller.columns_of(self.heads)(exact)
        return smaller.project(self.fitted, np.float64)(exact)


def choose(reductions: Reductions, name: str, where: str) -> Reduction:
    """The reduction of a row of the table, or of any number of axes that the file has.

    Args:
        reductions: of a file.
        name: of a row, with or without its type, or "PCA N".
        where: names file and flag in errors.

    Raises:
        InputError: the file has no such reduction.
    """
    short = name.strip().removesuffix(f", {FLOAT}")
    scores = reductions.scores.get(f"{short}, {FLOAT}")
    told = scores, reductions.scores[WHOLE], reductions.origin
    if short in reductions.heads:
        kept = reductions.heads[short]
        return Reduction(short, 256 * len(kept), kept, None, *told)
    most = len(reductions.fitted.axes)
    count = short.removeprefix(f"{PCA} ")
    if count != short and is_digits(count):
        if 1 <= int(count) <= most:
            fitted = smaller.first_axes(reductions.fitted, int(count))
            return Reduction(f"{PCA} {int(count)}", int(count), None, fitted, *told)
        fitted = f"it was fitted to {reductions.origin.images} gallery images"
        raise InputError(f"{where}: has sizes from 1 to {most} ({fitted}); choose one of these")
    if any(kind in name for kind in _STORED):
        problem = f"{name!r} is how vectors are stored, and a graph gives {FLOAT}"
        raise InputError(f"{where}: {problem}; name the row of {FLOAT}, and round what it gives")
    names = ", ".join(repr(known) for known in reductions.heads)
    raise InputError(
        f"{where}: has no {name!r}; choose from {names}, and '{PCA} 1' to '{PCA} {most}'"
    )


def write_reductions(path: Path, reductions: Reductions) -> None:
    """Make the file, which must not exist."""
    origin, fitted = reductions.origin, reductions.fitted
    about = origin._asdict() | {"heads": reductions.heads, "scores": reductions.scores}
    probe = about.pop("probe")
    values = {"format": FORMAT, "about": json.dumps(about), "probe": np.float32(probe)}
    arrays = {name: np.float32(array) for name, array in fitted._asdict().items()}
    write_values(path, values | arrays)


def read_reductions(path: Path, where: str) -> Reductions:
    """Read what `write_reductions` wrote; `where` names it in the error.

    Raises:
        InputError: another file, or a damaged one.
    """
    try:
        values = read_values(path, FORMAT)
        about = json.loads(str(values["about"]))
        fitted = Axes(*(values[name] for name in Axes._fields))
        centre, axes, spread = fitted
        if (len(spread), *centre.shape) != axes.shape or spread.ndim != 1:
            raise ValueError("its sizes do not fit")
        if not all(np.isfinite(array).all() for array in fitted) or not (spread > 0).all():
            raise ValueError("NaN, infinity or no deviation")
        if any(array.dtype != np.float32 for array in (*fitted, values["probe"])):
            raise ValueError("not float32")
        heads = {str(name): _heads(kept, len(centre)) for name, kept in about["heads"].items()}
        scores = {str(name): _scores(row) for name, row in about["scores"].items()}
        if WHOLE not in scores:
            raise KeyError(WHOLE)
        told = str(about["dataset"]), int(about["images"])
        origin = Origin(str(about["model"]), values["probe"], bool(about["flip"]), *told)
    except BAD_FILE as error:
        problem = f"not a complete reduction.npz of evaluate.py --sizes ({error})"
        raise InputError(f"{where}: {problem}; make it again") from None
    return Reductions(origin, fitted, heads, scores)


def _heads(kept: list, columns: int) -> list[int]:
    """Numbers of heads, each once, in order."""
    if not kept or kept != sorted({int(head) for head in kept}):
        raise ValueError(f"heads {kept}")
    if kept[0] < 0 or 256 * (kept[-1] + 1) > columns:
        raise ValueError(f"heads {kept} of {columns} numbers")
    return kept


def _scores(row: dict) -> dict:
    found = {name: float(row[name]) for name in ("mAP", "rank1", "recall10")}
    if not all(math.isfinite(value) for value in found.values()):
        raise ValueError("a score that is no number")
    return found
