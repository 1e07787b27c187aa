"""What a gallery store was told to forget: a log, and the rules by which nothing comes back."""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from mgn.config.storing import is_server, time_text
from mgn.data.records import Record
from mgn.system.errors import InputError

IDENTITY, IMAGE, BEFORE = "identity", "image", "before"
_BEGUN, _DONE = "begun", "done"
_LINE = b'{"state": '  # how a line begins


class Rule(NamedTuple):
    """One thing to forget."""

    kind: str  # IDENTITY, IMAGE or BEFORE
    value: int | str  # an identity, a path or a file's name, nanoseconds since 1970

    def __str__(self) -> str:
        """For people, and to find it in a log."""
        if self.kind == BEFORE:
            return f"images from before {time_text(self.value)}"
        return f"{self.kind} {self.value:04}" if self.kind == IDENTITY else f"image {self.value!r}"

    def covers(self, record: Record, changed: int) -> bool:
        """Whether an image, whose file was last changed then, is to be forgotten."""
        if self.kind == IDENTITY:
            return record.person == self.value
        if self.kind == BEFORE:
            return changed < self.value
        return self.value in (record.path, Path(record.path).name)


def log_place(place: str) -> Path:
    """Where the log of a store is unless a flag says it."""
    if not is_server(place):
        return Path(place) / "forgotten.jsonl"
    address = urlsplit(place)
    named = f"{address.hostname}-{address.port or 'default'}{address.path.rstrip('/')}"
    return Path("runs") / f"forgotten-{named.replace('/', '-')}.jsonl"


class Log:
    """A file of a line for each thing begun and done: {"state", "kind", "value", "at", "images"}.

    Vectors are not in it. What it says was forgotten is not added again, and not searched for;
    to take that back, remove its lines.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._states = {}  # Rule -> (state, when)
        content = self.path.read_bytes() if self.path.exists() else b""
        self._whole = content.rfind(b"\n") + 1  # bytes of whole lines
        lines = content[: self._whole].splitlines()
        if not content[self._whole :].startswith(_LINE[: len(content) - self._whole]):
            lines.append(content[self._whole :])  # not of a process that was killed while it wrote
        for number, line in enumerate(lines, start=1):
            try:
                values = json.loads(line)
                rule = Rule(values["kind"], values["value"])
                self._states[rule] = values["state"], values["at"]
            except (ValueError, KeyError, TypeError):
                problem = f"line {number} is not one of a store; name another file, or repair it"
                raise InputError(f"{self.path}: {problem}") from None

    def covers(self, record: Record, changed: int) -> bool:
        """Whether an image, whose file was last changed then, is not to be stored."""
        named = {Rule(IDENTITY, record.person), Rule(IMAGE, record.path)}
        named.add(Rule(IMAGE, Path(record.path).name))
        if not self._states.keys().isdisjoint(named):
            return True
        times = (rule.value for rule in self._states if rule.kind == BEFORE)
        return changed < max(times, default=changed)

    def unfinished(self) -> list[Rule]:
        """What was begun and not done."""
        return [rule for rule, (state, _) in self._states.items() if state == _BEGUN]

    def when(self, rule: Rule) -> str | None:
        """When something was forgotten; None: never."""
        state, at = self._states.get(rule, (None, None))
        return at if state == _DONE else None

    def begin(self, rule: Rule) -> None:
        """Note what is to be forgotten, before anything is."""
        self._append(rule, _BEGUN)

    def done(self, rule: Rule, images: int) -> None:
        """Note that it is forgotten, and how many images that were."""
        self._append(rule, _DONE, images=images)

    def _append(self, rule: Rule, state: str, **more: int) -> None:
        at = time_text(time.time_ns())
        self._states[rule] = state, at
        values = {"state": state, "kind": rule.kind, "value": rule.value, "at": at, **more}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as stream:
            stream.truncate(self._whole)
            stream.write(f"{json.dumps(values)}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())
            self._whole = stream.tell()
