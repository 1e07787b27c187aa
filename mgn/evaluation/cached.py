"""A gallery that is a folder: its embeddings, kept in a cache and brought up to date."""

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mgn.config.threshold import Threshold
from mgn.data.records import UNNAMED, Record, Split
from mgn.evaluation import featurefile
from mgn.evaluation.embedding import Embed, Read, embed_split
from mgn.evaluation.search import check_cameras
from mgn.evaluation.sheets import Row, ranked_rows
from mgn.system.arrays import BAD_FILE, write_values
from mgn.system.errors import InputError
from mgn.system.files import refuse_existing

CACHE = "mgn search 1"  # format of a cache


def read_cache(cache: Path, model: str) -> tuple[dict[str, np.ndarray], str | None]:
    """Read what a cache has of the model with this hash.

    Returns:
        {image's key: embedding}, and the hash of the model from whose space `mgn.migrate` mapped
        them; None: the model made them itself.

    Raises:
        InputError: the file is something else, which is not to be replaced.
    """
    if not cache.exists():
        return {}, None
    try:
        with np.load(cache, allow_pickle=False) as stored:
            if stored["format"] != CACHE:
                raise KeyError("format")
            if stored["model"] != model:
                return {}, None
            keys = json.loads(str(stored["keys"]))
            known = dict(zip(keys, stored["features"], strict=True))
            return known, featurefile.mapped_from(stored)
    except BAD_FILE:
        problem = "not a cache of mgn.search; name another file"
        raise InputError(f"--cache {cache}: {problem}") from None


def check_mapped(cache: Path, mapped_from: str | None, threshold: Threshold | None) -> None:
    """Raise `InputError` if a claim does not cover a cache's mapped embeddings; else print it."""
    if not mapped_from:
        return
    origin = f"--cache {cache}: embeddings mapped from model {mapped_from[:12]}"
    if threshold and threshold.path:
        problem = "its claim is for the model's own embeddings"
        number = f"give the number itself (--threshold {threshold.distance:g})"
        raise InputError(f"--threshold {threshold.path}: {problem}; {origin}; {number}")
    sys.stderr.write(f"note: {origin}; images that are new or changed are embedded by --model\n")


def embed_what_is_new(
    embed: Embed,
    read: Read,
    gallery: Split,
    folder: Path,
    known: dict[str, np.ndarray],
    kept_in: tuple[Path, str, str | None],
) -> tuple[Split, np.ndarray, Callable[[], None]]:
    """Embed the images that the cache lacks or that have changed.

    Args:
        embed: see `inference.load_embedder`.
        read: an image's path to uint8 RGB [H, W, 3].
        gallery: images under `folder`; unreadable ones are reported and left out.
        folder: their names in the cache are relative to it.
        known: from `read_cache`.
        kept_in: the cache, the hash of the model, and of that which it was mapped from, if any.

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
        raise InputError(
            f"--gallery {folder}: none of its {len(keys)} images can be read; name another"
        )
    features = np.stack([known[key] for key in kept])

    def keep() -> None:
        """Write the cache if something is new, or if it has images that are gone."""
        if added or len(kept) < len(known):
            cache, model, mapped_from = kept_in
            values = {"format": CACHE, "model": model, "keys": json.dumps(kept)}
            values |= {"mapped_from": mapped_from} if mapped_from else {}
            write_values(cache, values | {"features": features}, overwrite=True)

    counts = (
        f"{added} of {len(keys)} gallery images embedded, {len(kept) - added} from {kept_in[0]}"
    )
    unreadable = len(keys) - len(kept)
    sys.stderr.write(f"{counts}{f', {unreadable} unreadable' if unreadable else ''}\n")
    return gallery.only(present), features, keep


class InFolder(contextlib.AbstractContextManager):
    """The gallery that is a folder: its embeddings are kept in a cache, brought up at the end."""

    def __init__(self, gallery: Split, folder: Path, cache: Path, model: str):
        self.gallery = gallery
        self._folder = folder
        self._cache = cache
        self._model = model
        self._features = np.empty((0, 0), np.float32)
        self._known, self.mapped_from = read_cache(cache, model)
        refuse_existing(cache, overwrite=True)
        self._keep = lambda: None

    def __exit__(self, *_):
        self._keep()  # whatever becomes of the query

    def check_threshold(self, threshold: Threshold | None) -> None:
        """See `check_mapped`."""
        check_mapped(self._cache, self.mapped_from, threshold)

    def add(self, embed: Embed, read: Read, gallery: Split, folder: Path) -> None:
        """Embed what is new; see `embed_what_is_new`."""
        kept_in = self._cache, self._model, self.mapped_from
        self.gallery, self._features, self._keep = embed_what_is_new(
            embed, read, gallery, folder, self._known, kept_in
        )

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.gallery.records)

    @property
    def about(self) -> dict:
        """What `results.json` says of it."""
        about = {"gallery": str(self._folder), "gallery_images": self.images}
        return about | ({"mapped_from": self.mapped_from} if self.mapped_from else {})

    @property
    def title(self) -> str:
        """What its sheets say of it."""
        return f"{self.images} images in {self._folder}"

    def check_cameras(self, query: Split, gallery: Split) -> None:
        """See the function of this name."""
        unknown = np.count_nonzero(gallery.cameras == UNNAMED)
        check_cameras(query, lambda camera: (gallery.cameras != camera).any(), unknown)

    def ranked(
        self, queries: Sequence[Record], asked: np.ndarray, count: int, but_camera: int | None
    ) -> list[Row]:
        """The `count` nearest of some queries; their features are float32 [Q, D]."""
        records, features = self.gallery.records, self._features
        if but_camera is not None:
            others = self.gallery.cameras != but_camera
            records, features = self.gallery.only(others).records, features[others]
        if not records:  # unreadable ones may have been all of the others
            return [Row(record, None, ()) for record in queries]
        return ranked_rows(queries, asked, records, features, count)


def _key(record: Record, folder: Path) -> str:
    """An image's name, size and time of change: another key, another image."""
    path = Path(record.path)
    name = path.name if path == Path(folder) else path.relative_to(folder)
    try:
        status = path.stat()
    except OSError:  # a link to nowhere, which has no embedding to keep
        return f"{name}|unreadable"
    return f"{name}|{status.st_size}|{status.st_mtime_ns}"
