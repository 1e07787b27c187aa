"""Wrap a .pb made by export_pb_with_pre_post.py into a SavedModel for TensorFlow Serving."""

import sys

from mgn.config import exporting
from mgn.system import cli


def main(arguments: list[str]) -> int:
    """Parse, check, export, print what was made."""
    flags = exporting.parse_serving(
        "Wrap a .pb made by export_pb_with_pre_post.py into DIR/N for TensorFlow Serving.",
        arguments,
    )

    from mgn.inference.graph import PRE_POST
    from mgn.serving.saved_model import export_saved_model

    made, found = export_saved_model(
        flags.pb_path, flags.export_path, PRE_POST, flags.version, flags.overwrite, flags.warmup
    )
    print(f"{made}: input_image to reid_embedding; against the .pb: {found}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
