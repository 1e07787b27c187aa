"""The nearest images of a folder: its embeddings, kept and brought up to date; the results."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mgn.config.threshold import Threshold
from mgn.data.records import UNNAMED, Record, Split
from mgn.evaluation import featurefile
from mgn.evaluation.embedding import Embed, Read, embed_split
from mgn.evaluation.sheets import Row, ranked_rows
from mgn.system.arrays import BAD_FILE, write_values
from mgn.system.errors import InputError
from mgn.system.files import write_json

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
        problem = "is no cache of this program; name another file"
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
        raise InputError(f"--gallery {folder}: none of its {len(keys)} images can be read")
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


def _key(record: Record, folder: Path) -> str:
    """An image's name, size and time of change: another key, another image."""
    path = Path(record.path)
    name = path.name if path == Path(folder) else path.relative_to(folder)
    try:
        status = path.stat()
    except OSError:  # a link to nowhere, which has no embedding to keep
        return f"{name}|unreadable"
    return f"{name}|{status.st_size}|{status.st_mtime_ns}"


def check_cameras(query: Split, gallery: Split) -> None:
    """Raise `InputError` unless names tell each query's camera, and another has a gallery image.

    How many gallery images tell none is printed: they stay.
    """
    known = gallery.cameras[gallery.cameras != UNNAMED]
    unknown = len(gallery.records) - len(known)
    for record in query.records:
        if record.camera == UNNAMED:
            problem = "its name does not tell its camera, as 0002_c1s1_000451_03.jpg does"
            raise InputError(f"--other_cameras: {record.path}: {problem}; leave out the flag")
        if not unknown and (known == record.camera).all():
            problem = f"every gallery image is by camera {record.camera}, that of {record.path}"
            raise InputError(f"--other_cameras: {problem}: nothing is left to search")
    if unknown:
        what = f"{unknown} gallery images, whose names tell no camera, stay"
        sys.stderr.write(f"note: --other_cameras: {what}\n")


def rank(
    query: Split,
    query_features: np.ndarray,
    gallery: Split,
    features: np.ndarray,
    count: int,
    other_cameras: bool = False,
) -> list[Row]:
    """The `count` nearest of each query; with `other_cameras`, by other cameras than its own.

    Features are float32 [Q, D] and [G, D]. A query for which nothing is left has no entries.
    """
    if not other_cameras:
        return ranked_rows(query.records, query_features, gallery.records, features, count)
    found = {}
    for camera in np.unique(query.cameras):
        asked = np.flatnonzero(query.cameras == camera)
        there = gallery.cameras != camera
        records = [query.records[i] for i in asked]
        entries = gallery.only(there).records
        rows = [Row(record, None, ()) for record in records]
        if entries:  # unreadable ones may have been all of the others
            rows = ranked_rows(records, query_features[asked], entries, features[there], count)
        found |= dict(zip(asked.tolist(), rows, strict=True))
    return [found[i] for i in range(len(query.records))]


def accepted(row: Row, threshold: Threshold) -> bool:
    """Whether the person of a query is in the gallery, by the nearest image."""
    return bool(row.entries) and row.entries[0][1] <= threshold.distance


def as_text(rows: Sequence[Row], threshold: Threshold | None) -> str:
    """Each query with its nearest, for a terminal."""
    lines = []
    for row in rows:
        lines.append(row.query.path)
        if threshold:
            verdict = "in the gallery" if accepted(row, threshold) else "not in the gallery"
            lines.append(f"  {verdict}: threshold {threshold.distance:g}")
        for place, (entry, distance) in enumerate(row.entries, start=1):
            lines.append(f"  {place:>3}  {distance:.4f}  {entry.path}")
    return "\n".join(lines)


def note(threshold: Threshold | None, images: int) -> str:
    """A line if the claim of a threshold does not cover a gallery of so many images; else ""."""
    if not threshold or not threshold.gallery_images or images <= threshold.gallery_images:
        return ""
    made = f"{threshold.gallery_images} images of {threshold.gallery_identities} identities"
    problem = f"its claim is for a gallery of {made}, and this one has {images} images"
    return f"warning: --threshold {threshold.path}: {problem}: more strangers may be accepted\n"


def write_results(
    rows: Sequence[Row], threshold: Threshold | None, about: dict, folder: Path
) -> Path:
    """Write `results.json`: `about` the search, and each query with its nearest."""
    queries = []
    for row in rows:
        nearest = [{"path": entry.path, "distance": distance} for entry, distance in row.entries]
        verdict = {"in_gallery": accepted(row, threshold)} if threshold else {}
        queries.append({"path": row.query.path, "nearest": nearest, **verdict})
    values = about | {"queries": queries}
    if threshold:
        path = threshold.path and str(threshold.path)
        promise = {"distance": threshold.distance, "file": path, "promise": threshold.promise}
        values["threshold"] = promise
    path = Path(folder) / "results.json"
    write_json(path, values)
    return path
