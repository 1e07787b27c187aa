"""A search in a gallery store: a folder brought into it, what is found, what is forgotten."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mgn.config.storing import Where, time_text
from mgn.data.records import UNNAMED, Record, Split
from mgn.evaluation.embedding import Embed, Read, check_finite, embed_in_batches
from mgn.evaluation.forgotten import BEFORE, IDENTITY, IMAGE, Rule
from mgn.evaluation.rows import stamp_of
from mgn.evaluation.search import check_cameras
from mgn.evaluation.sheets import Row
from mgn.evaluation.store import open_store
from mgn.system.errors import InputError


class InStore(contextlib.AbstractContextManager):
    """The gallery that is a store, or the part of it that is searched."""

    def __init__(self, place: str, model: str | None, create: bool, log: str | None, where: Where):
        self._opened = open_store(place, model, create, log)
        self._where = where

    def __enter__(self):
        self.store = self._opened.__enter__()
        for rule in self.store.log.unfinished():
            what = f"forgetting {rule} was interrupted; repeat the command"
            sys.stderr.write(f"warning: --store {self.store.place}: {what}\n")
        return self

    def __exit__(self, *error):
        return self._opened.__exit__(*error)

    @property
    def images(self) -> int:
        """How many images the whole store has."""
        return self.store.count

    @property
    def about(self) -> dict:
        """What `results.json` says of it."""
        about = {"store": self.store.place, "gallery_images": self.images}
        part = {"cameras": self._where.cameras, "index": self.store.index}
        times = {"since": self._where.since, "until": self._where.until}
        part |= {name: time and time_text(time) for name, time in times.items()}
        return about | {name: value for name, value in part.items() if value is not None}

    @property
    def title(self) -> str:
        """What its sheets say of it."""
        return f"{self.images} images in {self.store.place}{_text(self._where)}"

    def check_identities(self, query: Split) -> None:
        """Raise `InputError` if the identity of a query was forgotten."""
        log = self.store.log
        for record in query.records:
            if at := log.when(Rule(IDENTITY, record.person)):
                problem = f"identity {record.person:04} was forgotten on {at} ({log.path})"
                where = f"--query {record.path}"
                raise InputError(f"{where}: {problem}; leave this query out")

    def check_cameras(self, query: Split, gallery: Split | None) -> None:
        """See `search.check_cameras`; `gallery` is to be added."""
        where, has = self._where, self.store.has_any
        to_come = set() if gallery is None else set(gallery.cameras.tolist())
        unknown = "some" if has(where._replace(cameras=(UNNAMED,))) or UNNAMED in to_come else 0
        check_cameras(query, lambda n: to_come - {n} or has(where._replace(but_camera=n)), unknown)

    def ranked(
        self, queries: Sequence[Record], asked: np.ndarray, count: int, but_camera: int | None
    ) -> list[Row]:
        """The `count` nearest of some queries; their features are float32 [Q, D]."""
        found = self.store.nearest(asked, count, self._where._replace(but_camera=but_camera))
        return [Row(record, None, row) for record, row in zip(queries, found, strict=True)]

    def add(self, embed: Embed, read: Read, gallery: Split, folder: Path) -> None:
        """Embed the images that it lacks or that have changed, and add them some at a time.

        What was forgotten is left out. Images that the folder no longer has stay.

        Raises:
            InputError: nothing of the folder can be stored.
        """
        records = [replace(r, path=os.path.abspath(r.path)) for r in gallery.records]  # noqa: PTH100
        stamps = {record.path: stamp_of(record.path) for record in records}
        known = self.store.stamps([path for path, stamp in stamps.items() if stamp])
        new, there, forgotten, unreadable = [], 0, 0, []
        for record in records:
            stamp = stamps[record.path]
            if stamp is None:
                unreadable.append(record.path)
            elif self.store.log.covers(record, stamp.changed):
                forgotten += 1
            elif known.get(record.path) == stamp:
                there += 1
            else:
                new.append(record)
        # Batch by batch it goes into the store, so that a run that is stopped was not in vain.
        split = replace(gallery, records=tuple(new))
        added, start = 0, 0
        for has_feature, features in embed_in_batches(embed, split, read, "gallery", True):
            batch = new[start : start + len(has_feature)]
            start += len(batch)
            made = [record for record, is_made in zip(batch, has_feature, strict=True) if is_made]
            unreadable += [record.path for record in batch if record not in made]
            if made:
                check_finite(features, replace(gallery, records=tuple(made)))
                self.store.add(made, [stamps[record.path] for record in made], features)
                added += len(made)
        for path in unreadable:
            sys.stderr.write(f"left out, unreadable: {path!r}\n")
        left_out = {"unreadable": len(unreadable), "forgotten": forgotten}
        counts = "".join(f", {number} {what}" for what, number in left_out.items() if number)
        told = f"{added} of {len(records)} gallery images embedded, {there} from"
        sys.stderr.write(f"{told} {self.store.place}{counts}\n")
        if not added + there and not self.store.count:
            problem = f"none of its {len(records)} images can be stored"
            raise InputError(f"--gallery {folder}: {problem}; name another folder")

    def use_index(self, kind: str) -> None:
        """Search so from now on; how much an approximate search finds is printed."""
        share = self.store.use_index(kind)
        found = "" if share is None else f": recall@10 {share:.3f} of stored images"
        sys.stderr.write(f"{self.store.place}: {kind} index{found}\n")


def _text(where: Where) -> str:
    """A part of a store, in words."""
    parts = []
    if where.cameras:
        parts.append(f"by cameras {','.join(map(str, where.cameras))}")
    if where.since is not None:
        parts.append(f"since {time_text(where.since)}")
    if where.until is not None:
        parts.append(f"until {time_text(where.until)}")
    return "".join(f", {part}" for part in parts)


def rules(
    identities: Sequence[int] | None, images: Sequence[str] | None, before: int | None
) -> list[Rule]:
    """What flags say is to be forgotten; an image with a folder in its name is that path."""
    found = [Rule(IDENTITY, number) for number in identities or ()]
    for name in images or ():
        is_path = Path(name).name != name
        found.append(Rule(IMAGE, os.path.abspath(name) if is_path else name))  # noqa: PTH100
    return found + ([Rule(BEFORE, before)] if before is not None else [])


def forget(place: str, log: Path | None, wanted: Sequence[Rule]) -> list[str]:
    """Erase what rules name from a store; then open it again, and look for it.

    Returns a line for each rule, and one of what is left.

    Raises:
        InputError: the store has nothing of one of them.
        CheckError: something of it is still found.
    """
    with open_store(place, None, log=log) as store:
        for rule in wanted:
            store.check_known(rule)
        vectors = [store.vectors_to_forget(rule) for rule in wanted]
        images = [store.forget(rule) for rule in wanted]
    done = []
    with open_store(place, None, log=log) as store:  # what is on the disk, not in memory
        for rule, some, number in zip(wanted, vectors, images, strict=True):
            for path in store.check_forgotten(rule, some):
                what = "the store has an image equal to a forgotten one"
                sys.stderr.write(f"note: {what}: {path!r}\n")
            store.log.done(rule, number)
            done.append(f"forgotten: {rule}: {number} images")
        return [*done, f"{store.count} images are left in {place}"]
