"""Features of an evaluation in a file, to be scored again without the network."""

import zipfile
from pathlib import Path

import numpy as np

from mgn.data import Split
from mgn.embedding import Embedded
from mgn.errors import InputError
from mgn.files import replacing

_FORMAT = "mgn features 1"


def save_features(
    path: Path, embedded: Embedded, whole: tuple[Split, Split], model: str, flip: bool = True
) -> None:
    """Write features with what they belong to.

    Args:
        path: file to make, `.npz`.
        embedded: features, and the pictures that have them.
        whole: query and gallery as listed, unreadable pictures included.
        model: hash of the model that made them.
        flip: whether the mirror image is in them.
    """
    skipped = set(embedded.skipped)
    names = [name for split in whole for name in split.paths]
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            format=_FORMAT,
            model=model,
            flip=flip,
            pictures=[split.fingerprint() for split in whole],
            readable=[name not in skipped for name in names],
            query_features=embedded.query_features,
            gallery_features=embedded.gallery_features,
        )


def load_features(path: Path, query: Split, gallery: Split, model: str | None, flip: bool = True) -> Embedded:
    """Read what `save_features` wrote.

    Args:
        path: the file.
        query: as listed now.
        gallery: as listed now.
        model: hash of the model that is scored; None: whichever made the file.
        flip: whether the mirror image is to be in them.

    Raises:
        InputError: not such a file, or the features of other pictures or of another model.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        if values["format"] != _FORMAT:
            raise KeyError("format")
        readable = np.split(values["readable"], [len(query.records)])
        features = values["query_features"], values["gallery_features"]
        pictures, flipped = values["pictures"].tolist(), bool(values["flip"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"--features {path}: not a whole feature file of this toolkit ({error})") from None
    for name, split, fingerprint in zip(("query", "gallery"), (query, gallery), pictures, strict=True):
        if split.fingerprint() != fingerprint:
            raise InputError(f"--features {path}: made of other {name} pictures; name another file")
    if flip != flipped:
        made = "with" if flipped else "without"
        raise InputError(f"--features {path}: made {made} the mirror image; name another file")
    if model is not None and model != values["model"]:
        raise InputError(f"--features {path}: made by another model; name another file")
    splits = [split.only(kept) for split, kept in zip((query, gallery), readable, strict=True)]
    names = np.array([*query.paths, *gallery.paths])
    return Embedded(*splits, *features, tuple(names[~values["readable"]].tolist()))
