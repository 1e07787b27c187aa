"""Score a model on a Market-1501 data set: mAP, rank-k, mINP, with or without re-ranking."""

import sys
from pathlib import Path

from mgn import cli
from mgn.errors import InputError
from mgn.files import next_free, refuse_existing


def main(arguments: list[str]) -> int:
    """Parse, check, evaluate, print the table."""
    parser = cli.Parser("Score a model on the query and gallery of a Market-1501 data set.")
    parser.add_argument("--dataset", type=cli.existing_path, help="Market-1501 folder; omitted: the demo set")
    parser.add_argument(
        "--model",
        type=cli.model_path,
        required=True,
        help="train_dir, checkpoint prefix, .pb, or SavedModel folder",
    )
    parser.add_argument(
        "--rerank", action="store_true", help="score k-reciprocal re-ranking too (arXiv:1701.08398)"
    )
    parser.add_argument(
        "--output_dir", type=Path, help="for the results; omitted: the next free runs/evaluation-N"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results in --output_dir")
    cli.add_network_options(parser)
    flags = parser.parse_args(arguments)
    output_dir = flags.output_dir or next_free(Path("runs"), "evaluation")
    for name in ("metrics.json", "cmc.png"):
        refuse_existing(output_dir / name, flags.overwrite)
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"--output_dir {output_dir}: is a file")
    dataset = cli.checked_dataset(flags.dataset, "query", "gallery")

    from mgn import evaluation
    from mgn.inference import load_embedder

    embed = load_embedder(flags.model, **cli.network_options(flags))
    scores = evaluation.evaluate(embed, dataset, flags.rerank)
    print(evaluation.table(scores), flush=True)
    written = evaluation.write(scores, output_dir, flags.model, str(dataset), flags.overwrite)
    print(f"written: {', '.join(map(str, written))}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
