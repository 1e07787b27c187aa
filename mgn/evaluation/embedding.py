"""Query and gallery images as features, by any `embed`; kept in a file if asked."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mgn.data import probe
from mgn.data.decoding import READERS, read_image
from mgn.data.demo import checked_dataset
from mgn.data.formats.table import DataSet, note
from mgn.data.records import Split, check_matches, describe, read_images, read_split, warn_of_zeros
from mgn.evaluation.featurefile import Embedded, load_features, save_features
from mgn.system.errors import ImageError, InputError
from mgn.system.progress import Progress

Embed = Callable[[list[np.ndarray]], np.ndarray]  # images, uint8 RGB [H, W, 3], to float32 [N, D]
Read = Callable[[str], np.ndarray]  # path of an image to uint8 RGB [H, W, 3], or `InputError`
_BATCH = 32  # images read ahead of the network


def list_splits(
    dataset: DataSet | None, query_path: Path | None, gallery_path: Path | None
) -> tuple[str, Split, Split]:
    """List what is evaluated on: its name, query split, gallery split.

    The splits are those of `dataset` (None: of the demo set), or the folders or CSV lists
    `query_path` and `gallery_path`. See `data.records` for both, and for what is rejected.
    """
    if query_path:
        name = f"{query_path} in {gallery_path}"
        query = read_images(query_path, "query")
        gallery = read_images(gallery_path, "gallery")
    else:
        dataset = checked_dataset(dataset)
        name = str(dataset)
        query = read_split(dataset, "query")
        gallery = read_split(dataset, "gallery")
        sys.stderr.write(note(dataset))
    check_matches(query, gallery)
    warn_of_zeros(name, {"query": query})
    sys.stderr.write(f"query: {describe(query)}; gallery: {describe(gallery)}\n")
    return name, query, gallery


def load_or_embed(
    path: Path | None,
    query: Split,
    gallery: Split,
    load: Callable,
    model: str | None = None,
    flip: bool = True,
    skip_unreadable: bool = False,
) -> tuple[Embedded, Callable[[], None]]:
    """Read the features from the file `path` if it is there, else embed every image.

    `load` returns an `inference.Embedder`, and is called only if there is something to embed.
    `model` is the hash of that model, which the file keeps; None: a file of any model is right.
    See `embed_query_and_gallery` for the rest.

    Returns:
        the features, and what makes the file: to be called at the end, as it may fail. It does
        nothing if `path` is None or was there.
    """
    if path and path.exists():
        return load_features(path, query, gallery, model, flip), _nothing
    with closing(load()) as embedder:
        embed = partial(embedder, flip=flip)
        embedded = embed_query_and_gallery(embed, query, gallery, skip_unreadable)
        seen = probe.embedded_by(embed)
    embedded = replace(embedded, flip=flip, made_by=model, probe=seen)
    keep = partial(save_features, path, embedded, (query, gallery), model, flip)
    return embedded, keep if path else _nothing


def _nothing() -> None:
    """Nothing is to be kept."""


def embed_query_and_gallery(
    embed: Embed, query: Split, gallery: Split, skip_unreadable: bool = False
) -> Embedded:
    """Embed every image once; `skip_unreadable`: leave out what cannot be decoded.

    Raises:
        InputError: an unreadable image, or one whose embedding is NaN or infinite; it is named.
    """
    query, query_features, query_skipped = embed_split(
        embed, query, read_image, "query", skip_unreadable
    )
    gallery, gallery_features, gallery_skipped = embed_split(
        embed, gallery, read_image, "gallery", skip_unreadable
    )
    skipped = (*query_skipped, *gallery_skipped)
    for name, split in (("query", query), ("gallery", gallery)):
        if not split.records:
            problem = f"none of its images can be read, such as {skipped[0]}"
            raise InputError(f"{name}: {problem}; repair them, or name another data set")
    return Embedded(query, gallery, query_features, gallery_features, skipped)


def embed_split(
    embed: Embed, split: Split, read: Read, what: str, skip_unreadable: bool = False
) -> tuple[Split, np.ndarray, list[str]]:
    """Embed the images of one split, in its order.

    Returns:
        the split of the images that were embedded, their features float32 [N, 2048], the names
        left out.
    """
    kept = []
    features = np.empty((0, 0), np.float32)
    done = 0  # rows of `features` that are filled
    for has_feature, made in embed_in_batches(embed, split, read, what, skip_unreadable):
        kept += has_feature
        if not len(made):
            continue
        if not done:  # the first batch tells the length of a feature
            features = np.empty((len(split.records), made.shape[1]), np.float32)
        features[done : done + len(made)] = made
        done += len(made)
    embedded = split.only(kept)
    features = features[:done]
    check_finite(features, embedded)
    skipped = [path for path, is_kept in zip(split.paths, kept, strict=True) if not is_kept]
    return embedded, features, skipped


def embed_in_batches(
    embed: Embed, split: Split, read: Read, what: str, skip_unreadable: bool = False
) -> Iterator[tuple[list[bool], np.ndarray]]:
    """Embed the images of one split in its order, and yield them some at a time.

    Yields:
        for each of the next images whether it has a feature, and the features, float32 [N, 2048].
    """
    paths = split.paths
    progress = Progress(len(paths), f"embedding {what}", "images")
    with ThreadPoolExecutor(READERS) as pool, progress:
        ahead = [pool.submit(read, path) for path in paths[:_BATCH]]
        for start in range(0, len(paths), _BATCH):
            end = start + _BATCH
            images = [_image(future, skip_unreadable) for future in ahead]
            # The threads decode the next images while the network embeds these.
            ahead = [pool.submit(read, path) for path in paths[end : end + _BATCH]]
            readable = [i for i, image in enumerate(images) if image is not None]
            made = np.empty((0, 0), np.float32)
            if readable:
                try:
                    made = embed([images[i] for i in readable])
                except ImageError as error:
                    path = paths[start + readable[error.position]]
                    raise InputError(f"{path}: {error.problem}") from None
            yield [image is not None for image in images], made
            progress.advance(len(images))


def _image(future: Future, skip_unreadable: bool) -> np.ndarray | None:
    try:
        return future.result()
    except InputError:
        if not skip_unreadable:
            raise
        return None


def check_finite(features: np.ndarray, split: Split) -> None:
    """Raise `InputError` if the feature of an image is not finite."""
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        names = ", ".join(split.records[i].path for i in bad[:3])
        problem = f"the embedding is NaN or infinite ({len(bad)} of {len(features)} images)"
        raise InputError(f"{names}: {problem}; the weights may be damaged: use another checkpoint")
