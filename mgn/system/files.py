"""Outputs appear whole or not at all, and never in the place of something that nobody gave up."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mgn.system.errors import CheckError, InputError, advice, causes, first_line

_OF_FILES = re.compile(  # of a checkpoint's own, and of other kinds
    r"\.(index|json|meta|data-\d+-of-\d+|pb|pbtxt|pth?|tar|bin|np[yz]|pkl|pickle|zip|gz"
    r"|onnx|tflite|safetensors|h5|hdf5|keras)$",
    re.IGNORECASE,
)
_LONG = 60 * "x"  # longer than the name of any file that is made inside a folder
_MAKING = ".making."  # what is being made lies in a folder of this name and eight letters


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `InputError` if `path` exists and may not be replaced; scripts ask before the work.

    The same for a path that the system would not take.
    """
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} exists: choose another name, or pass --overwrite to replace it")
    check_can_be_made(path)


def check_can_be_made(path: Path) -> None:
    """Raise `InputError` if the system takes no such path, or nothing can be written there."""
    path = Path(path)
    try:
        there = next((folder for folder in path.parents if folder.exists()), path)
        asked = [there / name for name in path.relative_to(there).parts]  # each may be too long
        making = f"{_MAKING}{8 * 'x'}"
        asked.append(path.parent / making / path.name / making / _LONG)  # or all, while it is made
        for name in asked:
            with contextlib.suppress(FileNotFoundError):
                name.lstat()
    except OSError as error:
        raise InputError(f"{path}: {advice(error) or error.strerror}") from None
    if not os.access(there, os.W_OK | os.X_OK):
        problem = f"the folder {there.absolute()} is not writable"
        raise InputError(f"{path}: {problem}; name a folder elsewhere")


def check_is_text(path: Path) -> None:
    """Raise `InputError` if a path is no valid UTF-8: TensorFlow writes into no such folder."""
    try:
        str(Path(path).resolve()).encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: is not valid UTF-8; name another folder") from None


def refuse_prefix(prefix: object, overwrite: bool) -> None:
    """Raise `InputError` unless a checkpoint may have this prefix, and be found by it again."""
    if not Path(prefix).name:
        raise InputError(f"{prefix}: is a folder; a checkpoint needs a name in it, such as mgn")
    ending = _OF_FILES.search(str(prefix))
    if ending:
        problem = f"a checkpoint whose name ends in {ending[0]} would be taken for such a file"
        raise InputError(f"{prefix}: {problem}; leave the ending out")
    for suffix in (".index", ".json", ".data-00000-of-00001"):
        refuse_existing(f"{prefix}{suffix}", overwrite)


def next_free(folder: Path, name: str) -> Path:
    """The first of folder/name-1, folder/name-2, ... that does not exist."""
    paths = (Path(folder) / f"{name}-{n}" for n in itertools.count(1))
    return next(path for path in paths if not os.path.lexists(path))


@contextlib.contextmanager
def output_folder(given: Path | None, name: str) -> Iterator[Path]:
    """Yield the folder `given` for a command's results; None: the next free runs/name-N.

    That is made at once, so that no other process takes it, and removed in the end if it is unused.
    """
    if given:
        yield given
        return
    claimed = None
    while claimed is None:
        path = next_free(Path("runs"), name)
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.mkdir(parents=True)
            claimed = path
    try:
        yield claimed
    finally:
        if is_unused(claimed):
            shutil.rmtree(claimed, ignore_errors=True)
            with contextlib.suppress(OSError):
                claimed.parent.rmdir()  # if it is empty


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which dies with its process; `InputError` if it is taken."""
    with (Path(folder) / ".lock").open("a") as lock:  # not the folder itself: NFS locks files only
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "another process is using this folder; wait for it, or name another"
            raise InputError(f"{folder}: {problem}") from None
        except (OSError, ImportError):  # a file system, or Windows, without: go on without a lock
            pass
        yield


def is_unused(folder: Path, but: Collection[str] = ()) -> bool:
    """Whether a folder is missing, or has only these names and a killed process's hidden ones."""
    if not folder.is_dir():
        return not folder.exists()
    return all(path.name.startswith(".") or path.name in but for path in folder.iterdir())


@contextlib.contextmanager
def atomic_write(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary name for a file or a folder, renamed to `path` if the body succeeds.

    `InputError` if `path` exists and `overwrite` is not set, before or after the body.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise InputError(f"{path}: is this folder or one above it; name a file to write")
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=_MAKING, dir=path.parent))
    try:
        temporary = workspace / path.name
        yield temporary
        refuse_existing(path, overwrite)
        if os.path.lexists(path) and path.is_dir() != temporary.is_dir():
            raise InputError(
                f"{path}: a file cannot replace a folder, nor a folder a file; remove it"
            )
        _put_in_place(temporary, path, workspace / "replaced")
    except OSError as error:
        if error.errno and not error.filename:  # a failed write does not say where
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _put_in_place(made: Path, path: Path, aside: Path) -> None:
    if not path.is_dir():
        made.replace(path)
        return
    path.replace(aside)  # a folder cannot be renamed over a folder
    try:
        made.replace(path)
    except BaseException:
        aside.replace(path)
        raise


@contextlib.contextmanager
def atomic_folder(folder: Path, names: Sequence[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder, whose files are moved into `folder` if the body succeeds.

    `names` are patterns of all that the body may make, in the order in which it is moved. With
    `overwrite`, all that the folder has under them is removed, even what is not made anew; without
    it, anything there is an `InputError`. The folder's other files stay.
    """
    folder = Path(folder)
    refuse_names(folder, names, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=_MAKING, dir=folder))
    try:
        yield workspace
        refuse_names(folder, names, overwrite)  # another process may have been faster
        for old in _named(folder, names):
            old.unlink()
        for made in _named(workspace, names):
            made.replace(folder / made.name)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # if it is empty


def refuse_names(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    """Raise `InputError` if `folder` has one of these names (patterns) to keep, or takes none."""
    check_can_be_made(folder / names[-1].replace("*", "1"))
    for path in _named(folder, names):
        if not overwrite:
            do = "name another folder, or pass --overwrite to replace what is there"
            raise InputError(f"{folder}: has {path.name} already; {do}")
        check_can_be_made(path)


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    return [path for name in names for path in sorted(folder.glob(name))]


def not_written(path: object, error: BaseException) -> CheckError:
    """The error to raise for an output that could not be written; it says why, if it is known."""
    if told := advice(error):
        return CheckError(f"{path}: could not be written: {told}")
    reason = next((link for link in reversed(causes(error)) if isinstance(link, OSError)), error)
    return CheckError(f"{path}: could not be written ({first_line(reason)})")


def write_json(path: Path, values: dict, overwrite: bool = False) -> None:
    """Write sorted, indented JSON under the rules of `atomic_write`."""
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Read a JSON object; `InputError` if the file is not one."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error}); correct it") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: must be a JSON object; correct it")
    return values


def sha256_of(path: Path) -> str:
    """SHA-256 of a file of any size, in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
