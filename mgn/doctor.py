"""Examine a data set before anyone trains or evaluates on it: `python -m mgn.doctor DIR`."""

import sys

from mgn.config import TrainConfig
from mgn.system import cli


def main(arguments: list[str]) -> int:
    """Parse, examine, print; exit status 1 if anything is in the way of training or evaluating."""
    about = "Examine a data set before training or evaluating."
    parser = cli.Parser(about, prog="python -m mgn.doctor")
    add = parser.add_argument
    add("dataset", metavar="DIR", type=cli.existing_path, help="as --dataset of train.py")
    text = "K: images of each person in a training batch; omitted: %(default)s"
    add("--batch_images", type=cli.positive_int, default=TrainConfig.batch_images, help=text)
    flags = parser.parse_args(arguments)

    from mgn.data.inspection import examine

    figures, findings = examine(flags.dataset, flags.batch_images)
    problems = sum(finding.startswith("problem") for finding in findings)
    warnings = sum(finding.startswith("warning") for finding in findings)
    summary = f"{problems} problems, {warnings} warnings"
    print("\n".join([figures, "", *findings, "", summary]))
    return cli.FAILED if problems else cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
