"""Examine a data set before somebody trains or evaluates on it: `python -m mgn.doctor DIR`."""

import sys

from mgn.config import TrainConfig
from mgn.system import cli


def main(arguments: list[str]) -> int:
    """Parse, examine, print; exit status 1 if anything is in the way of training or evaluating."""
    parser = cli.Parser(
        "Examine a data set before training or evaluating.", prog="python -m mgn.doctor"
    )
    parser.add_argument(
        "dataset", metavar="DIR", type=cli.existing_path, help="as --dataset of train.py"
    )
    text = "K: images of each person in a training batch; omitted: %(default)s"
    parser.add_argument(
        "--batch_images", type=cli.positive_int, default=TrainConfig.batch_images, help=text
    )
    flags = parser.parse_args(arguments)

    from mgn.data.inspection import examine

    figures, findings = examine(flags.dataset, flags.batch_images)
    problems, warnings = (
        sum(f.startswith(level) for f in findings) for level in ("problem", "warning")
    )
    report = "\n".join([figures, "", *findings, "", f"{problems} problems, {warnings} warnings"])
    print(
        report.encode(errors="backslashreplace").decode()
    )  # the bytes of a file's name may be no text
    return cli.FAILED if problems else cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
