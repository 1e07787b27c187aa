"""Vectors of an old model for a new one: `python -m mgn.migrate --old F --new F --output MAP`."""

import argparse
import sys
from pathlib import Path

from mgn.config.threshold import share
from mgn.system import cli
from mgn.system.files import refuse_existing

MAX_LOSS = 0.1


def main(arguments: list[str]) -> int:
    """Parse; make a map, or map a file."""
    flags = parse(arguments)
    refuse_existing(flags.output, flags.overwrite)

    from mgn.evaluation import migration

    if flags.apply:
        count = migration.apply(flags.apply, flags.features, flags.output, flags.overwrite)
        print(f"{count} vectors mapped")
    else:
        made = migration.make(flags.old, flags.new, flags.max_loss or MAX_LOSS)
        migration.write_map(flags.output, made, flags.overwrite)
        print(migration.as_text(made))
    print(f"written: {flags.output}")
    return cli.DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags; either those of a new map, or those of mapping a file."""
    what = "Map the vectors of an old model into the space of a new one, without the images."
    parser = cli.Parser(
        what, "--old old.npz --new new.npz --output map.npz", prog="python -m mgn.migrate"
    )
    made = parser.add_argument_group("make a map from images that both models embedded")
    file = "features of evaluate.py --features, by the"
    made.add_argument("--old", type=cli.existing_path, metavar="FILE", help=f"{file} old model")
    made.add_argument("--new", type=cli.existing_path, metavar="FILE", help=f"{file} new model")
    lost = "largest share of the new model's mAP that a map may lose"
    at_most = {"type": share, "metavar": "SHARE", "help": f"{lost} (default: {MAX_LOSS})"}
    made.add_argument("--max_loss", **at_most)
    mapped = parser.add_argument_group("map vectors of the old model")
    mapped.add_argument("--apply", type=cli.existing_path, metavar="MAP", help="map to use")
    kinds = "vectors to map: features of evaluate.py --features, or a cache of mgn.search"
    mapped.add_argument("--features", type=cli.existing_path, metavar="FILE", help=kinds)
    output = "file to write: the map, or the mapped vectors (.npz)"
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=output)
    parser.add_argument("--overwrite", action="store_true", help="replace --output")
    flags = parser.parse_args(arguments)
    making, mapping = (flags.old, flags.new), (flags.apply, flags.features)
    if bool(all(making)) == bool(all(mapping)) or (any(making) and any(mapping)):
        parser.error("give --old and --new to make a map, or --apply and --features to use one")
    if flags.apply and flags.max_loss:
        parser.error("--max_loss: only with --old and --new")
    return flags


if __name__ == "__main__":
    sys.exit(cli.run(main))
