"""The nearest pictures of a folder: `python -m mgn.search --model M --gallery DIR --query PICTURE_OR_DIR`."""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from mgn import cli
from mgn.errors import InputError
from mgn.files import filling, next_free, refuse_names, replacing

if TYPE_CHECKING:  # `--help` is quicker without numpy
    import numpy as np

    from mgn.data import Record, Split

OUTPUTS = ("search-*.png",)
_OWN = re.compile(r"search-\d+\.png")  # no pictures of people
_FORMAT = "mgn search 1"


def main(arguments: list[str]) -> int:
    """Parse, embed what is new, print and draw the nearest."""
    flags = parse(arguments)

    from mgn.data import picture_files

    gallery, query = picture_files(flags.gallery), picture_files(flags.query)
    gallery = gallery.only([not _OWN.fullmatch(Path(path).name) for path in gallery.paths])
    folder = flags.output_dir or next_free(Path("runs"), "search")
    refuse_names(folder, OUTPUTS, flags.overwrite)

    from mgn.embedding import embed_split
    from mgn.images import PictureReader
    from mgn.inference import load_embedder, model_hash, resolve
    from mgn.sheets import ranked_rows, write_sheets

    options, model = cli.network_options(flags), resolve(flags.model)
    made_by = model_hash(model, **options)
    cache = flags.cache or Path("runs") / "search_cache" / f"{_short_hash(made_by, flags.gallery)}.npz"
    known = read_cache(cache, made_by)
    with closing(load_embedder(model, **options)) as embed, closing(PictureReader()) as read:
        gallery, features = embed_what_is_new(embed, read, gallery, flags.gallery, known, (cache, made_by))
        query, query_features, _ = embed_split(embed, query, read, "query")
        rows = ranked_rows(query.records, query_features, gallery.records, features, flags.count)
        for row in rows:
            print(row.query.path)
            for place, (entry, distance) in enumerate(row.entries, start=1):
                print(f"  {place:>3}  {distance:.4f}  {entry.path}")
        title = f"the nearest of {len(gallery.records)} pictures in {flags.gallery}"
        with filling(folder, OUTPUTS, flags.overwrite) as making:
            drawn = write_sheets(rows, title, making, "search", read)
    print(f"written: {', '.join(str(folder / path.name) for path in drawn)}")
    return cli.DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags."""
    what = "Find the pictures of a folder that show the person of a query picture."
    parser = cli.Parser(what, prog="python -m mgn.search")
    add = parser.add_argument
    add(
        "--model", type=cli.model_path, required=True, help="train_dir, checkpoint, .pb, or SavedModel folder"
    )
    add(
        "--gallery",
        type=cli.existing_path,
        required=True,
        help="folder of pictures, any names, any depth; unreadable ones are left out",
    )
    add("--query", type=cli.existing_path, required=True, help="a picture, or a folder of them")
    add("--count", type=cli.positive_int, default=10, help="nearest pictures to show, 10 unless told")
    add("--output_dir", type=Path, help="for the ranked sheets; omitted: the next free runs/search-N")
    add("--cache", type=Path, help="file of the gallery's embeddings; omitted: one in runs/search_cache")
    add("--overwrite", action="store_true", help="replace sheets in --output_dir")
    cli.add_network_options(parser)
    return parser.parse_args(arguments)


def embed_what_is_new(
    embed: Callable, read: Callable, gallery: "Split", folder: Path, known: dict, kept_in: tuple[Path, str]
) -> "tuple[Split, np.ndarray]":
    """Embed the pictures that the cache lacks or that have changed, and keep all of them there.

    Args:
        embed: see `inference.load_embedder`.
        read: a picture's path to uint8 RGB [H, W, 3].
        gallery: pictures under `folder`; those that cannot be read are left out, and said.
        folder: their names in the cache are relative to it.
        known: from `read_cache`.
        kept_in: the cache, and the hash of the model.

    Returns:
        the split of the pictures that have an embedding, and these, float32 [G, 2048].
    """
    import numpy as np

    from mgn.embedding import embed_split

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
        raise InputError(f"--gallery {folder}: none of its {len(keys)} pictures can be read")
    kept = [key for key, there in zip(keys, present, strict=True) if there]
    features = np.stack([known[key] for key in kept])
    if len(new.records) > len(skipped) or len(kept) < len(known):
        with replacing(cache, overwrite=True) as temporary, temporary.open("wb") as stream:
            np.savez(stream, format=_FORMAT, model=model, keys=json.dumps(kept), features=features)
    sys.stderr.write(
        f"{len(new.records)} of {len(keys)} gallery pictures embedded, the others from {cache}\n"
    )
    return gallery.only(present), features


def _key(record: "Record", folder: Path) -> str:
    """A picture's name, size and time of change: another key, another picture."""
    path = Path(record.path)
    status = path.stat()
    name = path.name if path == Path(folder) else path.relative_to(folder)
    return f"{name}|{status.st_size}|{status.st_mtime_ns}"


def read_cache(cache: Path, model: str) -> dict:
    """What a cache has of this model: {picture's key: embedding}.

    Raises:
        InputError: the file is something else, which is not to be replaced.
    """
    import numpy as np

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
        raise InputError(f"--cache {cache}: is no cache of this program; name another file") from None


def _short_hash(model: str, gallery: Path) -> str:
    return hashlib.sha256(f"{model} {gallery.resolve()}".encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(cli.run(main))
