"""Port PyTorch weights (MGN-pytorch and its relatives, a ResNet-50) to a TensorFlow checkpoint."""

import sys

from mgn import cli
from mgn.config import POOLS
from mgn.files import refuse_existing


def main(arguments: list[str]) -> int:
    """Parse, check, convert, print the coverage."""
    parser = cli.Parser(
        "Port PyTorch weights to a TensorFlow checkpoint, and prove it with a picture through both."
    )
    parser.add_argument(
        "--pt_model_path", type=cli.existing_path, required=True, help="PyTorch file, .pt or .pth"
    )
    parser.add_argument("--checkpoint", required=True, help="prefix of the checkpoint to make")
    parser.add_argument(
        "--pool",
        choices=POOLS,
        help="pooling it was trained with, not in the weights; omitted: the authors'",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing checkpoint")
    flags = parser.parse_args(arguments)
    for suffix in (".index", ".json"):  # what TensorFlow is not needed for; the conversion looks closer
        refuse_existing(f"{flags.checkpoint}{suffix}", flags.overwrite)

    from mgn import conversion

    done = conversion.convert(flags.pt_model_path, flags.checkpoint, flags.pool, flags.overwrite)
    print(f"{flags.pt_model_path}: {done.family}, every weight mapped, none left over")
    print(conversion.coverage_table(done))
    if done.kind == "mgn":
        options = done.options
        other = next(pool for pool in POOLS if pool != options.pool)
        said = "as given" if flags.pool else f"the authors', as the file does not tell; else --pool {other}"
        print(f"{options.num_classes} classes, {options.reduction} heads, {options.pool} pooling ({said})")
    print(f"largest difference between PyTorch and TensorFlow: {done.difference:.1e} of the largest value")
    use = (
        "evaluate, export or train from it"
        if done.kind == "mgn"
        else "a start for train.py --init_checkpoint"
    )
    print(f"{flags.checkpoint}: {use}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
