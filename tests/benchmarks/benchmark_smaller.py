"""What smaller vectors inside an export give and cost, against the table of `evaluate.py --sizes`.

    python tests/benchmarks/benchmark_smaller.py --checkpoint runs/demo --dataset runs/demo_set

Reductions are fitted to the gallery of the data set. Each export embeds query and gallery, and is
compared with the checkpoint's embeddings made smaller in float64: largest difference over the
largest value, least cosine, mAP, rank@1. Then speed with and without, in turn.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

import numpy as np

from mgn import metrics
from mgn.config.dataset import DataSet
from mgn.config.options import Int8, Reduce
from mgn.data import probe
from mgn.data.demo import checked_dataset
from mgn.data.records import read_split
from mgn.evaluation import sizes
from mgn.evaluation.embedding import embed_query_and_gallery
from mgn.export.comparison import cosines_of
from mgn.export.freezing import export_pb
from mgn.inference.embedder import load_embedder, model_hash
from mgn.inference.graph import PRE_POST
from mgn.metrics.reduction import choose, read_reductions

PRECISIONS = ("float32", "bfloat16", "int8")
BATCHES = (1, 32)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument(
        "--names", default="heads of parts,PCA 128,PCA 32", help="rows of the table"
    )
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=31, help="of speed; 0: none")
    flags = parser.parse_args()
    dataset = checked_dataset(DataSet(flags.dataset))
    splits = [read_split(dataset, name) for name in ("query", "gallery")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(load_embedder(flags.checkpoint)) as source:
            embedded = embed_query_and_gallery(source, *splits)
            about = {"probe": probe.embedded_by(source), "made_by": model_hash(flags.checkpoint)}
        print(sizes.write(replace(embedded, **about), str(flags.dataset), folder))
        file = folder / sizes.REDUCTION
        print("| vectors | MB | largest difference | least cosine | mAP (table) | rank@1 (table) |")
        print("|---|---|---|---|---|---|")
        for reduce in [Reduce(file, name) for name in flags.names.split(",")]:
            for precision in flags.precisions.split(","):
                show(reduce, precision, flags, embedded, splits, folder / "x.pb")
        if flags.rounds:
            speed(flags, Reduce(file, flags.names.split(",")[0]), folder)


def show(reduce, precision, flags, embedded, splits, path):
    """A row of the table: one reduction in one precision."""
    int8 = Int8(flags.dataset / "bounding_box_train", int8_bound=-1)
    how = {"precision": precision, "reduce": reduce, "overwrite": True}
    export_pb(flags.checkpoint, path, PRE_POST, "uint8", int8=int8, **how)
    with closing(load_embedder(path)) as made:
        got = embed_query_and_gallery(made, *splits)
    reduction = choose(read_reductions(reduce.file, "file"), reduce.name, "file")
    features = [(e.query_features, e.gallery_features) for e in (embedded, got)]
    expected, rows = reduction(np.concatenate(features[0])), np.concatenate(features[1])
    difference = np.abs(rows - expected).max() / np.abs(expected).max()
    scores = metrics.evaluate(*features[1], *got.labels)
    figures = f"{difference:.1e} | {cosines_of(expected, rows).min():.5f}"
    figures += f" | {scores.mAP:.4f} ({reduction.scores['mAP']:.4f})"
    figures += f" | {scores.cmc[0]:.4f} ({reduction.scores['rank1']:.4f})"
    size = path.stat().st_size / 1e6
    print(f"| {reduce.name}, {precision} | {size:.1f} | {figures} |", flush=True)


def speed(flags, reduce, folder):
    """Images a second of whole and smaller vectors, in turn."""
    sides = {}
    for name, asked in (("whole", None), (reduce.name, reduce)):
        path = folder / f"{name}.pb"
        export_pb(flags.checkpoint, path, PRE_POST, "uint8", reduce=asked)
        sides[name] = load_embedder(path)
        print(f"{name}: {path.stat().st_size / 1e6:.2f} MB")
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        images = rng.integers(0, 256, (batch, 128, 64, 3), np.uint8)
        seconds = {name: [] for name in sides}  # (of the clock, of the processors)
        for i in range(flags.rounds + 1):
            for name, embed in sides.items():
                start = time.perf_counter(), time.process_time()
                embed.session.run(embed.result, {embed.input: images})
                end = time.perf_counter(), time.process_time()
                if i:
                    seconds[name].append(np.subtract(end, start))
        whole, smaller = (np.array(each) for each in seconds.values())
        clock, processors = np.median(smaller / whole, axis=0)
        rates = [f"{batch / np.median(each[:, 0]):.1f}" for each in (whole, smaller)]
        ratios = f"time {clock:.3f}, processor time {processors:.3f}"
        print(f"batch {batch}: {' and '.join(rates)} images/s; {ratios} of whole", flush=True)


if __name__ == "__main__":
    main()
