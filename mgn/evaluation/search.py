"""A search: the nearest of each query, by any gallery; its results as text and `results.json`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mgn.config.threshold import Threshold
from mgn.data.records import UNNAMED, Record, Split
from mgn.evaluation.sheets import Row
from mgn.system.errors import InputError
from mgn.system.files import write_json

# Of queries, their features, a count and a camera that is left out (or None): a row for each query.
Ranked = Callable[[Sequence[Record], np.ndarray, int, int | None], list[Row]]


def check_cameras(query: Split, is_left: Callable[[int], bool], unknown: object) -> None:
    """Raise `InputError` unless names tell each query's camera, and another has a gallery image.

    `is_left` tells whether another camera than one took an image of the gallery; `unknown`, how
    many of its names tell none, is printed: they stay.
    """
    for record in query.records:
        if record.camera == UNNAMED:
            problem = "its name does not tell its camera, as 0002_c1s1_000451_03.jpg does"
            raise InputError(f"--other_cameras: {record.path}: {problem}; leave out the flag")
    for record in {record.camera: record for record in reversed(query.records)}.values():
        if not is_left(record.camera):
            problem = f"every gallery image is by camera {record.camera}, that of {record.path}"
            raise InputError(f"--other_cameras: {problem}; leave out the flag")
    if unknown:
        what = f"{unknown} gallery images, whose names tell no camera, stay"
        sys.stderr.write(f"note: --other_cameras: {what}\n")


def rank(
    ranked: Ranked, query: Split, features: np.ndarray, count: int, other_cameras: bool = False
) -> list[Row]:
    """The `count` nearest of each query; with `other_cameras`, by other cameras than its own.

    `features` of the queries are float32 [Q, D]. A query for which nothing is left has no entries.
    """
    if not other_cameras:
        return ranked(query.records, features, count, None)
    found = {}
    for camera in np.unique(query.cameras).tolist():
        asked = np.flatnonzero(query.cameras == camera)
        records = [query.records[i] for i in asked]
        rows = ranked(records, features[asked], count, camera)
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
