"""Query and gallery images as features, by any `embed`; kept in a file, to be scored again."""

import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgn.data.reading import READERS, ImageReader
from mgn.data.records import Split
from mgn.system.errors import ImageError, InputError
from mgn.system.files import atomic_write
from mgn.system.progress import Progress

_BATCH = 32  # images read ahead of the network
Embed = Callable[[list[np.ndarray]], np.ndarray]
Read = Callable[[str], np.ndarray]
_FORMAT = "mgn features 1"


@dataclass(frozen=True, eq=False)
class Embedded:
    """Two splits and their features, float32 [Q, 2048] and [G, 2048], row by row."""

    query: Split
    gallery: Split
    query_features: np.ndarray
    gallery_features: np.ndarray
    skipped: tuple[str, ...] = ()  # unreadable images, which the splits no longer have

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Identities and cameras, in the order that `metrics.evaluate` takes them."""
        return self.query.persons, self.gallery.persons, self.query.cameras, self.gallery.cameras


def embed_query_and_gallery(
    embed: Embed, query: Split, gallery: Split, skip_unreadable: bool = False
) -> Embedded:
    """Embed every image once.

    Args:
        embed: list of uint8 RGB [H, W, 3] to float32 [N, 2048]; see `inference.load_embedder`.
        query: its split.
        gallery: its split.
        skip_unreadable: leave images out that cannot be decoded, instead of ending there.

    Raises:
        InputError: an unreadable image, or one whose embedding is NaN or infinite; it is named.
    """
    with closing(ImageReader()) as read:
        query, query_features, skipped = embed_split(embed, query, read, "query", skip_unreadable)
        gallery, gallery_features, more = embed_split(
            embed, gallery, read, "gallery", skip_unreadable
        )
    for split, name in ((query, "query"), (gallery, "gallery")):
        if not split.records:
            raise InputError(f"no image of the {name} can be read, such as {(skipped or more)[0]}")
    return Embedded(query, gallery, query_features, gallery_features, (*skipped, *more))


def embed_split(
    embed: Embed, split: Split, read: Read, what: str, skip_unreadable: bool = False
) -> tuple[Split, np.ndarray, list[str]]:
    """Embed the images of one split, in its order.

    Returns:
        the split of the images that were embedded, their features float32 [N, 2048], the names
        left out.
    """
    paths, kept, done, features = split.paths, [], 0, np.empty((0, 0), np.float32)
    with (
        ThreadPoolExecutor(READERS) as pool,
        Progress(len(paths), f"embedding {what}", "images") as progress,
    ):
        ahead = [pool.submit(read, path) for path in paths[:_BATCH]]
        for start in range(0, len(paths), _BATCH):
            images = [_image(future, skip_unreadable) for future in ahead]
            ahead = [pool.submit(read, path) for path in paths[start + _BATCH : start + 2 * _BATCH]]
            kept += [image is not None for image in images]
            if readable := [i for i, image in enumerate(images) if image is not None]:
                try:
                    made = embed([images[i] for i in readable])
                except ImageError as error:
                    path = paths[start + readable[error.position]]
                    raise InputError(f"{path}: {error.problem}") from None
                if not done:
                    features = np.empty((len(paths), made.shape[1]), np.float32)
                features[done : done + len(made)] = made
                done += len(made)
            progress.advance(len(images))
    used, features = split.only(kept), features[:done]
    _check_finite(features, used)
    return used, features, [path for path, keep in zip(paths, kept, strict=True) if not keep]


def _image(future: Future, skip_unreadable: bool) -> np.ndarray | None:
    try:
        return future.result()
    except InputError:
        if not skip_unreadable:
            raise
        return None


def _check_finite(features: np.ndarray, split: Split) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        names = ", ".join(split.records[i].path for i in bad[:3])
        raise InputError(
            f"{names}: the model's embedding is NaN or infinite ({len(bad)} of {len(features)} images);"
            " its weights may be damaged"
        )


def save_features(
    path: Path, embedded: Embedded, whole: tuple[Split, Split], model: str, flip: bool = True
) -> None:
    """Write features with what they belong to.

    Args:
        path: file to make, `.npz`.
        embedded: features, and the images that have them.
        whole: query and gallery as listed, unreadable images included.
        model: hash of the model that made them.
        flip: whether the mirror image is in them.
    """
    skipped = set(embedded.skipped)
    names = [name for split in whole for name in split.paths]
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
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


def load_features(
    path: Path, query: Split, gallery: Split, model: str | None, flip: bool = True
) -> Embedded:
    """Read what `save_features` wrote.

    Args:
        path: the file.
        query: as listed now.
        gallery: as listed now.
        model: hash of the model that is scored; None: whichever made the file.
        flip: whether the mirror image is to be in them.

    Raises:
        InputError: not such a file, or the features of other images or of another model.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        if values["format"] != _FORMAT:
            raise KeyError("format")
        readable = np.split(values["readable"], [len(query.records)])
        features = values["query_features"], values["gallery_features"]
        images, flipped = values["pictures"].tolist(), bool(values["flip"])
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(
            f"--features {path}: not a whole feature file of this toolkit ({error})"
        ) from None
    for name, split, fingerprint in zip(
        ("query", "gallery"), (query, gallery), images, strict=True
    ):
        if split.fingerprint() != fingerprint:
            raise InputError(f"--features {path}: made of other {name} images; name another file")
    if flip != flipped:
        made = "with" if flipped else "without"
        raise InputError(f"--features {path}: made {made} the mirror image; name another file")
    if model is not None and model != values["model"]:
        raise InputError(f"--features {path}: made by another model; name another file")
    splits = [split.only(kept) for split, kept in zip((query, gallery), readable, strict=True)]
    names = np.array([*query.paths, *gallery.paths])
    return Embedded(*splits, *features, tuple(names[~values["readable"]].tolist()))
