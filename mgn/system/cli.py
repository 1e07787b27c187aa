"""What every script shares: exit statuses, the `error:` line, flag types."""

import argparse
import difflib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from mgn.system.errors import (
    BAD_NAME,
    CheckError,
    InputError,
    Stopped,
    advice,
    first_line,
    import_advice,
)
from mgn.system.numbers import is_digits

DONE = 0
FAILED = 1  # a check failed, or the machine did
BAD_INPUT = 2  # a bad flag or file; after a signal the status is 128 and its number


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows the defaults that are text or a number, unless a help text has its own."""

    def _get_help_string(self, action):
        default = action.default
        is_switch = isinstance(default, bool) or action.nargs == 0
        shown = isinstance(default, str | int | float) and default is not argparse.SUPPRESS
        if is_switch or not shown or "(default:" in action.help:
            return action.help
        return f"{action.help} (default: {default if isinstance(default, str) else f'{default:g}'})"


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line that begins with `error:`, as all others here are."""

    def __init__(self, text: str, example: str, **kwargs):
        """Take the description, and the arguments of one call to show."""
        super().__init__(description=text, formatter_class=_Formatter, allow_abbrev=False, **kwargs)
        self._words: list[str] = []
        python = "python " if self.prog.endswith(".py") else ""
        shown = f"example:\n  {python}{self.prog} {example}"
        self.epilog = f"{self.epilog}\n\n{shown}" if self.epilog else shown

    def parse_args(self, args=None, namespace=None):
        """Parse; an error also names the flag that a misspelt one may stand for."""
        self._words = sys.argv[1:] if args is None else list(args)
        return super().parse_args(args, namespace)

    def error(self, message: str):
        """Print one line and exit with status 2."""
        sys.stderr.write(f"error: {message}{self._meant()} (see {self.prog} --help)\n")
        raise SystemExit(BAD_INPUT)

    def _meant(self) -> str:
        """What is meant by the first unknown flag that is like a known one, in words; or ""."""
        known = [flag for action in self._actions for flag in action.option_strings]
        for word in self._words:
            flag = word.split("=")[0]
            if flag.startswith("--") and flag not in ("--", *known):
                near = difflib.get_close_matches(flag, known, 1)
                if near:
                    return f"; did you mean {near[0]} in place of {flag}?"
        return ""


class _Output:
    """A stream that its reader may leave, as `head` does: the work goes on without it."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int | None:
        """Write; nowhere, once nobody reads."""
        return self._kept(self._stream.write, text)

    def flush(self) -> None:
        """Write out what is held back."""
        self._kept(self._stream.flush)

    def _kept(self, method: Callable, *arguments: str) -> int | None:
        try:
            return method(*arguments)
        except OSError as error:
            with Path(os.devnull).open("w") as nowhere:  # else Python fails once more at its end
                os.dup2(nowhere.fileno(), self._stream.fileno())
            if isinstance(error, BrokenPipeError):
                return None
            error.filename = self._stream.name
            raise


class _Terminated(BaseException):
    """SIGTERM, raised so that temporary files are cleared away on the way out."""


def run(main: Callable[[list[str]], int | None], arguments: list[str] | None = None) -> int:
    """Call `main` and turn what it raises into an exit status and one line on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # "0" shows what TensorFlow's C++ code logs
    # TensorFlow itself uses oneDNN only on CPUs with AVX-512 VNNI (doc/benchmarks-training.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if hasattr(sys.stdout, "reconfigure"):  # the name of a file may be no valid text
        sys.stdout.reconfigure(errors="backslashreplace")
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _Output(stream) for stream in streams)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # else each v1 call warns
    warnings.filterwarnings("ignore", module="PIL")  # of damaged EXIF, for each image
    before = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        try:
            return main(sys.argv[1:] if arguments is None else arguments) or DONE
        finally:
            if sys.stdout:
                sys.stdout.flush()  # what was printed may be on a full disk
    except InputError as error:
        return _fail(error, BAD_INPUT)
    except CheckError as error:
        return _fail(error, FAILED)
    except Stopped as stopped:
        return _fail(stopped, 128 + stopped.signal_number)
    except MemoryError:
        return _fail("out of memory: use a smaller batch or a smaller image", FAILED)
    except OSError as error:
        told = advice(error) or error.strerror or error
        where = f"{error.filename2 or error.filename}: " if error.filename else ""
        return _fail(f"{where}{told}", BAD_INPUT if error.errno in BAD_NAME else FAILED)
    except UnicodeEncodeError as error:
        if "\n" in error.object:
            raise  # not the name of a file, given to what takes text only
        return _fail(f"{error.object!r}: is not valid UTF-8; rename it", BAD_INPUT)
    except ImportError as error:
        if not (told := import_advice(error)):
            raise
        return _fail(told, FAILED)
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow"):
            raise  # a bug of ours, which needs its trace
        told = advice(error)
        return _fail(f"TensorFlow: {first_line(error)}{f'; {told}' if told else ''}", FAILED)
    except KeyboardInterrupt:
        return _fail("stopped by Ctrl-C", 128 + signal.SIGINT)
    except _Terminated:
        return _fail("stopped by SIGTERM", 128 + signal.SIGTERM)
    finally:
        sys.stdout, sys.stderr = streams
        signal.signal(signal.SIGTERM, before)


def _raise_terminated(*_: object) -> None:
    raise _Terminated


def _fail(message: object, status: int) -> int:
    sys.stderr.write(f"error: {' '.join(str(message).split())}\n")
    return status


def positive_int(text: str) -> int:
    """Flag type: an integer above zero."""
    if not is_digits(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def existing_path(text: str) -> Path:
    """Flag type: a file or folder that exists."""
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return Path(text)


def model_path(text: str) -> str:
    """Flag type: a model file or folder, or the prefix of a checkpoint."""
    if not (Path(text).exists() or Path(f"{text}.index").is_file()):
        made = "train.py and convert_pytorch_weights.py make checkpoints"
        raise argparse.ArgumentTypeError(f"{text}: no such file, folder or checkpoint; {made}")
    return text


def check_model_path(flag: str, text: object) -> None:
    """Raise `InputError` unless `text` is a `model_path`; for flags that also name outputs."""
    try:
        model_path(str(text))
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{flag}: {error}") from None
