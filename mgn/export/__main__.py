"""What an exported file is: `python -m mgn.export FILE`."""

import json
import sys

from mgn.system import cli


def main(arguments: list[str]) -> int:
    """Parse, describe, print."""
    purpose = "Describe a frozen graph (.pb) or a SavedModel from the file alone."
    parser = cli.Parser(purpose, "mgn.pb", prog="python -m mgn.export")
    files = ".pb, SavedModel folder, or folder of versions, to describe"
    parser.add_argument("file", type=cli.existing_path, help=files)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    flags = parser.parse_args(arguments)

    from mgn.export.description import as_text, describe

    found = describe(flags.file)
    values = {**found._asdict(), "path": str(found.path)}
    print(json.dumps(values, indent=2) if flags.json else as_text(found))
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))
