"""The other workers of a cluster, met and watched: a sum over replicas waits for one that went."""

import contextlib
import os
import socket
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence

import tensorflow.compat.v1 as tf

from mgn.system.errors import CheckError, InputError
from mgn.system.signals import ended_at_once

_SECONDS_BETWEEN_LOOKS = 5.0
_MISSES = 3  # in a row, before a worker counts as gone
_FAILED = 1  # exit status


class Workers:
    """Who they are, as one worker sees them; on one box there are none."""

    def __init__(self, addresses: Sequence[str], own: int, command: str):
        """Note who they are.

        Args:
            addresses: host:port of every worker.
            own: this one's place among them.
            command: goes on with the run.
        """
        self._others = [address for i, address in enumerate(addresses) if i != own]
        self._advice = f"start all workers again: {command}"
        self._parted = threading.Event()  # no step is ahead that needs the others
        self.alone = not self._others  # nobody to agree with on when to stop

    def check(self) -> None:
        """Raise `CheckError` if another worker is gone, which is then why something failed."""
        for address in self._others:
            if not _answers(address):
                raise CheckError(_message(address, self._advice))

    def meet(self, agreed: Callable[[int], bool], step: int, *same: object) -> None:
        """Wait for the others; a run of unequal workers would hang, or train something else.

        Args:
            agreed: `Stepper.agreed`.
            step: the next one.
            same: what the others must have too.

        Raises:
            InputError: they have not.
            CheckError: one of them is gone.
        """
        try:
            if self.alone or agreed(zlib.crc32(repr((*same, step)).encode())):
                return
        except tf.errors.OpError:
            self.check()
            raise
        raise InputError(
            f"TF_CONFIG: at step {step} this worker and the others differ in options, data set or"
            " step; start all with the same command, and a train_dir on a file system that all see"
        )

    def waiting(self) -> contextlib.AbstractContextManager:
        """For what waits until all are there: a handler would not run, and nothing is lost yet."""
        return contextlib.nullcontext() if self.alone else ended_at_once()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """End this process when another worker stops to answer, unless `part` was called.

        The run goes on from its last checkpoint.
        """
        arguments = self._others, self._parted, self._advice
        if self._others:
            threading.Thread(target=_watch, args=arguments, daemon=True).start()
        try:
            yield
        finally:
            self.part()

    def part(self) -> None:
        """Let the others go: no step is ahead that needs them."""
        self._parted.set()

    def after_step(self, _step: int, _taken: object, last: bool) -> None:
        """See `watch.Watch`."""
        if last:
            self.part()


def _watch(addresses: Sequence[str], over: threading.Event, advice: str) -> None:
    missed: dict[str, int] = {}  # of those that have answered; others have not started yet
    while not over.wait(_SECONDS_BETWEEN_LOOKS):
        for address in addresses:
            if _answers(address):
                missed[address] = 0
            elif address in missed:
                missed[address] += 1
            if missed.get(address, 0) >= _MISSES and not over.is_set():
                # The main thread waits inside of TensorFlow, where no exception reaches it.
                sys.stderr.write(f"error: {_message(address, advice)}\n")
                sys.stderr.flush()
                os._exit(_FAILED)


def _message(address: str, advice: str) -> str:
    return f"the worker at {address} is gone; {advice}"


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        address = host.strip("[]"), int(port)
        socket.create_connection(address, timeout=_SECONDS_BETWEEN_LOOKS).close()
    except (OSError, ValueError):
        return False
    return True
