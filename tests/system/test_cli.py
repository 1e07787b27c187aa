"""What scripts say and return when the machine, a reader or a name is in their way."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mgn.system import cli
from mgn.system.errors import CheckError, InputError

ROOT = Path(__file__).parents[2]
# Prints more than a pipe holds, then leaves a file: `python -c SCRIPT FILE`.
SCRIPT = """
import sys
from pathlib import Path
from mgn.system import cli

def main(arguments):
    for number in range(100_000):
        print(number)
        if number % 10_000 == 0:
            sys.stderr.write("on the way\\n")
    Path(arguments[0]).write_text("results")

sys.exit(cli.run(main))
"""


@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_leaves_costs_nothing(tmp_path, both):
    """As `head -2` does: what is left to do is done, quietly."""
    command = [sys.executable, "-c", SCRIPT, tmp_path / "out"]
    stderr = subprocess.STDOUT if both else subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr)
    assert process.stdout.readline()
    process.stdout.close()
    if not both:
        assert process.stderr.read() == b"on the way\n" * 10
        process.stderr.close()
    assert process.wait() == 0
    assert (tmp_path / "out").read_text() == "results"


@pytest.mark.parametrize("script", sorted(path.name for path in ROOT.glob("*.py")))
def test_help_goes_into_a_closed_pipe(script):
    """The reader is gone before the first line, which is written at the end only."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, ROOT / script, "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_is_printed_onto_a_full_disk_is_told():
    with Path("/dev/full").open("w") as full:
        code = "from mgn.system import cli; raise SystemExit(cli.run(print, ['a']))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"error: <stdout>: the disk is full; free some space\n"


def told(capsys, error):
    """The exit status and the line on stderr of a script that ends with an error."""

    def main(_arguments):
        raise error

    status = cli.run(main, [])
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return status, err.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("ENOSPC", 1, "disk is full; free some space"),
        ("EDQUOT", 1, "quota"),
        ("EFBIG", 1, "ulimit -f"),
        ("EMFILE", 1, "ulimit -n"),
        ("ENFILE", 1, "end other programs"),
        ("EIO", 1, "the system's log"),
        ("ESTALE", 1, "mount it again"),
        ("ENAMETOOLONG", 2, "shorter"),
        ("EROFS", 2, "is read-only"),
        ("EACCES", 2, "permission denied"),
        ("ENOTDIR", 2, "is a file, not a folder"),
        ("EISDIR", 2, "is a folder, not a file"),
        ("EEXIST", 2, "already exists"),
        ("ELOOP", 2, "leads to itself"),
        ("ENOENT", 2, "no such file"),
        ("EXDEV", 1, os.strerror(errno.EXDEV)),  # nothing better is known
    ],
)
def test_each_error_of_the_system_has_its_own_advice(capsys, name, status, words):
    number = getattr(errno, name)
    got = told(capsys, OSError(number, os.strerror(number), "out/a.png"))
    assert got[0] == status and got[1].startswith("out/a.png: ") and words in got[1]
    assert ("free some space" in got[1]) == (name in ("ENOSPC", "EDQUOT"))


def test_other_endings(capsys):
    renamed = OSError(errno.EACCES, "Permission denied", ".making.x/a", None, "out/a")
    for error, status, words in (
        (InputError("--flag x: wrong"), 2, "--flag x: wrong"),
        (CheckError("it differs"), 1, "it differs"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 128 + signal.SIGINT, "stopped by Ctrl-C"),
        (renamed, 2, "out/a: permission denied"),
        (OSError("cannot"), 1, "cannot"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates"), 2, r"'a\udcff': is not valid"),
    ):
        got = told(capsys, error)
        assert got[0] == status and got[1].startswith(words)
    wrong_text = UnicodeEncodeError("ascii", "a\nb", 1, 2, "")
    for bug in (wrong_text, ImportError("no name x"), KeyError()):
        with pytest.raises(type(bug)):
            told(capsys, bug)


def test_a_library_or_package_that_is_missing_is_told_with_its_remedies(tmp_path):
    """As a slim machine without libGL says it, and one where nothing was installed."""
    missing = "cannot open shared object file: No such file or directory"
    for text, words in (
        (f"ImportError('libGL.so.1: {missing}')", ["libgl1", "opencv-python-headless"]),
        (f"ImportError('libgthread-2.0.so.0: {missing}')", ["libglib2.0-0", "opencv-python-h"]),
        (f"ImportError('libgomp.so.1: {missing}')", ["libgomp.so.1 is missing; install the sys"]),
        ("ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')", ["pip install -r req"]),
    ):
        (tmp_path / "cv2.py").write_text(f"raise {text}")
        command = [sys.executable, "-m", "mgn.doctor", tmp_path]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        run = {"capture_output": True, "text": True, "cwd": ROOT, "env": environment}
        done = subprocess.run(command, check=False, **run)
        assert done.returncode == 1 and done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words)
        assert "headless" not in done.stderr or "libG" in text or "libg" in text
