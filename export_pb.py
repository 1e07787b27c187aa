"""Freeze a checkpoint into a .pb: normalised images to embeddings."""

import sys

from mgn.config import exporting
from mgn.system import cli


def main(arguments: list[str]) -> int:
    """Parse, check, export, print what was made."""
    parser = cli.Parser(
        "Freeze a checkpoint: image_tensor float32 [N, height, width, 3], normalised RGB,"
        " to person_embedding [N, 2048], or to smaller vectors of length 1.",
        "--checkpoint runs/demo --pb_path mgn.pb",
    )
    exporting.add_export_options(parser)
    flags = exporting.parse_export(parser, arguments)

    from mgn.export.freezing import export_pb
    from mgn.inference.graph import PLAIN

    found = export_pb(flags.checkpoint, flags.pb_path, PLAIN, **exporting.export_options(flags))
    print(f"{flags.pb_path}: image_tensor to person_embedding; against the checkpoint: {found}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
