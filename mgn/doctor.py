"""Examine a data set before anyone trains or evaluates on it: `python -m mgn.doctor DIR`."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mgn.config import TrainConfig, parsing
from mgn.config.dataset import OPTIONS, add_dataset_options, data_set
from mgn.system import cli
from mgn.system.errors import InputError
from mgn.system.files import atomic_folder, refuse_names, write_json

if TYPE_CHECKING:  # they take numpy, and TensorFlow
    from mgn.data.findings import Report
    from mgn.evaluation.verdicts import Familiarity

OUTPUTS = ("doctor.html", "doctor.json")


def main(arguments: list[str]) -> int:
    """Examine, print; exit status 1 if anything is in the way, or unlike a model's training."""
    flags = parse(arguments)
    dataset = data_set(flags.dataset, vars(flags))
    if flags.output_dir:
        refuse_names(flags.output_dir, OUTPUTS, flags.overwrite)

    from mgn.data.findings import PROBLEM
    from mgn.data.inspection import examine, examine_unlabelled

    try:
        familiarity = _compare(flags, dataset) if flags.model else None
        if flags.unlabelled:
            report = examine_unlabelled(flags.dataset)
        else:
            report = examine(dataset, flags.batch_images)
    except InputError as error:
        _put_out(flags, {"dataset": str(dataset), "error": str(error)})
        raise
    values = report.values()
    if familiarity:
        values["familiarity"] = familiarity.values()
    _put_out(flags, values, report, familiarity)
    failed = report.count(PROBLEM) or (familiarity and familiarity.alarms)
    return cli.FAILED if failed else cli.DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags, checked as far as they can be without TensorFlow."""
    about = "Examine a data set before training or evaluating."
    parser = cli.Parser(about, "runs/demo_set --output_dir examined", prog="python -m mgn.doctor")
    add = parser.add_argument
    add("dataset", metavar="DIR", type=cli.existing_path, help="data set, as --dataset of train.py")
    text = "K: images of each person in a training batch"
    add("--batch_images", type=cli.positive_int, default=TrainConfig.batch_images, help=text)
    add("--json", action="store_true", help="print one JSON object: figures, findings, sizes")
    page = "folder for doctor.html, a page with images to look at, and doctor.json"
    add("--output_dir", type=Path, help=page)
    add("--overwrite", action="store_true", help="replace both files in --output_dir")
    text = "train_dir or checkpoint: compare each camera's images with its training images"
    add("--model", type=cli.model_path, help=text)
    text = "DIR has images without labels: a folder for each camera, or cameras in file names"
    add("--unlabelled", action="store_true", help=text)
    add_dataset_options(parser)
    parsing.add_network_options(parser)
    flags = parser.parse_args(arguments)
    if not flags.model:
        needless = [f"--{name}" for name in parsing.network_options(flags)]
        needless += ["--unlabelled"] if flags.unlabelled else []
        if needless:
            parser.error(f"{needless[0]}: only with --model")
    if flags.unlabelled:
        labelled = [name for name in OPTIONS if getattr(flags, name)]
        if labelled:
            parser.error(f"--{labelled[0]}: not with --unlabelled, which reads no labels")
    return flags


def _compare(flags: argparse.Namespace, dataset: object) -> "Familiarity":
    """The verdicts of `--model` on the cameras of all splits, or of the folder."""
    from mgn.data.inspection import all_images
    from mgn.data.records import image_files
    from mgn.evaluation.familiarity import examine
    from mgn.inference.embedder import checkpoint_at

    try:
        images = image_files(flags.dataset) if flags.unlabelled else all_images(dataset)
    except InputError as error:
        advice = "" if flags.unlabelled else "; --unlabelled takes a folder of images alone"
        raise InputError(f"{error}{advice}") from None
    checkpoint = checkpoint_at(flags.model, **parsing.network_options(flags))
    if checkpoint is None:
        problem = "is an export, whose batch norms are folded into its convolutions"
        advice = "name the train_dir or checkpoint that it was made from"
        raise InputError(f"--model {flags.model}: {problem}; {advice}")
    return examine(checkpoint, images.records, flags.dataset)


def _put_out(
    flags: argparse.Namespace,
    values: dict,
    report: "Report | None" = None,
    familiarity: "Familiarity | None" = None,
) -> None:
    """Print, and write into `--output_dir`; of a folder without a data set there is no report."""
    if flags.json:
        print(json.dumps(values, indent=2))
    elif report:
        print(report.text())
        if familiarity:
            print(f"\n{familiarity.text()}")
    if flags.output_dir:
        from mgn.evaluation.datasheet import write_page

        with atomic_folder(flags.output_dir, OUTPUTS, flags.overwrite) as folder:
            if report:
                write_page(report, folder / "doctor.html", familiarity)
            write_json(folder / "doctor.json", values)


if __name__ == "__main__":
    sys.exit(cli.run(main))
