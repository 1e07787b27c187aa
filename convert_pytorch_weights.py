"""Port PyTorch weights (MGN-pytorch and its relatives, a ResNet-50) to a TensorFlow checkpoint, or back."""

import argparse
import json
import sys
from pathlib import Path

from mgn.config import parsing
from mgn.config.options import REDUCTION_ORDERS
from mgn.system import cli
from mgn.system.errors import CheckError, InputError
from mgn.system.files import refuse_existing

_ONLY_FORWARD = ("reduction_order", "verify", "allow_missing", "allow_extra", "dry_run", "json")


def main(arguments: list[str]) -> int:
    """Parse, check, convert, print the coverage and the proof."""
    flags = parse(arguments)
    return to_pytorch(flags) if flags.to_pytorch else from_pytorch(flags)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse, and check the flags themselves."""
    parser = cli.Parser(
        "Port PyTorch weights to a TensorFlow checkpoint, or back with --to_pytorch, and prove it with"
        " images through both networks."
    )
    add = parser.add_argument
    add(
        "--pt_model_path",
        type=Path,
        required=True,
        help="PyTorch file (.pt, .pth, .safetensors), or a TensorFlow checkpoint of MGN-ReId",
    )
    add(
        "--checkpoint",
        help="prefix of the checkpoint to make; with --to_pytorch: a train_dir or prefix",
    )
    add("--to_pytorch", action="store_true", help="write --pt_model_path from --checkpoint")
    add("--overwrite", action="store_true", help="replace what is there")
    add("--dry_run", action="store_true", help="do all but write")
    add(
        "--json",
        action="store_true",
        help="print one JSON object, with every tensor; of a failure with the reason",
    )
    add(
        "--verify",
        nargs="?",
        const=True,
        default=False,
        type=cli.existing_path,
        metavar="IMAGES",
        help="judge the order of the reductions by a folder of images like those of the training; without"
        " IMAGES by batch norms alone. The order that fits is taken; if --reduction_order says otherwise,"
        " the exit status is 1. Where it cannot be told, that is said and the exit status is 0",
    )
    add("--reduction_order", choices=REDUCTION_ORDERS, help="how the file numbers its reductions")
    add(
        "--allow_missing",
        action="append",
        default=[],
        metavar="PATTERN",
        help="keys that may be missing, such as 'fc_*'",
    )
    add(
        "--allow_extra",
        action="append",
        default=[],
        metavar="PATTERN",
        help="keys that may be left over",
    )
    parsing.add_network_options(
        parser, "what weights do not tell; omitted: what the authors trained with"
    )
    flags = parser.parse_args(arguments)
    if not flags.checkpoint and not flags.dry_run:
        parser.error("the following arguments are required: --checkpoint")
    unfit = [f"--{name}" for name in _ONLY_FORWARD if flags.to_pytorch and getattr(flags, name)]
    if unfit:
        parser.error(f"{', '.join(unfit)}: not with --to_pytorch")
    return flags


def _check(flags: argparse.Namespace) -> None:
    """What can be checked before TensorFlow is loaded; the conversion looks closer."""
    if flags.to_pytorch:
        cli.check_model_path("--checkpoint", flags.checkpoint)
        refuse_existing(flags.pt_model_path, flags.overwrite)
        return
    cli.check_model_path("--pt_model_path", flags.pt_model_path)
    if not flags.dry_run:
        for suffix in (".index", ".json"):
            refuse_existing(f"{flags.checkpoint}{suffix}", flags.overwrite)


def from_pytorch(flags: argparse.Namespace) -> int:
    """Convert, and print what is done as it is known."""
    told = {"file": str(flags.pt_model_path)}
    try:
        _check(flags)
        from mgn.conversion import report, to_tensorflow

        patterns = {"allow_missing": flags.allow_missing, "allow_extra": flags.allow_extra}
        options = parsing.network_options(flags)
        source = to_tensorflow.read(
            flags.pt_model_path, order=flags.reduction_order, **patterns, **options
        )
        told = report.record(source)
        if not flags.json:
            print(report.coverage_text(source))
        prefix = None if flags.dry_run else flags.checkpoint
        done = to_tensorflow.convert(
            source, prefix, flags.overwrite, flags.verify, bool(flags.reduction_order)
        )
    except (InputError, CheckError) as error:
        if flags.json:
            print(
                json.dumps(
                    {**told, **error.details, "error": str(error), "written": None}, indent=2
                )
            )
        raise
    if flags.json:
        print(json.dumps(report.record(done.source, done, written=prefix), indent=2))
        return cli.DONE
    print(report.proof_text(done, "pool" in options))
    print(report.use_text(done.source, prefix) if prefix else "dry run: nothing was written")
    return cli.DONE


def to_pytorch(flags: argparse.Namespace) -> int:
    """The way back."""
    _check(flags)
    from mgn.conversion import parity
    from mgn.conversion.to_pytorch import convert

    options = parsing.network_options(flags)
    done = convert(flags.checkpoint, flags.pt_model_path, flags.overwrite, **options)
    print(
        f"{done.checkpoint.prefix}: {done.tensors} tensors as MGN-pytorch names them, equal bit for bit"
    )
    print("largest difference between TensorFlow and PyTorch, over the largest value:")
    print(parity.table(done.differences))
    kept = done.checkpoint.options
    print(
        f"{flags.pt_model_path}: for {kept.height}×{kept.width} images, {kept.pool} pooling and"
        f" {kept.reduction} heads, which it does not tell"
    )
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
