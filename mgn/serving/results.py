"""Embeddings kept in a file as they come, so that a run that was stopped goes on from there."""

import base64
import contextlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mgn.system.errors import InputError
from mgn.system.files import atomic_write, check_can_be_made, locked, refuse_existing

_FORMAT = "mgn client 1"
_BROKEN = (ValueError, KeyError, TypeError)
log = logging.getLogger(__name__)


class Results:
    """The embeddings of a run: `OUTPUT.part/` while it runs, `OUTPUT` when it is complete."""

    def __init__(self, output: Path, stream: BinaryIO, resume: bool):
        """With `resume`, read what `stream`, a file of lines, has; the next are added behind."""
        self._output, self._stream = output, stream
        self._rows: dict[str, np.ndarray] = {}  # by key
        self._keys: dict[Path, str] = {}  # as the files were before they were sent
        self.model: str | None = None  # by which what is there was made; None: nothing is
        self.version: int | None = None
        self._size: int | None = None  # numbers of an embedding; None: nothing is there
        if resume:
            self._read()

    def __len__(self) -> int:
        """How many files have an embedding."""
        return len(self._rows)

    def missing(self, paths: Iterable[Path]) -> list[Path]:
        """Those of `paths`, each once, that have no embedding or have changed since."""
        for path in paths:
            self._keys.setdefault(path, _key(path))
        return [path for path, key in self._keys.items() if key not in self._rows]

    def start(self, model: str, version: int, size: int) -> None:
        """Say by which model the embeddings are made, and how many numbers each has.

        Raises:
            InputError: those that are there are another's.
        """
        if self.version is None:
            self._stream.truncate(0)  # only now: who gets no answer loses nothing
            self._write({"format": _FORMAT, "model": model, "version": version})
        elif (model, version) != (self.model, self.version):
            there = f"{len(self)} embeddings by version {self.version} of model {self.model}"
            problem = f"has {there}, and version {version} of model {model} answers"
            raise InputError(f"{part_of(self._output)}: {problem}; --overwrite starts over")
        if self._size not in (None, size):
            problem = f"has embeddings of {self._size} numbers, and this model's have {size}"
            raise InputError(f"{part_of(self._output)}: {problem}; --overwrite starts over")
        self.model, self.version, self._size = model, version, size

    def add(self, path: Path, row: np.ndarray) -> None:
        """Keep the embedding of a file that was missing, float32 [`size`]."""
        key, contents = self._keys[path], row.astype("<f4").tobytes()
        self._write({"picture": key, "embedding": base64.b64encode(contents).decode()})
        self._rows[key] = row

    def finish(self, paths: Sequence[Path], overwrite: bool) -> int:
        """Write those of the `paths` that have an embedding to `OUTPUT`; returns how many.

        The file has pictures [N], features float32 [N, D], and the model's name and version.
        """
        done = [path for path in paths if self._keys[path] in self._rows]
        features = np.empty((len(done), self._size), np.float32)
        for row, path in zip(features, done, strict=True):
            row[:] = self._rows[self._keys[path]]
        about = {"model": self.model, "version": self.version}
        with atomic_write(self._output, overwrite) as made, made.open("wb") as stream:
            np.savez(stream, pictures=[str(path) for path in done], features=features, **about)
        return len(done)

    def _write(self, line: dict) -> None:
        try:
            self._stream.write(json.dumps(line).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            error.filename = error.filename or str(part_of(self._output))
            raise

    def _read(self) -> None:
        end = 0
        for number, line in enumerate(self._stream):
            if not line.endswith(b"\n"):  # the process was killed as it wrote this
                break
            try:
                self._take(json.loads(line), first=not number)
            except _BROKEN:
                problem = f"line {number + 1} is not a result of mgn.client"
                there = part_of(self._output)
                raise InputError(f"{there}: {problem}; --overwrite starts over") from None
            end += len(line)
        self._stream.truncate(end)
        self._stream.seek(end)

    def _take(self, line: dict, first: bool) -> None:
        if first:
            if line["format"] != _FORMAT:
                raise ValueError("another format")
            self.model, self.version = str(line["model"]), int(line["version"])
            return
        row = np.frombuffer(base64.b64decode(line["embedding"], validate=True), "<f4")
        if not row.size or self._size not in (None, row.size):
            raise ValueError("no embedding")
        self._size = row.size
        self._rows[line["picture"]] = row.astype(np.float32)


@contextlib.contextmanager
def opened_results(output: Path, resume: bool, overwrite: bool) -> Iterator[Results]:
    """Yield the results of `output`; its folder for them goes if the body succeeds.

    Args:
        output: the file to make.
        resume: go on with what a stopped run left; if there is nothing, begin.
        overwrite: `output` may be replaced; without `resume`, what a stopped run left too.

    Raises:
        InputError: `output` exists, or results are there and may neither be used nor replaced;
            another process is at work on them.
    """
    refuse_existing(output, overwrite)
    folder = part_of(output)
    lines = folder / "results.jsonl"
    check_can_be_made(folder)
    if lines.exists() and not (resume or overwrite):
        what = "a stopped run left embeddings there"
        raise InputError(f"{folder}: {what}; --resume uses them, --overwrite starts over")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        with lines.open("a+b") as stream:
            stream.seek(0)
            results = Results(output, stream, resume)
            try:
                yield results
            except BaseException:
                if len(results):
                    log.info(f"{folder}: {len(results)} embeddings are kept; --resume uses them")
                elif results.version is not None or not lines.stat().st_size:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
        shutil.rmtree(folder, ignore_errors=True)


def part_of(output: Path) -> Path:
    """The folder of what is there of an output so far."""
    return output.with_name(f"{output.name}.part")


def _key(path: Path) -> str:
    """A file's name, size and time of change: another key, another image."""
    try:
        status = Path(path).stat()
    except OSError:
        return f"{path}|unreadable"
    return f"{path}|{status.st_size}|{status.st_mtime_ns}"
