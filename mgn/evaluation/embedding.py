"""The query and gallery pictures of a data set as features, by any `embed`."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from mgn.data import Split
from mgn.errors import InputError, PictureError
from mgn.images import READERS, PictureReader
from mgn.progress import Progress

_BATCH = 32  # pictures read ahead of the network

Embed = Callable[[list[np.ndarray]], np.ndarray]
Read = Callable[[str], np.ndarray]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Two splits and their features, float32 [Q, 2048] and [G, 2048], row by row."""

    query: Split
    gallery: Split
    query_features: np.ndarray
    gallery_features: np.ndarray
    skipped: tuple[str, ...] = ()  # unreadable pictures, which the splits no longer have

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """People and cameras, in the order that `metrics.evaluate` takes them."""
        return self.query.persons, self.gallery.persons, self.query.cameras, self.gallery.cameras


def embed_query_and_gallery(
    embed: Embed, query: Split, gallery: Split, skip_unreadable: bool = False
) -> Embedded:
    """Embed every picture once.

    Args:
        embed: list of uint8 RGB [H, W, 3] to float32 [N, 2048]; see `inference.load_embedder`.
        query: its split.
        gallery: its split.
        skip_unreadable: leave pictures out that cannot be decoded, instead of ending there.

    Raises:
        InputError: an unreadable picture, or one whose embedding is NaN or infinite; it is named.
    """
    with closing(PictureReader()) as read:
        query, query_features, skipped = embed_split(embed, query, read, "query", skip_unreadable)
        gallery, gallery_features, more = embed_split(embed, gallery, read, "gallery", skip_unreadable)
    for split, name in ((query, "query"), (gallery, "gallery")):
        if not split.records:
            raise InputError(f"no picture of the {name} can be read, such as {(skipped or more)[0]}")
    return Embedded(query, gallery, query_features, gallery_features, (*skipped, *more))


def embed_split(
    embed: Embed, split: Split, read: Read, what: str, skip_unreadable: bool = False
) -> tuple[Split, np.ndarray, list[str]]:
    """Embed the pictures of one split, in its order.

    Returns:
        the split of the pictures that were embedded, their features float32 [N, 2048], the names left out.
    """
    paths, kept, done, features = split.paths, [], 0, np.empty((0, 0), np.float32)
    with (
        ThreadPoolExecutor(READERS) as pool,
        Progress(len(paths), f"embedding {what}", "pictures") as progress,
    ):
        ahead = [pool.submit(read, path) for path in paths[:_BATCH]]
        for start in range(0, len(paths), _BATCH):
            pictures = [_picture(future, skip_unreadable) for future in ahead]
            ahead = [pool.submit(read, path) for path in paths[start + _BATCH : start + 2 * _BATCH]]
            kept += [picture is not None for picture in pictures]
            if readable := [i for i, picture in enumerate(pictures) if picture is not None]:
                try:
                    made = embed([pictures[i] for i in readable])
                except PictureError as error:
                    path = paths[start + readable[error.position]]
                    raise InputError(f"{path}: {error.problem}") from None
                if not done:
                    features = np.empty((len(paths), made.shape[1]), np.float32)
                features[done : done + len(made)] = made
                done += len(made)
            progress.advance(len(pictures))
    used, features = split.only(kept), features[:done]
    _check_finite(features, used)
    return used, features, [path for path, keep in zip(paths, kept, strict=True) if not keep]


def _picture(future: Future, skip_unreadable: bool) -> np.ndarray | None:
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
            f"{names}: the model's embedding is NaN or infinite ({len(bad)} of {len(features)} pictures);"
            " its weights may be damaged"
        )
