"""What tells the images of a split from others: a hash of names, labels and contents."""

import hashlib
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_BY_CONTENT = "content "  # what a fingerprint begins with; older ones are of names and sizes
_WHOLE = 2**22  # bytes: files up to this size are read whole
_BLOCKS, _BLOCK = 64, 2**16  # of larger ones: blocks of bytes, evenly from the first to the last
_THREADS = 16
_AT_ONCE = 256  # files


def fingerprint(records: Sequence) -> str:
    """Hash of names, contents, identities and cameras: the same wherever the files lie."""
    return _BY_CONTENT + _hash(records, _contents([record.path for record in records]))


def is_fingerprint_of(records: Sequence, known: str) -> bool:
    """Whether `known` is of these images; of an older version it says names and sizes only."""
    if known.startswith(_BY_CONTENT):
        return known == fingerprint(records)
    alone = f"{len(records)} images are compared by name and size alone"
    sys.stderr.write(f"note: {alone}: an older version recorded no more of them\n")
    return known == _hash(records, (_size(record.path) for record in records))


def _hash(records: Sequence, contents: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for record, content in zip(records, contents, strict=True):
        line = f"{Path(record.path).name} {content} {record.person} {record.camera}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


def _contents(paths: Sequence[str]) -> Iterable[str]:
    """A hash of each file, read in threads."""
    chunks = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for hashed in pool.map(_hash_files, chunks):
            yield from hashed


def _hash_files(paths: Sequence[str]) -> list[str]:
    return [_hash_file(path) for path in paths]


def _hash_file(path: str) -> str:
    """Of size and contents, of a large file blocks of them; "" where unreadable."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 pathlib's takes longer than the reading
            size = os.fstat(stream.fileno()).st_size
            digest.update(b"%d " % size)
            if size <= _WHOLE:
                digest.update(stream.read())
            else:
                for i in range(_BLOCKS):
                    stream.seek((size - _BLOCK) * i // (_BLOCKS - 1))
                    digest.update(stream.read(_BLOCK))
    except OSError:
        return ""
    return digest.hexdigest()
