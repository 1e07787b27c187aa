"""Score a model on a Market-1501 data set: mAP, rank-k, mINP, with or without re-ranking."""

import argparse
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

from mgn.config import parsing
from mgn.system import cli
from mgn.system.files import atomic_folder, next_free, refuse_names

OUTPUTS = (  # metrics.json last: with it there, the others are
    *("cmc.png", "distances.png", "roc.png", "worst-*.png", "sample-*.png", "heads.png"),
    *("report.html", "metrics.json"),
)


def main(arguments: list[str]) -> int:
    """Parse, check, evaluate, print the tables."""
    flags = parse(arguments)
    output_dir = flags.output_dir or next_free(Path("runs"), "evaluation")
    refuse_names(output_dir, OUTPUTS, flags.overwrite)
    dataset, query, gallery = splits(flags)

    from mgn.data.reading import ImageReader
    from mgn.evaluation import page, report, scoring
    from mgn.inference.embedder import checkpoint_at, resolve

    options = parsing.network_options(flags)
    model = (
        resolve(flags.model) if flags.model else None
    )  # a run that is still training saves another soon
    embedded = features(flags, model, options, query, gallery)
    scores = scoring.score(embedded, flags.rerank)
    examined = report.examine(scores, embedded, model or str(flags.features), dataset)
    print(report.as_text(examined), flush=True)
    checkpoint = checkpoint_at(model, **options) if model else None
    with (
        atomic_folder(output_dir, OUTPUTS, flags.overwrite) as folder,
        closing(ImageReader()) as read,
    ):
        written = report.write(examined, folder, read, checkpoint)
        written.append(page.write_page(examined, folder, written))
    print(f"written: {', '.join(str(output_dir / path.name) for path in written)}")
    return cli.DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags, checked as far as they can be without TensorFlow."""
    parser = cli.Parser("Score a model on the query and gallery of a data set.")
    parser.add_argument(
        "--dataset",
        type=cli.existing_path,
        help="Market-1501 folder, or one with query.csv and gallery.csv; omitted: the demo set",
    )
    for split in ("query", "gallery"):
        parser.add_argument(
            f"--{split}",
            type=cli.existing_path,
            help=f"folder of images named as Market-1501's, or CSV list (path,person,camera), as {split}",
        )
    parser.add_argument(
        "--model",
        type=cli.model_path,
        help="train_dir, checkpoint prefix, .pb, or SavedModel folder",
    )
    parser.add_argument(
        "--features",
        type=Path,
        help="file that keeps the embeddings (.npz): written with --model if it is not there, else read",
    )
    parser.add_argument(
        "--rerank", action="store_true", help="score k-reciprocal re-ranking too (arXiv:1701.08398)"
    )
    parser.add_argument(
        "--no_flip", action="store_true", help="embed the image alone, without its mirror image"
    )
    parser.add_argument(
        "--skip_unreadable", action="store_true", help="leave damaged images out, and count them"
    )
    parser.add_argument(
        "--output_dir", type=Path, help="for the results; omitted: the next free runs/evaluation-N"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results in --output_dir")
    parsing.add_network_options(parser)
    flags = parser.parse_args(arguments)
    if flags.model is None and not (flags.features and flags.features.exists()):
        parser.error(
            "the following arguments are required: --model (or --features with a file that is there)"
        )
    if (flags.query is None) != (flags.gallery is None) or (flags.query and flags.dataset):
        parser.error("--query and --gallery go together, and stand in for --dataset")
    return flags


def splits(flags: argparse.Namespace) -> tuple:
    """What is evaluated on: its name, query split, gallery split."""
    from mgn.data.demo import checked_dataset
    from mgn.data.records import check_matches, describe, read_images, read_split

    if flags.query:
        dataset = f"{flags.query} in {flags.gallery}"
        query, gallery = (read_images(flags.query, "query"), read_images(flags.gallery, "gallery"))
    else:
        dataset = checked_dataset(flags.dataset)
        query, gallery = read_split(dataset, "query"), read_split(dataset, "gallery")
    check_matches(query, gallery)
    sys.stderr.write(f"query: {describe(query)}; gallery: {describe(gallery)}\n")
    return str(dataset), query, gallery


def features(flags: argparse.Namespace, model: str | None, options: dict, query, gallery):
    """Embeddings of both splits: from --features if it is there, else made by --model, and kept."""
    from mgn.evaluation import embedding
    from mgn.evaluation.embedding import embed_query_and_gallery
    from mgn.inference import load_embedder
    from mgn.inference.embedder import model_hash

    made_by, flip = (
        model_hash(model, **options) if flags.features and model else None,
        not flags.no_flip,
    )
    if flags.features and flags.features.exists():
        return embedding.load_features(flags.features, query, gallery, made_by, flip)
    with closing(load_embedder(model, **options)) as loaded:
        embed = partial(loaded, flip=flip)
        embedded = embed_query_and_gallery(embed, query, gallery, flags.skip_unreadable)
    if flags.features:
        embedding.save_features(flags.features, embedded, (query, gallery), made_by, flip)
    return embedded


if __name__ == "__main__":
    sys.exit(cli.run(main))
