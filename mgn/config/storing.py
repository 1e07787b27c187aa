"""Options of a gallery store: where it is, what is searched in it, what is forgotten."""

import argparse
import re
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from mgn.system.numbers import is_digits

EXACT, APPROXIMATE = "exact", "approximate"
_SERVERS = ("http://", "https://")
_FORGETTING = ("forget", "forget_image", "forget_before")
_OF_STORES = ("index", "cameras", "since", "until", "forget_log", *_FORGETTING)
_DAYS = re.compile(r"([0-9]{1,6})d", re.ASCII)


class Where(NamedTuple):
    """Which images of a store are searched; None: of any camera, or time."""

    cameras: tuple[int, ...] | None = None
    but_camera: int | None = None
    since: int | None = None  # nanoseconds since 1970, from here on
    until: int | None = None  # up to here, and without it


def is_server(place: str) -> bool:
    """Whether a store is on a server, not a folder of this machine."""
    return place.startswith(_SERVERS)


def store_place(text: str) -> str:
    """Flag type: a folder whose name ends in .db, or the address of a server."""
    if not is_server(text) and not (text.endswith(".db") and "://" not in text):
        wanted = "a name that ends in .db, such as gallery.db, nor http://HOST:19530"
        raise argparse.ArgumentTypeError(f"{text!r} is neither {wanted}")
    return text


def camera_numbers(text: str) -> tuple[int, ...]:
    """Flag type: numbers of cameras, such as 1,2."""
    parts = text.split(",")
    if not all(is_digits(part) and len(part) < 10 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers of cameras such as 1,2")
    return tuple(sorted({int(part) for part in parts}))


def identity(text: str) -> int:
    """Flag type: an identity as image names have it, such as 0012."""
    if not is_digits(text) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not an identity such as 0012")
    return int(text)


def moment(text: str) -> int:
    """Flag type: a date, a date and time, or a number of days ago; nanoseconds since 1970.

    A time without an offset is in UTC.
    """
    now = datetime.now(timezone.utc)
    try:
        if days := _DAYS.fullmatch(text):
            time = now - timedelta(days=int(days[1]))
        else:
            time = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "Zz" else text)
        time = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
        return round(time.timestamp()) * 10**9
    except (ValueError, OverflowError, OSError):
        wanted = "a time such as 2026-11-27, 2026-11-27T18:30 (UTC) or 30d, 30 days ago"
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None


def time_text(nanoseconds: int) -> str:
    """A time in UTC, to the second."""
    time = datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Flags of a store, in three groups."""
    add = parser.add_argument_group("a gallery that stays in a store (doc/store.md)").add_argument
    place = "folder that ends in .db, or http://HOST:19530 of a Milvus server; --gallery adds to it"
    add("--store", type=store_place, metavar="PLACE", help=place)
    kinds = "how to search the store, from now on (default: unchanged; a new store: exact)"
    add("--index", choices=(EXACT, APPROXIMATE), help=kinds)
    add = parser.add_argument_group("search a part of the store").add_argument
    add("--cameras", type=camera_numbers, metavar="N,N", help="only images by these cameras")
    time = "images whose file was last changed"
    when = "a date, a date and time in UTC, or 30d: 30 days ago"
    add("--since", type=moment, metavar="TIME", help=f"only {time} then or later; {when}")
    add("--until", type=moment, metavar="TIME", help=f"only {time} before then")
    add = parser.add_argument_group(
        "forget images of the store (in a separate command)"
    ).add_argument
    who = "identities to forget, with all their images, such as 0012"
    add("--forget", type=identity, nargs="+", metavar="IDENTITY", help=who)
    which = "images to forget, by path or by file name"
    add("--forget_image", nargs="+", metavar="IMAGE", help=which)
    add("--forget_before", type=moment, metavar="TIME", help=f"{time} before then")
    log = "record of what was forgotten (default: forgotten.jsonl in the store's folder, of a "
    add("--forget_log", metavar="FILE", help=f"{log}server runs/forgotten-HOST-PORT.jsonl)")


def is_forgetting(flags: argparse.Namespace) -> bool:
    """Whether something is to be forgotten."""
    return any(getattr(flags, name) is not None for name in _FORGETTING)


def check_store_options(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    """Exit with one line unless the flags of a search and of a store go together."""
    if not flags.store:
        for name in _OF_STORES:
            if getattr(flags, name) is not None:
                parser.error(f"--{name}: only with --store")
    if flags.store and flags.cache:
        parser.error("--cache: not with --store, which keeps the embeddings itself")
    asked = {"gallery": flags.gallery, "query": flags.query}
    given = [name for name, value in asked.items() if value]
    if is_forgetting(flags):
        if given or flags.index:
            parser.error(f"--{(given or ['index'])[0]}: not in the same command as --forget")
        return
    needed = [] if flags.model or (not given and flags.index) else ["--model"]
    if not flags.store:
        needed += [f"--{name}" for name, value in asked.items() if not value]
    if needed:
        parser.error(f"the following arguments are required: {', '.join(needed)}")
    if flags.store and not given and not flags.index:
        parser.error("--store: give --gallery to add, --query to search, or --forget")
    times = flags.since, flags.until
    if None not in times and times[0] >= times[1]:
        parser.error("--until: must be later than --since")
    if not flags.query:
        for name in ("cameras", "since", "until"):
            if getattr(flags, name) is not None:
                parser.error(f"--{name}: only with --query")
