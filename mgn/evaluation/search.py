"""Embeddings of a folder of images, kept and brought up to date."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mgn.data.records import Record, Split
from mgn.evaluation.embedding import BAD_FILE, Embed, Read, embed_split
from mgn.system.errors import InputError
from mgn.system.files import atomic_write

_FORMAT = "mgn search 1"


def read_cache(cache: Path, model: str) -> dict[str, np.ndarray]:
    """Read what a cache has of the model with this hash: {image's key: embedding}.

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
            keys = json.loads(str(stored["keys"]))
            return dict(zip(keys, stored["features"], strict=True))
    except BAD_FILE:
        problem = "is no cache of this program; name another file"
        raise InputError(f"--cache {cache}: {problem}") from None


def embed_what_is_new(
    embed: Embed,
    read: Read,
    gallery: Split,
    folder: Path,
    known: dict[str, np.ndarray],
    kept_in: tuple[Path, str],
) -> tuple[Split, np.ndarray, Callable[[], None]]:
    """Embed the images that the cache lacks or that have changed.

    Args:
        embed: see `inference.load_embedder`.
        read: an image's path to uint8 RGB [H, W, 3].
        gallery: images under `folder`; unreadable ones are reported and left out.
        folder: their names in the cache are relative to it.
        known: from `read_cache`.
        kept_in: the cache, and the hash of the model.

    Returns:
        the split of the images that have an embedding, and these, float32 [G, 2048]; and what
        brings the cache up to date: to be called at the end, as it may fail.
    """
    keys = [_key(record, folder) for record in gallery.records]
    new = gallery.only([key not in known for key in keys])
    added = 0
    if new.records:
        done, features, skipped = embed_split(embed, new, read, "gallery", skip_unreadable=True)
        added = len(done.records)
        for record, feature in zip(done.records, features, strict=True):
            known[_key(record, folder)] = feature
        for path in skipped:
            sys.stderr.write(f"left out, unreadable: {path!r}\n")
    # From the cache and the new images together, in the order of the gallery.
    present = [key in known for key in keys]
    kept = [key for key in keys if key in known]
    if not kept:
        raise InputError(f"--gallery {folder}: none of its {len(keys)} images can be read")
    features = np.stack([known[key] for key in kept])

    def keep() -> None:
        """Write the cache if something is new, or if it has images that are gone."""
        if added or len(kept) < len(known):
            cache, model = kept_in
            with atomic_write(cache, overwrite=True) as temporary, temporary.open("wb") as stream:
                stored = {"format": _FORMAT, "model": model, "keys": json.dumps(kept)}
                np.savez(stream, **stored, features=features)

    counts = (
        f"{added} of {len(keys)} gallery images embedded, {len(kept) - added} from {kept_in[0]}"
    )
    unreadable = len(keys) - len(kept)
    sys.stderr.write(f"{counts}{f', {unreadable} unreadable' if unreadable else ''}\n")
    return gallery.only(present), features, keep


def _key(record: Record, folder: Path) -> str:
    """An image's name, size and time of change: another key, another image."""
    path = Path(record.path)
    name = path.name if path == Path(folder) else path.relative_to(folder)
    try:
        status = path.stat()
    except OSError:  # a link to nowhere, which has no embedding to keep
        return f"{name}|unreadable"
    return f"{name}|{status.st_size}|{status.st_mtime_ns}"
