"""Freeze a checkpoint into a .pb with pre- and postprocessing: images to comparable embeddings."""

import sys

from mgn.config import exporting
from mgn.config.options import EXPORT_INPUTS
from mgn.system import cli


def main(arguments: list[str]) -> int:
    """Parse, check, export, print what was made."""
    parser = cli.Parser(
        "Freeze a checkpoint with pre- and postprocessing: image_tensor [N, H, W, 3], RGB 0 to 255,"
        " any size, or [N] whole JPEG or PNG files of any sizes,"
        " to result_embedding [N, 2048] of length 1, or smaller.",
        "--checkpoint runs/demo --pb_path mgn.pb --input uint8",
    )
    exporting.add_export_options(parser)
    parser.add_argument(
        "--input", choices=EXPORT_INPUTS, default=EXPORT_INPUTS[0], help="input of image_tensor"
    )
    size = "height and width of its images, such as 128x64 (default: any size)"
    parser.add_argument("--input_size", type=exporting.image_size, metavar="HxW", help=size)
    flags = exporting.parse_export(parser, arguments)
    if flags.input_size and flags.input == "jpeg":
        parser.error("--input_size: not with --input jpeg, which takes files of any size")

    from mgn.export.freezing import export_pb
    from mgn.inference.graph import PRE_POST

    options = exporting.export_options(flags) | {"input_size": flags.input_size}
    found = export_pb(flags.checkpoint, flags.pb_path, PRE_POST, flags.input, **options)
    print(f"{flags.pb_path}: image_tensor to result_embedding; against the checkpoint: {found}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
