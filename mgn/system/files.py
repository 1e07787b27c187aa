"""Outputs appear whole or not at all, and never in the place of something that nobody gave up."""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mgn.system.errors import CheckError, InputError, first_line

_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `InputError` if `path` exists and may not be replaced; scripts call it before the work."""
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} exists: choose another name, or pass --overwrite to replace it")


def next_free(folder: Path, name: str) -> Path:
    """The first of folder/name-1, folder/name-2, ... that does not exist."""
    return next(
        path for n in itertools.count(1) if not (path := Path(folder) / f"{name}-{n}").exists()
    )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder out of it; the system frees what a killed one held.

    Raises:
        InputError: another process holds it.
    """
    with (Path(folder) / ".lock").open("a") as lock:  # not the folder itself: NFS locks files only
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another process is at work in this folder; name another"
            ) from None
        except OSError:  # a file system without locks: as before there were any
            pass
        yield


def is_unused(folder: Path, but: Collection[str] = ()) -> bool:
    """Whether nothing is there but these names, and what a killed process left under a temporary one."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(
        p.name.startswith(".") or p.name in but for p in folder.iterdir()
    )


@contextlib.contextmanager
def atomic_write(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside `path` (for a file or a folder), renamed to `path` if the body succeeds.

    Raises:
        InputError: `path` exists and `overwrite` is not set, before or after the body.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary = workspace / path.name
        yield temporary
        refuse_existing(path, overwrite)
        if os.path.lexists(path) and path.is_dir() != temporary.is_dir():
            raise InputError(
                f"{path}: a file would replace a folder, or a folder a file; remove it by hand"
            )
        _put_in_place(temporary, path, workspace / "replaced")
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

    Args:
        folder: made if need be; what else is in it stays.
        names: patterns of all that the body may make, in the order in which it is moved; with
            `overwrite`, all that is there under these names is replaced, by nothing if nothing was
            made.
        overwrite: as in `atomic_write`.

    Raises:
        InputError: something of these names is there and `overwrite` is not set.
    """
    folder = Path(folder)
    refuse_names(folder, names, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=".making.", dir=folder))
    try:
        yield workspace
        for old in _named(folder, names):
            old.unlink()
        for made in _named(workspace, names):
            made.replace(folder / made.name)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # if nothing is in it


def refuse_names(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    """Raise `InputError` if `folder` is a file, or has one of these names (patterns) not to be replaced."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, not a folder")
    for path in _named(folder, names):
        refuse_existing(path, overwrite)


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    return [path for name in names for path in sorted(folder.glob(name))]


def not_written(path: object, error: BaseException) -> CheckError:
    """What to raise of an output that could not be written: a full disk is called that.

    Libraries wrap the system's error into their own, which says less ("unexpected pos").
    """
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    if any(text in str(link) for text in _FULL for link in chain):
        return CheckError(f"{path}: could not be written: the disk is full; free some space")
    told = next((link for link in reversed(chain) if isinstance(link, OSError)), error)
    return CheckError(f"{path}: could not be written ({first_line(told)})")


def write_json(path: Path, values: dict, overwrite: bool = False) -> None:
    """Write sorted, indented JSON under the rules of `atomic_write`."""
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        InputError: the file is not one.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object")
    return values


def sha256_of(path: Path) -> str:
    """Hash of a file of any size, in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
