"""Port PyTorch weights (MGN, ResNet-50) to a TensorFlow checkpoint, or back, and prove it."""

import argparse
import sys
from pathlib import Path

from mgn.config import parsing
from mgn.config.options import REDUCTION_ORDERS
from mgn.system import cli
from mgn.system.errors import CheckError, InputError
from mgn.system.files import refuse_existing, refuse_prefix

_FORWARD = ("key", "reduction_order", "verify", "allow_missing", "allow_extra")
_FORWARD = (*_FORWARD, "stem_padding", "dry_run", "json")  # what goes one way only


def main(arguments: list[str]) -> int:
    """Parse, check, convert, print the coverage and the proof."""
    flags = parse(arguments)
    return to_pytorch(flags) if flags.to_pytorch else from_pytorch(flags)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse, and check the flags themselves."""
    parser = cli.Parser(__doc__, "--pt_model_path model.pt --checkpoint converted/mgn")
    add = parser.add_argument
    file = "PyTorch file (.pt, .pth, .safetensors) or MGN-ReId's TensorFlow checkpoint to read"
    add("--pt_model_path", type=Path, required=True, help=file)
    add("--checkpoint", help="prefix to write; with --to_pytorch: train_dir or prefix to read")
    add("--to_pytorch", action="store_true", help="write --pt_model_path from --checkpoint")
    add("--overwrite", action="store_true", help="replace existing output")
    add("--dry_run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="print one JSON object; after a failure, the reason")
    add("--key", metavar="NAME", help="network to take, if the file holds more than one")
    judged = (
        "folder of images like those of the training, which show the order of the heads."
        " The order that fits is taken; the exit status is 1 if --reduction_order differs"
    )
    add("--verify", type=cli.existing_path, metavar="IMAGES", help=judged)
    add("--reduction_order", choices=REDUCTION_ORDERS, help="how the file numbers its heads")
    keys = {"action": "append", "default": [], "metavar": "PATTERN"}
    add("--allow_missing", **keys, help="keys that may be missing, such as 'fc_*'")
    add("--allow_extra", **keys, help="keys that may be left over, such as 'ema.*'")
    parsing.add_network_options(parser, "network, if weights do not tell (default: its authors')")
    flags = parser.parse_args(arguments)
    if not flags.checkpoint and not flags.dry_run:
        parser.error("the following arguments are required: --checkpoint")
    unfit = [f"--{n}" for n in _FORWARD if getattr(flags, n) != parser.get_default(n)]
    if unfit and flags.to_pytorch:
        parser.error(f"{', '.join(unfit)}: not with --to_pytorch")
    return flags


def from_pytorch(flags: argparse.Namespace) -> int:
    """Convert, and print what is done as it is known."""
    source, prefix = None, None if flags.dry_run else flags.checkpoint
    options, order = parsing.network_options(flags), flags.reduction_order
    given = {name: getattr(flags, name) for name in ("key", "allow_missing", "allow_extra")}
    try:
        cli.check_model_path("--pt_model_path", flags.pt_model_path)
        if prefix:
            refuse_prefix(prefix, flags.overwrite)

        from mgn.conversion import report, to_tensorflow

        source = to_tensorflow.read(flags.pt_model_path, order=order, **given, **options)
        if not flags.json:
            print(report.coverage_text(source))
        done = to_tensorflow.convert(source, prefix, flags.overwrite, flags.verify, bool(order))
    except (InputError, CheckError) as error:
        if flags.json:
            from mgn.conversion import report

            print(report.failure_json(flags.pt_model_path, source, error))
        raise
    if flags.json:
        print(report.as_json(done, prefix))
    else:
        print(report.proof_text(done, "pool" in options))
        print(report.use_text(done.source, prefix))
    return cli.DONE


def to_pytorch(flags: argparse.Namespace) -> int:
    """The way back."""
    cli.check_model_path("--checkpoint", flags.checkpoint)
    refuse_existing(flags.pt_model_path, flags.overwrite)

    from mgn.conversion import report
    from mgn.conversion.to_pytorch import convert

    paths = flags.checkpoint, flags.pt_model_path
    done = convert(*paths, flags.overwrite, **parsing.network_options(flags))
    print(report.way_back_text(done, flags.pt_model_path))
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
