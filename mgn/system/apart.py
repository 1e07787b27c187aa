"""A function in a process of its own, for code that this one must not run."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from mgn.system.errors import first_line


def apart(function: Callable, *arguments: object) -> object:
    """Call a function of a module in a fresh process, and return what it returns.

    Ctrl-C is for this process alone: the other one never sees it, and is killed when an exception
    is on its way here.

    Raises:
        Exception: what the function raises, if Python has it; else a RuntimeError that tells it.
        RuntimeError: the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, function, arguments), daemon=True)
    with _without_ctrl_c():
        process.start()
    there.close()
    try:
        value, error = here.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"its process ended with status {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        here.close()
    if error is not None:
        raise error
    return value


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Start processes to which Ctrl-C says nothing.

    A process begins with the blocked signals of the one that starts it, and Python takes seconds to
    import what the function needs: whoever ignores Ctrl-C after that is too late.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _answer(there: Connection, function: Callable, arguments: tuple) -> None:
    try:
        there.send((function(*arguments), None))
    except Exception as error:
        own = type(error).__module__ == "builtins"  # others may not survive the way
        there.send((None, error if own else RuntimeError(first_line(error))))
