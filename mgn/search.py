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
from mgn.config.threshold import OPEN_SET, number_or_file, read_threshold
from mgn.system import cli
from mgn.system.files import atomic_folder, output_folder, refuse_existing, refuse_names

OUTPUTS = ("search-*.png", "results.json")
_OWN = re.compile(r"search-[0-9]+\.png")  # drawn by this program


def main(arguments: list[str]) -> int:
    """Parse, claim the folder of the sheets, search."""
    flags = parse(arguments)
    with output_folder(flags.output_dir, "search") as folder:
        search(flags, folder)
    return cli.DONE


def search(flags: argparse.Namespace, folder: Path) -> None:
    """Embed what is new; print, write and draw the nearest."""
    threshold = flags.threshold
    if threshold is not None:
        threshold = read_threshold(threshold, OPEN_SET)

    from mgn.data.folders import kinds_text
    from mgn.data.records import image_files, joined

    listed = image_files(flags.gallery)
    gallery = listed.only([not _OWN.fullmatch(Path(path).name) for path in listed.paths])
    queries = [image_files(path) for path in flags.query]
    own = Counter(sheets=len(listed.records) - len(gallery.records))
    left_out = [(f"--gallery {flags.gallery}", listed.kinds + own)]
    left_out += [(f"--query {p}", q.kinds) for p, q in zip(flags.query, queries, strict=True)]
    for where, kinds in left_out:
        if kinds:
            sys.stderr.write(f"{where}: left out: {kinds_text(kinds)}\n")
    refuse_names(folder, OUTPUTS, flags.overwrite)

    from mgn.data import probe
    from mgn.data.decoding import read_image
    from mgn.evaluation import search as found
    from mgn.evaluation.embedding import embed_split
    from mgn.evaluation.sheets import write_sheets
    from mgn.inference import load_embedder
    from mgn.inference.embedder import model_hash, resolve

    query = joined(queries)
    if flags.other_cameras:
        found.check_cameras(query, gallery)
    options = parsing.network_options(flags)
    model = resolve(flags.model)
    made_by = model_hash(model, **options)
    cache = flags.cache or _default_cache(made_by, flags.gallery)
    known, mapped_from = found.read_cache(cache, made_by)
    found.check_mapped(cache, mapped_from, threshold)
    refuse_existing(cache, overwrite=True)
    with ExitStack() as last, closing(load_embedder(model, **options)) as embed:
        if threshold:
            probe.check_model(threshold, made_by, lambda: probe.embedded_by(embed))
        gallery, features, keep = found.embed_what_is_new(
            embed, read_image, gallery, flags.gallery, known, (cache, made_by, mapped_from)
        )
        last.callback(keep)  # whatever becomes of the query
        query, query_features, _ = embed_split(embed, query, read_image, "query")
        both = query, query_features, gallery, features
        rows = found.rank(*both, flags.count, flags.other_cameras)
        print(found.as_text(rows, threshold))
        sys.stderr.write(found.note(threshold, len(gallery.records)))
        about = {"model": model, "model_hash": made_by, "gallery": str(flags.gallery)}
        about |= {"gallery_images": len(gallery.records), "other_cameras": flags.other_cameras}
        about |= {"mapped_from": mapped_from} if mapped_from else {}
        title = f"the nearest of {len(gallery.records)} images in {flags.gallery}"
        with atomic_folder(folder, OUTPUTS, flags.overwrite) as making:
            drawn = write_sheets(rows, title, making, "search", read_image)
            drawn.append(found.write_results(rows, threshold, about, making))
        print(f"written: {', '.join(str(folder / path.name) for path in drawn)}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags."""
    what = (
        "Find the images of a folder that show the person of a query image, or of each of several."
    )
    parser = cli.Parser(what, prog="python -m mgn.search")
    add = parser.add_argument
    formats = "train_dir, checkpoint, .pb, or SavedModel folder"
    add("--model", type=cli.model_path, required=True, help=formats)
    images = "folder of images, any names, any depth, linked too; unreadable ones are left out"
    add("--gallery", type=cli.existing_path, required=True, help=images)
    asked = {"type": cli.existing_path, "nargs": "+", "required": True}
    add("--query", **asked, help="images, and folders of images")
    add("--count", type=cli.positive_int, default=10, help="nearest images to show (default: 10)")
    accepted = "say who is in the gallery: a distance, or threshold.json of evaluate.py"
    add("--threshold", type=number_or_file, metavar="DISTANCE|FILE", help=accepted)
    others = "leave out the gallery images by the query's own camera, which their names tell"
    add("--other_cameras", action="store_true", help=others)
    results = "for results.json and the sheets; omitted: the next free runs/search-N"
    add("--output_dir", type=Path, help=results)
    kept = "file of the gallery's embeddings; omitted: one in runs/search_cache"
    add("--cache", type=Path, help=kept)
    add("--overwrite", action="store_true", help="replace results in --output_dir")
    parsing.add_network_options(parser)
    return parser.parse_args(arguments)


def _default_cache(model: str, gallery: Path) -> Path:
    """A file of its own for each model and folder."""
    what = os.fsencode(f"{model} {gallery.resolve()}")
    return Path("runs") / "search_cache" / f"{hashlib.sha256(what).hexdigest()[:16]}.npz"


if __name__ == "__main__":
    sys.exit(cli.run(main))
