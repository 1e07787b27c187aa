"""What every script shares: exit statuses, the `error:` line, flag types."""

import argparse
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mgn.config import POOLS, PRECISIONS
from mgn.errors import CheckError, InputError, Stopped, first_line
from mgn.files import refuse_existing

_WRONG_PATH = (NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError)
DONE, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows defaults that say something."""

    def _get_help_string(self, action):
        shown = isinstance(action.default, str) and action.default is not argparse.SUPPRESS
        return f"{action.help} (default: {action.default})" if shown else action.help


class Parser(argparse.ArgumentParser):
    """argparse whose complaint is one line that begins `error:`, as every other complaint here."""

    def __init__(self, description: str, **options):
        super().__init__(description=description, formatter_class=_Formatter, allow_abbrev=False, **options)

    def error(self, message: str):
        """Print one line and exit with status 2."""
        sys.stderr.write(f"error: {message} (see {self.prog} --help)\n")
        raise SystemExit(BAD_INPUT)


class _Terminated(BaseException):
    """SIGTERM, raised so that temporary files are cleared away on the way out."""


def run(main: Callable[[list[str]], int | None], arguments: list[str] | None = None) -> int:
    """Call `main` and turn what it raises into an exit status and one line on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # "0" shows what TensorFlow's own code has to say
    # By itself TensorFlow turns oneDNN on only for CPUs with AVX-512 VNNI; doc/benchmarks.md has the gain.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if hasattr(sys.stdout, "reconfigure"):  # a file's name may be no text
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # each v1 call would announce its deprecation
    before = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        return main(sys.argv[1:] if arguments is None else arguments) or DONE
    except InputError as error:
        return _fail(error, BAD_INPUT)
    except CheckError as error:
        return _fail(error, FAILED)
    except Stopped as stopped:
        return _fail(stopped, 128 + stopped.signal_number)
    except MemoryError:
        return _fail("out of memory: use a smaller batch or a smaller picture", FAILED)
    except _WRONG_PATH as error:
        return _fail(f"{error.filename}: {error.strerror}; name another file or folder", BAD_INPUT)
    except OSError as error:  # disk full, say: the machine's fault, with the file's name in it
        return _fail(f"{error}; free some space or mend the disk, then start again", FAILED)
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow"):
            raise  # a bug of ours: its trace is what we need
        return _fail(f"TensorFlow: {first_line(error)}", FAILED)
    except KeyboardInterrupt:
        return _fail("stopped by Ctrl-C", INTERRUPTED)
    except _Terminated:
        return _fail("stopped by SIGTERM", TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise_terminated(*_: object) -> None:
    raise _Terminated


def _fail(message: object, status: int) -> int:
    sys.stderr.write(f"error: {' '.join(str(message).split())}\n")
    return status


def positive_int(text: str) -> int:
    """Flag type: an integer above zero."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def existing_path(text: str) -> Path:
    """Flag type: a file or folder that is there."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return path


def model_path(text: str) -> str:
    """Flag type: a model file or folder, or the prefix of a checkpoint."""
    if not (Path(text).exists() or Path(f"{text}.index").is_file()):
        raise argparse.ArgumentTypeError(f"{text}: no such file, folder or checkpoint")
    return text


def check_model_path(flag: str, text: object) -> None:
    """The same for a flag that is a path to read or to write, as another flag says."""
    try:
        model_path(str(text))
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{flag}: {error}") from None


def checked_dataset(dataset: Path | None, *splits: str) -> Path:
    """The folder of `--dataset`, or the demo set under `runs/`; complains before TensorFlow is loaded."""
    from mgn.data import read_split  # `--help` is quicker without numpy and OpenCV
    from mgn.demo import make

    dataset = dataset or make(Path("runs") / "demo_set")
    for split in splits:
        read_split(dataset, split)
    return dataset


def add_dataclass_options(
    parser: argparse._ActionsContainer, options: type, choices: Mapping[str, Sequence[str]]
) -> None:
    """One flag a field, with the field's name, type and help; a flag that is not given stays absent."""
    for field in dataclasses.fields(options):
        parser.add_argument(
            f"--{field.name}",
            type=_TYPES[field.type],
            choices=choices.get(field.name),
            default=argparse.SUPPRESS,
            help=field.metadata["help"],
            **({"nargs": "?", "const": True} if field.type is bool else {}),
            metavar=None if field.name in choices else _METAVARS.get(field.type, "N"),
        )


def add_network_options(
    parser: argparse.ArgumentParser, when: str = "only for a checkpoint without its .json file"
) -> None:
    """Flags for what weights do not tell."""
    group = parser.add_argument_group(when)
    group.add_argument("--pool", choices=POOLS, help="pooling of the heads, which weights do not tell")
    group.add_argument("--height", type=positive_int, help="picture height, pixels")
    group.add_argument("--width", type=positive_int, help="picture width, pixels")


def network_options(flags: argparse.Namespace) -> dict:
    """The options of `add_network_options` that were given."""
    names = ("pool", "height", "width")
    return {name: getattr(flags, name) for name in names if getattr(flags, name) is not None}


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Flags of both scripts that freeze a checkpoint."""
    parser.add_argument(
        "--checkpoint", type=model_path, required=True, help="train_dir, or prefix of a checkpoint"
    )
    parser.add_argument("--pb_path", type=Path, required=True, help="file to make")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="type of the weights: bfloat16 for CPUs with AVX-512 BF16 or AMX and new GPUs, float16 for GPUs",
    )
    parser.add_argument(
        "--winograd",
        action="store_true",
        help="3x3 convolutions of many channels by fewer multiplications: on CPUs 8 to 20 %% faster"
        " in batches of 8 or more, not for single pictures;"
        " the file is 2.2 times as large, and OpenCV does not load it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --pb_path")
    add_network_options(parser)


def parse_export(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse, and check what can be checked before TensorFlow is loaded."""
    flags = parser.parse_args(arguments)
    refuse_existing(flags.pb_path, flags.overwrite)
    if flags.pb_path.suffix != ".pb":
        raise InputError(f"--pb_path {flags.pb_path}: must end in .pb, by which other tools know it")
    return flags


def export_options(flags: argparse.Namespace) -> dict:
    """What `freezing.export_pb` takes from these flags."""
    named = {name: getattr(flags, name) for name in ("precision", "winograd", "overwrite")}
    return named | network_options(flags)


def parse_serving(description: str, arguments: list[str]) -> argparse.Namespace:
    """Flags of both scripts that wrap a `.pb` for TensorFlow Serving."""
    parser = Parser(description)
    parser.add_argument("--pb_path", type=existing_path, required=True, help="frozen graph to serve")
    parser.add_argument(
        "--export_path", type=Path, required=True, help="folder of versions, the server's base_path"
    )
    parser.add_argument("--version", type=positive_int, help="omitted: one more than the highest there")
    parser.add_argument("--overwrite", action="store_true", help="replace that version")
    flags = parser.parse_args(arguments)
    if flags.version:
        refuse_existing(flags.export_path / str(flags.version), flags.overwrite)
    return flags


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _number_or_none(text: str) -> float | None:
    try:
        return None if text.lower() == "none" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor none") from None


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 40,60") from None


_TYPES = {  # of a field -> of its flag
    str: str,
    int: int,
    float: float,
    bool: _boolean,
    float | None: _number_or_none,
    int | None: positive_int,
    tuple[int, ...]: _numbers,
}
_METAVARS = {float: "X", float | None: "X", bool: "true|false", tuple[int, ...]: "N,N"}
