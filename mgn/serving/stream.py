"""Many files through a model server: several requests under way, results in order as they come."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np

from mgn.serving.answers import RefusedError
from mgn.serving.waiting import started
from mgn.system.errors import InputError

AT_ONCE = 8  # requests under way, which the server may join into a batch


def embed_files(
    embed: Callable[[Path], np.ndarray], paths: Iterable[Path], at_once: int = AT_ONCE
) -> Iterator[tuple[Path, np.ndarray | InputError]]:
    """Yield each file with its embedding, or with why it has none, in the order given.

    A server that joins requests refuses all of them for one bad file. So a refused file is asked
    for again while no other request is under way: only one that is refused alone is the bad one.

    Args:
        embed: a file to its float32 [D]; `InputError` if it has none. Called from threads.
        paths: files, read as they are needed.
        at_once: calls under way.
    """
    pending: deque[tuple[Path, Future]] = deque()
    for path in paths:
        if len(pending) == at_once:
            yield _settled(embed, pending)
        pending.append((path, started(embed, path)))
    while pending:
        yield _settled(embed, pending)


def _settled(
    embed: Callable[[Path], np.ndarray], pending: deque[tuple[Path, Future]]
) -> tuple[Path, np.ndarray | InputError]:
    path, future = pending.popleft()
    try:
        try:
            return path, future.result()
        except RefusedError:
            wait([other for _, other in pending])
            return path, started(embed, path).result()
    except InputError as error:
        return path, error
