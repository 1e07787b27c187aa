"""The nearest images of a folder: `python -m mgn.search --model M --gallery DIR --query IMAGE`."""

import argparse
import hashlib
import os
import re
import sys
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

from mgn.config import parsing
from mgn.system import cli
from mgn.system.files import atomic_folder, output_folder, refuse_existing, refuse_names

OUTPUTS = ("search-*.png",)
_OWN = re.compile(r"search-[0-9]+\.png")  # drawn by this program


def main(arguments: list[str]) -> int:
    """Parse, claim the folder of the sheets, search."""
    flags = parse(arguments)
    with output_folder(flags.output_dir, "search") as folder:
        search(flags, folder)
    return cli.DONE


def search(flags: argparse.Namespace, folder: Path) -> None:
    """Embed what is new, print and draw the nearest."""
    from mgn.data.folders import kinds_text
    from mgn.data.records import image_files

    listed = image_files(flags.gallery)
    gallery = listed.only([not _OWN.fullmatch(Path(path).name) for path in listed.paths])
    query = image_files(flags.query)
    own = Counter(sheets=len(listed.records) - len(gallery.records))
    for flag, kinds in (("gallery", listed.kinds + own), ("query", query.kinds)):
        if kinds:
            sys.stderr.write(f"--{flag} {getattr(flags, flag)}: left out: {kinds_text(kinds)}\n")
    refuse_names(folder, OUTPUTS, flags.overwrite)

    from mgn.data.decoding import read_image
    from mgn.evaluation.embedding import embed_split
    from mgn.evaluation.search import embed_what_is_new, read_cache
    from mgn.evaluation.sheets import ranked_rows, write_sheets
    from mgn.inference import load_embedder
    from mgn.inference.embedder import model_hash, resolve

    options = parsing.network_options(flags)
    model = resolve(flags.model)
    made_by = model_hash(model, **options)
    cache = flags.cache or _default_cache(made_by, flags.gallery)
    known = read_cache(cache, made_by)
    refuse_existing(cache, overwrite=True)
    with ExitStack() as last, closing(load_embedder(model, **options)) as embed:
        gallery, features, keep = embed_what_is_new(
            embed, read_image, gallery, flags.gallery, known, (cache, made_by)
        )
        last.callback(keep)  # whatever becomes of the query
        query, query_features, _ = embed_split(embed, query, read_image, "query")
        rows = ranked_rows(query.records, query_features, gallery.records, features, flags.count)
        for row in rows:
            print(row.query.path)
            for place, (entry, distance) in enumerate(row.entries, start=1):
                print(f"  {place:>3}  {distance:.4f}  {entry.path}")
        title = f"the nearest of {len(gallery.records)} images in {flags.gallery}"
        with atomic_folder(folder, OUTPUTS, flags.overwrite) as making:
            drawn = write_sheets(rows, title, making, "search", read_image)
        print(f"written: {', '.join(str(folder / path.name) for path in drawn)}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags."""
    what = "Find the images of a folder that show the person of a query image."
    parser = cli.Parser(what, prog="python -m mgn.search")
    add = parser.add_argument
    formats = "train_dir, checkpoint, .pb, or SavedModel folder"
    add("--model", type=cli.model_path, required=True, help=formats)
    images = "folder of images, any names, any depth, linked too; unreadable ones are left out"
    add("--gallery", type=cli.existing_path, required=True, help=images)
    add("--query", type=cli.existing_path, required=True, help="image, or folder of images")
    add("--count", type=cli.positive_int, default=10, help="nearest images to show (default: 10)")
    add("--output_dir", type=Path, help="for the sheets; omitted: the next free runs/search-N")
    kept = "file of the gallery's embeddings; omitted: one in runs/search_cache"
    add("--cache", type=Path, help=kept)
    add("--overwrite", action="store_true", help="replace sheets in --output_dir")
    parsing.add_network_options(parser)
    return parser.parse_args(arguments)


def _default_cache(model: str, gallery: Path) -> Path:
    """A file of its own for each model and folder."""
    what = os.fsencode(f"{model} {gallery.resolve()}")
    return Path("runs") / "search_cache" / f"{hashlib.sha256(what).hexdigest()[:16]}.npz"


if __name__ == "__main__":
    sys.exit(cli.run(main))
