"""Embeddings of a folder of images, kept and brought up to date."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mgn.data.records import Record, Split
from mgn.evaluation.embedding import embed_split
from mgn.system.errors import InputError
from mgn.system.files import atomic_write

_FORMAT = "mgn search 1"


def embed_what_is_new(
    embed: Callable,
    read: Callable,
    gallery: "Split",
    folder: Path,
    known: dict,
    kept_in: tuple[Path, str],
) -> "tuple[Split, np.ndarray]":
    """Embed the images that the cache lacks or that have changed, and keep all of them there.

    Args:
        embed: see `inference.load_embedder`.
        read: an image's path to uint8 RGB [H, W, 3].
        gallery: images under `folder`; those that cannot be read are left out, and said.
        folder: their names in the cache are relative to it.
        known: from `read_cache`.
        kept_in: the cache, and the hash of the model.

    Returns:
        the split of the images that have an embedding, and these, float32 [G, 2048].
    """
    cache, model = kept_in
    keys = [_key(record, folder) for record in gallery.records]
    new, skipped = gallery.only([key not in known for key in keys]), []
    if new.records:
        done, features, skipped = embed_split(embed, new, read, "gallery", skip_unreadable=True)
        known |= {_key(r, folder): row for r, row in zip(done.records, features, strict=True)}
        for path in skipped:
            sys.stderr.write(f"left out, unreadable: {path!r}\n")
    present = [key in known for key in keys]
    if not any(present):
        raise InputError(f"--gallery {folder}: none of its {len(keys)} images can be read")
    kept = [key for key, there in zip(keys, present, strict=True) if there]
    features = np.stack([known[key] for key in kept])
    if len(new.records) > len(skipped) or len(kept) < len(known):
        with atomic_write(cache, overwrite=True) as temporary, temporary.open("wb") as stream:
            np.savez(stream, format=_FORMAT, model=model, keys=json.dumps(kept), features=features)
    sys.stderr.write(
        f"{len(new.records)} of {len(keys)} gallery images embedded, the others from {cache}\n"
    )
    return gallery.only(present), features


def _key(record: "Record", folder: Path) -> str:
    """An image's name, size and time of change: another key, another image."""
    path = Path(record.path)
    status = path.stat()
    name = path.name if path == Path(folder) else path.relative_to(folder)
    return f"{name}|{status.st_size}|{status.st_mtime_ns}"


def read_cache(cache: Path, model: str) -> dict:
    """What a cache has of this model: {image's key: embedding}.

    Raises:
        InputError: the file is something else, which is not to be replaced.
    """
    if not cache.exists():
        return {}
    try:
        with np.load(cache, allow_pickle=False) as stored:
            if stored["format"] != _FORMAT:
                raise KeyError("format")
            if stored["model"] != model:
                return {}
            return dict(zip(json.loads(str(stored["keys"])), stored["features"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, BadZipFile):
        raise InputError(
            f"--cache {cache}: is no cache of this program; name another file"
        ) from None
