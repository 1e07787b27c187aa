"""Evaluation and re-ranking at Market-1501's size, against the published ways written plainly.

Every run is a process of its own, whose peak memory is all of it, features included.

    python tests/benchmarks/benchmark_evaluation.py evaluate       both sides alternating, 5 rounds
    python tests/benchmarks/benchmark_evaluation.py rerank         the same
    python tests/benchmarks/benchmark_evaluation.py growth         up to 515,913 images, and a plot
    python tests/benchmarks/benchmark_evaluation.py rerank_large   100,000 gallery images
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mgn import metrics

QUERIES, PEOPLE, SIZE = 3368, 750, 2048
MARKET, GALLERIES = 15_913, (15_913, 65_913, 256_000, 515_913)
MATCHED = 13_115  # gallery images of the query identities; the others are distractors
ROUNDS = 5


def made_up(entries):
    """Clustered features of length 1, float32 [Q, D] and [G, D]; ids and cameras in `evaluate`'s
    order."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((PEOPLE + 1, SIZE), dtype=np.float32)
    centres[0] = 0  # distractors have nothing in common
    query_ids = np.sort(np.arange(QUERIES) % PEOPLE + 1)
    gallery_ids = np.concatenate(
        [rng.integers(1, PEOPLE + 1, MATCHED), np.zeros(entries - MATCHED, int)]
    )
    sets = []
    for ids in (query_ids, gallery_ids):
        features = np.empty((len(ids), SIZE), np.float32)
        for start in range(0, len(ids), 4096):  # no second copy: the peak is to be the evaluation's
            part = features[start : start + 4096]
            rng.standard_normal(dtype=np.float32, out=part)
            part *= 4.0
            part += centres[ids[start : start + 4096]]
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        sets.append(features)
    return *sets, query_ids, gallery_ids, rng.integers(1, 7, QUERIES), rng.integers(1, 7, entries)


def plain_evaluate(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras):
    """scipy's cdist, argsort a query, scikit-learn's AP; CMC from the same order."""
    distances = cdist(query, gallery)
    precisions, first = [], np.zeros(50)
    for i, row in enumerate(distances):
        order = np.argsort(row)
        kept = (gallery_ids[order] != query_ids[i]) | (gallery_cameras[order] != query_cameras[i])
        right = gallery_ids[order][kept] == query_ids[i]
        if right.any():
            precisions.append(average_precision_score(right, -row[order][kept]))
            rank = np.flatnonzero(right)[0]
            first[rank:] += 1
    return float(np.mean(precisions)), float(first[0] / len(precisions))


def our_evaluate(*data):
    """What `evaluate.py` runs: both APs, mINP and CMC."""
    result = metrics.evaluate(*data)
    return result.mAP, float(result.cmc[0])


def plain_rerank(query, gallery, k1=20, k2=6, lambda_value=0.3):
    """k-reciprocal encoding with dense matrices of all pairs, step by step after
    arXiv:1701.08398."""
    features = np.concatenate([query, gallery])
    total, queries = len(features), len(query)
    lengths = np.square(features).sum(axis=1)
    distances = lengths[:, None] + lengths - 2 * features @ features.T
    distances = np.maximum(distances, 0) / distances.max(axis=1, keepdims=True)
    ranked = np.argsort(distances, axis=1)
    encoding = np.zeros_like(distances)
    for i in range(total):
        near = mutual(ranked, i, k1)
        grown = near
        for j in near:
            closer = mutual(ranked, j, round(k1 / 2))
            if len(np.intersect1d(closer, near)) > 2 / 3 * len(closer):
                grown = np.append(grown, closer)
        grown = np.unique(grown)
        weights = np.exp(-distances[i, grown])
        encoding[i, grown] = weights / weights.sum()
    encoding = np.stack([encoding[ranked[i, :k2]].mean(axis=0) for i in range(total)])
    holders = [np.flatnonzero(encoding[:, i]) for i in range(total)]
    jaccard = np.zeros((queries, total), np.float32)
    for i in range(queries):
        overlap = np.zeros(total, np.float32)
        for j in np.flatnonzero(encoding[i]):
            overlap[holders[j]] += np.minimum(encoding[i, j], encoding[holders[j], j])
        jaccard[i] = 1 - overlap / (2 - overlap)
    return ((1 - lambda_value) * jaccard + lambda_value * distances[:queries])[:, queries:]


def mutual(ranked, i, k):
    """The k-reciprocal nearest neighbours of image i."""
    forward = ranked[i, : k + 1]
    return forward[(ranked[forward, : k + 1] == i).any(axis=1)]


def our_rerank(query, gallery):
    """What `evaluate.py --rerank` runs."""
    return metrics.rerank(query, gallery)


SIDES = {f.__name__: f for f in (plain_evaluate, our_evaluate, plain_rerank, our_rerank)}


def one(side, entries):
    """Run one side once; prints seconds, peak memory in GB and a check figure as JSON."""
    data = made_up(entries)
    start = time.perf_counter()
    if side.endswith("rerank"):
        result = SIDES[side](*data[:2])
        check = [float(result[:, :2000].astype(np.float64).mean()), float(result[7, 11])]
    else:
        check = SIDES[side](*data)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": seconds, "peak": peak, "check": check}))


def measured(side, entries=MARKET):
    """The same in a process of its own."""
    command = [sys.executable, __file__, "one", side, str(entries)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def alternate(work):
    """Both sides in turn; medians, ratio, whether they agree."""
    runs = {f"plain_{work}": [], f"our_{work}": []}
    for _ in range(ROUNDS):
        for side, results in runs.items():
            results.append(measured(side))
            print(
                side,
                {k: v if k == "check" else round(v, 2) for k, v in results[-1].items()},
                flush=True,
            )
    medians = []
    for side, results in runs.items():
        seconds = [result["seconds"] for result in results]
        medians.append(statistics.median(seconds))
        peak = statistics.median(result["peak"] for result in results)
        print(
            f"{side}: median {medians[-1]:.1f} s ({min(seconds):.1f}, {max(seconds):.1f}),"
            f" peak {peak:.2f} GB"
        )
    checks = [results[0]["check"] for results in runs.values()]
    print(
        f"ratio {medians[0] / medians[1]:.1f};"
        f" their results differ by {np.ptp(checks, axis=0).max():.1e}"
    )


def growth():
    """Seconds and peak memory by gallery size, and their image."""
    from matplotlib.figure import Figure

    results = [measured("our_evaluate", entries) for entries in GALLERIES]
    features = [(entries + QUERIES) * SIZE * 4 / 1e9 for entries in GALLERIES]
    for entries, result, own in zip(GALLERIES, results, features, strict=True):
        print(
            f"{entries:>8,}: {result['seconds']:6.1f} s, peak {result['peak']:.2f} GB"
            f" ({own:.2f} GB features)"
        )
    figure = Figure(figsize=(8, 3.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(GALLERIES, [result["seconds"] for result in results], "o-", color="C0")
    left.set(title=f"seconds, {QUERIES:,} queries", ylabel="seconds", ylim=(0, None))
    right.plot(
        GALLERIES,
        [result["peak"] for result in results],
        "o-",
        color="C3",
        label="peak of the process",
    )
    right.plot(GALLERIES, features, "--", color="C7", label="features alone, float32")
    right.set(title="memory", ylabel="GB", ylim=(0, None))
    right.legend()
    for axes in (left, right):
        axes.set(xlabel="gallery images", xlim=(0, None))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:.0f} k")
        axes.grid(alpha=0.3)
    figure.savefig(ROOT / "doc" / "evaluation_growth.png")


def main(arguments):
    """Dispatch."""
    match arguments:
        case ["one", side, entries]:
            one(side, int(entries))
        case ["evaluate" | "rerank" as work]:
            alternate(work)
        case ["growth"]:
            growth()
        case ["rerank_large"]:
            print(measured("our_rerank", 100_000))
        case _:
            print(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
