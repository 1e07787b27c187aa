"""Features of query and gallery images, and the file that keeps them to be scored again."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn.data.records import Split
from mgn.system.arrays import BAD_FILE, read_values, write_values
from mgn.system.errors import InputError

FORMAT = "mgn features 1"


@dataclass(frozen=True, eq=False)
class Embedded:
    """Two splits and their features, float32 [Q, 2048] and [G, 2048], row by row."""

    query: Split
    gallery: Split
    query_features: np.ndarray
    gallery_features: np.ndarray
    skipped: tuple[str, ...] = ()  # unreadable images, which the splits no longer have
    in_parts: bool = False  # each head's feature is normalised by itself
    flip: bool = True  # the mirror image is in them
    made_by: str | None = None  # hash of the model; None: not known
    probe: np.ndarray | None = None  # the model's embedding of `data.probe`; None: not known
    mapped_from: str | None = None  # hash of the model whose features were mapped; None: not mapped

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Identities and cameras, in the order that `metrics.evaluate` takes them."""
        return self.query.persons, self.gallery.persons, self.query.cameras, self.gallery.cameras


def save_features(
    path: Path, embedded: Embedded, whole: tuple[Split, Split], model: str, flip: bool = True
) -> None:
    """Make an `.npz` file of the features, and of what they belong to.

    `whole` is query and gallery as listed, unreadable images included, `model` the hash of the
    model that made the features, and `flip` tells whether the mirror image is in them.
    """
    skipped = set(embedded.skipped)
    names = [name for split in whole for name in split.paths]
    embedded_rows = embedded.query.records + embedded.gallery.records
    values = {
        "format": FORMAT,
        "model": model,
        "flip": flip,
        "pictures": [split.fingerprint() for split in whole],
        "readable": [name not in skipped for name in names],
        "probe": [] if embedded.probe is None else embedded.probe,
        "query_features": embedded.query_features,
        "gallery_features": embedded.gallery_features,
        # Of the rows of both, so that features are of use where the images may not be kept.
        "paths": json.dumps([record.path for record in embedded_rows]),
        "persons": np.array([record.person for record in embedded_rows], np.int64),
        "cameras": np.array([record.camera for record in embedded_rows], np.int64),
    }
    write_values(path, values)


def load_features(
    path: Path, query: Split, gallery: Split, model: str | None, flip: bool = True
) -> Embedded:
    """Read what `save_features` wrote, for splits as listed now; `model` None: of any model.

    Raises:
        InputError: not such a file, or the features of other images or of another model.
    """
    where = f"--features {path}"
    try:
        values = read_values(path, FORMAT)
        query_hash, gallery_hash = values["pictures"].tolist()
        query_kept, gallery_kept = np.split(values["readable"], [len(query.records)])
        features = values["query_features"], values["gallery_features"]
        made_by = str(values["model"])
        seen = values.get("probe", np.zeros(0))  # files of before have none
        flipped = bool(values["flip"])
    except BAD_FILE as error:
        raise InputError(
            f"{where}: not a complete feature file ({error}); name another file"
        ) from None
    # The file must be of the same images, in the same way, by the same model.
    for name, split, known in (("query", query, query_hash), ("gallery", gallery, gallery_hash)):
        if not split.has_fingerprint(known):
            raise InputError(f"{where}: made from other {name} images; name another file")
    if flip != flipped:
        made = "with" if flipped else "without"
        raise InputError(f"{where}: made {made} the mirror image; name another file")
    if model is not None and model != made_by:
        raise InputError(f"{where}: made by another model; name another file")
    listed = zip([*query.paths, *gallery.paths], values["readable"], strict=True)
    skipped = tuple(image for image, readable in listed if not readable)
    splits = query.only(query_kept), gallery.only(gallery_kept)
    about = {"flip": flip, "made_by": made_by, "probe": seen if seen.size else None}
    about["mapped_from"] = mapped_from(values)
    return Embedded(*splits, *features, skipped, **about)


def mapped_from(values: dict[str, np.ndarray]) -> str | None:
    """The hash of the model whose features were mapped into these; None: they were not."""
    return str(values["mapped_from"]) if "mapped_from" in values else None
