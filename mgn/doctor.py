"""Examine a data set before anyone trains or evaluates on it: `python -m mgn.doctor DIR`."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mgn.config import TrainConfig
from mgn.config.dataset import add_dataset_options, data_set
from mgn.system import cli
from mgn.system.errors import InputError
from mgn.system.files import atomic_folder, refuse_names, write_json

if TYPE_CHECKING:  # it takes numpy
    from mgn.data.findings import Report

OUTPUTS = ("doctor.html", "doctor.json")


def main(arguments: list[str]) -> int:
    """Parse, examine, print; exit status 1 if anything is in the way of training or evaluating."""
    about = "Examine a data set before training or evaluating."
    parser = cli.Parser(about, prog="python -m mgn.doctor")
    add = parser.add_argument
    add("dataset", metavar="DIR", type=cli.existing_path, help="as --dataset of train.py")
    text = "K: images of each person in a training batch; omitted: %(default)s"
    add("--batch_images", type=cli.positive_int, default=TrainConfig.batch_images, help=text)
    add("--json", action="store_true", help="print one JSON object: figures, findings, sizes")
    page = "folder for doctor.html, a page with the images that are worth a look, and doctor.json"
    add("--output_dir", type=Path, help=page)
    add("--overwrite", action="store_true", help="replace these two")
    add_dataset_options(parser)
    flags = parser.parse_args(arguments)
    dataset = data_set(flags.dataset, vars(flags))
    if flags.output_dir:
        refuse_names(flags.output_dir, OUTPUTS, flags.overwrite)

    from mgn.data.findings import PROBLEM
    from mgn.data.inspection import examine

    try:
        report = examine(dataset, flags.batch_images)
    except InputError as error:
        _put_out(flags, {"dataset": str(dataset), "error": str(error)})
        raise
    _put_out(flags, report.values(), report)
    return cli.FAILED if report.count(PROBLEM) else cli.DONE


def _put_out(flags: argparse.Namespace, values: dict, report: "Report | None" = None) -> None:
    """Print, and write into `--output_dir`; of a folder without a data set there is no report."""
    if flags.json:
        print(json.dumps(values, indent=2))
    elif report:
        print(report.text())
    if flags.output_dir:
        from mgn.evaluation.datasheet import write_page

        with atomic_folder(flags.output_dir, OUTPUTS, flags.overwrite) as folder:
            if report:
                write_page(report, folder / "doctor.html")
            write_json(folder / "doctor.json", values)


if __name__ == "__main__":
    sys.exit(cli.run(main))
