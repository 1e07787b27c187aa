"""Score a model on a Market-1501 data set: mAP, rank-k, mINP, with or without re-ranking."""

import argparse
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from mgn.config import parsing
from mgn.config.dataset import add_dataset_options
from mgn.config.scoring import add_scoring_options, promise_of
from mgn.config.settings import dataset_to_score
from mgn.system import cli
from mgn.system.files import atomic_folder, output_folder, refuse_existing, refuse_names

CURVES = ("cmc.png", "distances.png", "roc.png")
PICTURES = (*CURVES, "worst-*.png", "sample-*.png", "heads.png", "report.html")
FURTHER = ("sizes.png", "sizes.json", "reduction.npz", "threshold.json", "model_card.md")
OUTPUTS = (*PICTURES, *FURTHER, "metrics.json")


def main(arguments: list[str]) -> int:
    """Parse, claim the folder of the results, evaluate."""
    flags = parse(arguments)
    with output_folder(flags.output_dir, "evaluation") as output_dir, ExitStack() as last:
        refuse_names(output_dir, OUTPUTS, flags.overwrite)
        evaluate(flags, output_dir, last)
    return cli.DONE


def evaluate(flags: argparse.Namespace, output_dir: Path, last: ExitStack) -> None:
    """Check, embed, score; write the scores, print the tables, draw."""
    if flags.features and not flags.features.exists():
        refuse_existing(flags.features, overwrite=False)
    chosen = dataset_to_score(None if flags.query else flags.model, flags.dataset, vars(flags))

    from mgn.evaluation.embedding import list_splits, load_or_embed

    dataset, *splits = list_splits(chosen, flags.query, flags.gallery)

    from mgn.data.decoding import read_image
    from mgn.data.formats.table import is_pooled
    from mgn.evaluation import card, claims, page, report, scoring, sizes
    from mgn.inference.embedder import checkpoint_at, load_embedder, model_hash, resolve

    claims.check_enough(flags.promise, *splits)
    options = parsing.network_options(flags)
    model = resolve(flags.model) if flags.model else None  # a run in progress soon has another
    made_by = model_hash(model, **options) if model else None
    checkpoint = checkpoint_at(model, **options) if model else None
    load = partial(load_embedder, model, **options)
    how = not flags.no_flip, flags.skip_unreadable
    embedded, keep = load_or_embed(flags.features, *splits, load, made_by, *how)
    last.callback(keep)  # whatever becomes of the scores
    embedded = scoring.normalised(embedded, flags.normalise)
    scores = scoring.score(embedded, flags.rerank, flags.single_gallery_shot, is_pooled(chosen))
    examined = report.examine(scores, embedded, model or str(flags.features), dataset)
    with atomic_folder(output_dir, OUTPUTS, flags.overwrite) as folder:
        report.write_scores(examined, folder)
    print(report.as_text(examined), flush=True)
    with atomic_folder(output_dir, PICTURES) as folder:
        drawings = page.draw(examined, folder, read_image, checkpoint)
    scores = output_dir / "metrics.json"
    print(f"written: {scores}", *(str(output_dir / path.name) for path in drawings.paths), sep=", ")
    if flags.promise:
        print(claims.write(flags.promise, examined, output_dir / "threshold.json"))
    if flags.sizes:
        print(sizes.write(embedded, dataset, output_dir))
    if flags.card:
        print(card.write(examined, checkpoint, output_dir, flags.overwrite))
    drawings.check(scores)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags, checked as far as they can be without TensorFlow."""
    parser = cli.Parser("Score a model on query and gallery.", "--model runs/demo --rerank")
    add = parser.add_argument
    folder = "data set, as for train.py (default: that of the model's run, else the demo set)"
    add("--dataset", type=cli.existing_path, help=folder)
    listed = "images: folder named as Market-1501's, or CSV list (path,person,camera)"
    add("--query", type=cli.existing_path, help=f"query {listed}")
    add("--gallery", type=cli.existing_path, help=f"gallery {listed}")
    add("--model", type=cli.model_path, help="train_dir, checkpoint, .pb, or SavedModel folder")
    add("--output_dir", type=Path, help="results folder (default: a new runs/evaluation-N)")
    add("--overwrite", action="store_true", help="replace results in --output_dir")
    add_scoring_options(parser)
    add_dataset_options(parser)
    parsing.add_network_options(parser)
    flags = parser.parse_args(arguments)
    if flags.model is None and not (flags.features and flags.features.exists()):
        there = "--model (or --features with a file that is there)"
        parser.error(f"the following arguments are required: {there}")
    if (flags.query is None) != (flags.gallery is None) or (flags.query and flags.dataset):
        parser.error("--query and --gallery go together, and stand in for --dataset")
    flags.promise = promise_of(flags)
    return flags


if __name__ == "__main__":
    sys.exit(cli.run(main))
