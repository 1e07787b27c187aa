"""Where a gallery store is: a folder (Milvus Lite) or a Milvus server, by the same client."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from mgn.config.storing import is_server
from mgn.evaluation.collection import SECONDS, Collection, Heard, what_failed
from mgn.system.errors import InputError, advice
from mgn.system.files import check_can_be_made, is_unused, locked
from mgn.system.packages import needed

REQUIREMENTS = "doc/store-requirements.txt"
_HUSHED = ("pymilvus", "faiss", "grpc")  # they log traces of what they raise, and how they load


@contextlib.contextmanager
def _heard() -> Iterator[Heard]:
    """Hear what Milvus Lite logs; it and its libraries print nothing meanwhile."""
    heard = Heard()
    loggers = [logging.getLogger(name) for name in ("milvus_lite", *_HUSHED)]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers = [heard if logger.name == "milvus_lite" else logging.NullHandler()]
        logger.propagate = False
    try:
        yield heard
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


@contextlib.contextmanager
def opened(place: str, create: bool) -> Iterator[Collection]:
    """A store's collection, while no other process of this machine has its folder.

    Raises:
        InputError: no store there and not `create`, another's folder, held by another process, or
            no such server; or the package is missing.
    """
    pymilvus = needed("pymilvus", REQUIREMENTS)  # which sets its logger up
    with contextlib.ExitStack() as last:
        heard = last.enter_context(_heard())
        if is_server(place):
            client = _connected(pymilvus, place, create)
            last.callback(client.close)
        else:
            client = last.enter_context(_in_folder(pymilvus, Path(place), heard, create))
        collection = Collection(pymilvus, client, place, heard)
        yield collection
        collection.flush()


def _connected(pymilvus: ModuleType, place: str, create: bool) -> object:
    """A client of a server; the database that the address names is made if it is to be."""
    options = {"timeout": SECONDS, "token": os.environ.get("MILVUS_TOKEN", "")}
    parts = urlsplit(place)
    server = f"{parts.scheme}://{parts.netloc}"
    database = parts.path.strip("/")
    try:
        client = pymilvus.MilvusClient(server, **options)
        if not database:
            return client
        if create and database not in client.list_databases():
            client.create_database(database)
        client.close()
        return pymilvus.MilvusClient(server, db_name=database, **options)
    except pymilvus.MilvusException as error:
        problem = f"no Milvus server answers there ({what_failed(error)})"
        todo = "start it, correct the address, or name a folder such as gallery.db"
        raise InputError(f"--store {place}: {problem}; {todo}") from None


@contextlib.contextmanager
def _in_folder(pymilvus: ModuleType, folder: Path, heard: Heard, create: bool) -> Iterator[object]:
    needed("milvus_lite", REQUIREMENTS)
    where = f"--store {folder}"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{where}: is a file, not a store; name another, such as gallery.db")
    there = folder.is_dir() and (folder / "collections").is_dir()
    if not there and not is_unused(folder):
        raise InputError(f"{where}: is a folder of other files, not a store; name another")
    if not there and not create:
        raise InputError(f"{where}: no such store; make it with --gallery")
    check_can_be_made(folder / "collections")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        try:
            client = pymilvus.MilvusClient(str(folder.resolve()))
        except pymilvus.MilvusException as error:
            raise InputError(f"{where}: {_why_closed(heard.error or error)}") from None
        try:
            yield client
        finally:
            empty = not there and not client.list_collections()
            client.close()
            needed("milvus_lite", REQUIREMENTS).server_manager_instance.release_server(
                str(folder.resolve())
            )
            if empty:
                shutil.rmtree(folder, ignore_errors=True)


def _why_closed(error: BaseException) -> str:
    if type(error).__name__ == "DataDirLockedError":
        return "another process has it open; wait until it ends, or use a server (doc/store.md)"
    return f"cannot be opened ({advice(error) or what_failed(error)}); name another store"
