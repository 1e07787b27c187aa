"""A plain export as another program loads it: `python -m mgn.deploy TARGET`."""

import argparse
import sys
from pathlib import Path

from mgn.config.exporting import add_int8_options, image_size, parsed_int8
from mgn.system import cli
from mgn.system.files import refuse_existing

# Repeated here, as `deploy/targets.py` needs TensorFlow; a test compares both.
TARGETS = ("onnx", "boxmot", "deepstream", "triton", "openvino", "deep_sort", "tflite", "opencv")
ENDINGS = {"onnx": ".onnx", "boxmot": ".onnx", "openvino": ".xml", "deep_sort": ".pb"}
ENDINGS |= {"tflite": ".tflite", "opencv": ".pb"}
_TAKEN_BY = {
    "pre": ("onnx",),
    "length_1": ("onnx",),
    "half": ("openvino", "tflite"),
    "dynamic_range": ("tflite",),
    "int8": ("openvino",),
    "rgb": ("openvino",),
    "input_size": ("deep_sort",),
}


def main(arguments: list[str]) -> int:
    """Parse, check, make, print the figure."""
    flags = parse(arguments)
    if flags.list:
        from mgn.deploy.targets import listed

        print("\n".join(listed()))
        return cli.DONE
    if flags.describe:
        from mgn.deploy.description import as_text

        print(as_text(flags.describe))
        return cli.DONE
    refuse_existing(flags.output, flags.overwrite)

    from mgn.deploy.target import Choices
    from mgn.deploy.targets import TARGETS as MADE
    from mgn.deploy.targets import deploy

    choices = Choices(**{name: getattr(flags, name) for name in _TAKEN_BY})
    how = choices, flags.overwrite
    paths, difference = deploy(flags.target, flags.pb_path, flags.output, *how)
    shown = " and ".join(map(str, paths))
    if choices.int8:
        figure = f"against the export: {difference}"
    else:
        figure = f"{difference:.1e} of the largest value from the export"
    print(f"{shown}: in {MADE[flags.target].runtime} {figure}")
    return cli.DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse, and check what can be checked before TensorFlow is loaded."""
    purpose = (
        "Write an export of export_pb.py in the format of another program, and verify it there."
    )
    parser = cli.Parser(
        purpose, "onnx --pb_path mgn.pb --output mgn.onnx", prog="python -m mgn.deploy"
    )
    add = parser.add_argument
    add("target", nargs="?", choices=TARGETS, help="program to write for")
    add("--list", action="store_true", help="print what each target writes")
    told = "print which network a file or folder of this command holds"
    add("--describe", type=cli.existing_path, metavar="FILE", help=told)
    add("--pb_path", type=cli.existing_path, help="plain float32 export to read")
    add("--output", type=Path, help="file to write; for deepstream and triton a folder")
    add("--overwrite", action="store_true", help="replace --output")
    add = parser.add_argument_group("options of single targets").add_argument
    add("--pre", action="store_true", help="onnx: take RGB of 0 to 255, with mean and std inside")
    add("--length_1", action="store_true", help="onnx: write embeddings of length 1")
    add("--half", action="store_true", help="openvino, tflite: weights in float16")
    add("--dynamic_range", action="store_true", help="tflite: weights in int8")
    whole = "openvino: convolutions in int8, as export_pb.py --precision int8"
    add("--int8", action="store_true", help=whole)
    add("--rgb", action="store_true", help="openvino: take RGB (default: BGR, as OpenCV reads)")
    boxes = "deep_sort: size of its images, such as 128x64 (default: the network's)"
    add("--input_size", type=image_size, metavar="HxW", help=boxes)
    add_int8_options(parser, "--int8")
    flags = parser.parse_args(arguments)
    if flags.list or flags.describe:
        others = flags.target or flags.pb_path or flags.output or (flags.list and flags.describe)
        if others:
            parser.error("--list and --describe: take no other flags")
        return flags
    for name in ("target", "pb_path", "output"):
        if getattr(flags, name) is None:
            shown = "TARGET" if name == "target" else f"--{name}"
            parser.error(f"the following arguments are required: {shown}")
    for name, targets in _TAKEN_BY.items():
        if getattr(flags, name) and flags.target not in targets:
            parser.error(f"--{name}: only with {' or '.join(targets)}")
    smaller = [name for name in ("half", "dynamic_range", "int8") if getattr(flags, name)]
    if len(smaller) > 1:
        parser.error(f"{' and '.join(f'--{name}' for name in smaller)}: choose one")
    flags.int8 = parsed_int8(parser, flags, flags.int8, "--int8")
    ending = ENDINGS.get(flags.target, "")
    if ending and flags.output.suffix != ending:
        parser.error(f"--output {flags.output}: must end in {ending}, as the program expects")
    return flags


if __name__ == "__main__":
    sys.exit(cli.run(main))
