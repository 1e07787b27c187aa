"""TF_CONFIG: which workers there are, and which of them this process is."""

import json
import os
from typing import NamedTuple

from mgn.system.errors import InputError
from mgn.system.numbers import is_digits

VARIABLE = "TF_CONFIG"
_KINDS = "chief", "worker"  # of tasks, in the order of their replicas
_OLDER = "master"  # what TensorFlow 1.x called the chief
_EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
)


class Cluster(NamedTuple):
    """All workers, of which this process is one."""

    tasks: dict[str, list[str]]  # of each kind: host:port
    kind: str  # of this process's task
    index: int

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of every worker, in the order of their replicas."""
        return tuple(address for kind in _KINDS for address in self.tasks.get(kind, ()))

    @property
    def worker(self) -> int:
        """This process among them."""
        return self.addresses.index(self.tasks[self.kind][self.index])


def from_environment() -> Cluster | None:
    """The cluster of TF_CONFIG; None: this process works alone.

    `master` is taken as `chief`. Every other entry that is not understood is refused: a process
    that ignored it would train alone, and so would all others.

    Raises:
        InputError: with what is wrong.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _refusal(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _refusal("not a JSON object")
    tasks = _tasks(found.get("cluster") or {})
    if not tasks and not found.get("task"):
        return None
    return _checked(tasks, found.get("task"))


def _tasks(cluster: object) -> dict[str, list[str]]:
    """The entries of "cluster", with the names of today."""
    if not isinstance(cluster, dict):
        raise _refusal('its "cluster" is not an object')
    unknown = sorted(set(cluster) - {*_KINDS, _OLDER})
    if unknown:
        named = ", ".join(unknown)
        raise _refusal(f'"{named}" in its "cluster": all processes train, as "chief" or "worker"')
    if _OLDER in cluster and "chief" in cluster:
        raise _refusal(f'it has a "chief" and a "{_OLDER}", which is the older word for it')
    tasks = {}
    for kind, addresses in cluster.items():
        strings = isinstance(addresses, list) and all(isinstance(a, str) for a in addresses)
        if not strings:
            raise _refusal(f'the "{kind}" of its "cluster" is not a list of "HOST:PORT"')
        tasks["chief" if kind == _OLDER else kind] = addresses
    if len(tasks.get("chief", ())) > 1:
        raise _refusal("it has more than one chief")
    every = [address for addresses in tasks.values() for address in addresses]
    if len(set(every)) < len(every):
        raise _refusal("it has an address twice")
    return tasks


def _checked(tasks: dict[str, list[str]], task: object) -> Cluster | None:
    """The cluster, if this process is in it and not alone."""
    several = sum(map(len, tasks.values())) > 1
    if not task and not several:
        return None
    if not isinstance(task, dict):
        raise _refusal('its "task" does not say which of them this process is')
    kind = "chief" if task.get("type") == _OLDER else task.get("type")
    index = task.get("index")
    if isinstance(index, str) and is_digits(index):
        index = int(index)
    whole = isinstance(index, int) and not isinstance(index, bool)
    known = isinstance(kind, str) and kind in tasks
    if not known or not whole or not 0 <= index < len(tasks[kind]):
        given = f"{task.get('type')} {task.get('index')}"
        raise _refusal(f'its "task", {given}, is not one of the cluster\'s workers')
    return Cluster(tasks, kind, index) if several else None


def _refusal(problem: str) -> InputError:
    return InputError(f"{VARIABLE}: {problem}; it must look like {_EXAMPLE}")
