"""The nearest images of a folder: `python -m mgn.search --model M --gallery DIR --query IMAGE`."""

import argparse
import hashlib
import os
import re
import sys
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

from mgn.config import parsing, storing
from mgn.config.storing import Where
from mgn.config.threshold import OPEN_SET, number_or_file, read_threshold
from mgn.system import cli
from mgn.system.files import atomic_folder, output_folder, refuse_names

OUTPUTS = ("search-*.png", "results.json")
_EXAMPLE = "--model runs/demo --gallery images/ --query person.jpg"
_OWN = re.compile(r"search-[0-9]+\.png")  # drawn by this program


def main(arguments: list[str]) -> int:
    """Parse; forget, or claim the folder of the sheets and search."""
    flags = parse(arguments)
    if storing.is_forgetting(flags):
        from mgn.evaluation import stored

        rules = stored.rules(flags.forget, flags.forget_image, flags.forget_before)
        print("\n".join(stored.forget(flags.store, flags.forget_log, rules)))
        return cli.DONE
    with output_folder(flags.output_dir, "search") as folder:
        search(flags, folder)
    return cli.DONE


def search(flags: argparse.Namespace, folder: Path) -> None:
    """Embed what is new; print, write and draw the nearest."""
    threshold = flags.threshold
    if threshold is not None:
        threshold = read_threshold(threshold, OPEN_SET)

    from mgn.data.records import joined

    gallery = flags.gallery and _listed("--gallery", flags.gallery, own_sheets=False)
    query = joined([_listed("--query", path) for path in flags.query])
    if flags.query:
        refuse_names(folder, OUTPUTS, flags.overwrite)

    from mgn.data import probe
    from mgn.data.decoding import read_image
    from mgn.evaluation import search as found
    from mgn.evaluation.cached import InFolder
    from mgn.evaluation.embedding import embed_split
    from mgn.evaluation.sheets import write_sheets
    from mgn.evaluation.stored import InStore
    from mgn.inference import load_embedder
    from mgn.inference.embedder import model_hash, resolve

    options = parsing.network_options(flags)
    model = flags.model and resolve(flags.model)
    made_by = model and model_hash(model, **options)
    with ExitStack() as last:
        if flags.store:
            where = Where(flags.cameras, None, flags.since, flags.until)
            create, log = gallery is not None, flags.forget_log
            place = last.enter_context(InStore(flags.store, made_by, create, log, where))
            place.check_identities(query)
        else:
            cache = flags.cache or _default_cache(made_by, flags.gallery)
            place = last.enter_context(InFolder(gallery, flags.gallery, cache, made_by))
            place.check_threshold(threshold)
        if flags.other_cameras:
            place.check_cameras(query, gallery)
        if model:
            embed = last.enter_context(closing(load_embedder(model, **options)))
            if threshold:
                probe.check_model(threshold, made_by, lambda: probe.embedded_by(embed))
        if gallery:
            place.add(embed, read_image, gallery, flags.gallery)
        if flags.index:
            place.use_index(flags.index)
        if not flags.query:
            print(place.title)
            return
        query, features, _ = embed_split(embed, query, read_image, "query")
        rows = found.rank(place.ranked, query, features, flags.count, flags.other_cameras)
        print(found.as_text(rows, threshold))
        sys.stderr.write(found.note(threshold, place.images))
        about = {"model": model, "model_hash": made_by, "other_cameras": flags.other_cameras}
        with atomic_folder(folder, OUTPUTS, flags.overwrite) as making:
            drawn = write_sheets(
                rows, f"the nearest of {place.title}", making, "search", read_image
            )
            drawn.append(found.write_results(rows, threshold, about | place.about, making))
        print(f"written: {', '.join(str(folder / path.name) for path in drawn)}")


def _listed(flag: str, path: Path, own_sheets: bool = True) -> object:
    """The split of all images under a path; prints what is left out, as our own sheets may be."""
    from mgn.data.folders import kinds_text
    from mgn.data.records import image_files

    listed = image_files(path)
    kept = [own_sheets or not _OWN.fullmatch(Path(name).name) for name in listed.paths]
    kinds = listed.kinds + Counter(sheets=kept.count(False))
    if kinds:
        sys.stderr.write(f"{flag} {path}: left out: {kinds_text(kinds)}\n")
    return listed.only(kept)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Flags."""
    what = "Find the images of a folder or store that show the person of a query image."
    parser = cli.Parser(what, _EXAMPLE, prog="python -m mgn.search")
    add = parser.add_argument
    formats = "train_dir, checkpoint, .pb, or SavedModel folder (not needed to forget)"
    add("--model", type=cli.model_path, help=formats)
    images = "folder of images to search, with any names, at any depth; unreadable ones are skipped"
    add("--gallery", type=cli.existing_path, help=images)
    asked = {"type": cli.existing_path, "nargs": "+", "default": []}
    add("--query", **asked, help="images of the persons to find, and folders of such images")
    add("--count", type=cli.positive_int, default=10, help="number of nearest images to show")
    accepted = "decide who is in the gallery: a distance, or threshold.json of evaluate.py"
    add("--threshold", type=number_or_file, metavar="DISTANCE|FILE", help=accepted)
    others = "leave out gallery images by the query's own camera, known from file names"
    add("--other_cameras", action="store_true", help=others)
    results = "folder for results.json and the sheets (default: the next free runs/search-N)"
    add("--output_dir", type=Path, help=results)
    kept = "file of the gallery's embeddings (default: one in runs/search_cache)"
    add("--cache", type=Path, help=kept)
    add("--overwrite", action="store_true", help="replace results in --output_dir")
    storing.add_store_options(parser)
    parsing.add_network_options(parser)
    flags = parser.parse_args(arguments)
    storing.check_store_options(parser, flags)
    return flags


def _default_cache(model: str, gallery: Path) -> Path:
    """A file of its own for each model and folder."""
    what = os.fsencode(f"{model} {gallery.resolve()}")
    return Path("runs") / "search_cache" / f"{hashlib.sha256(what).hexdigest()[:16]}.npz"


if __name__ == "__main__":
    sys.exit(cli.run(main))
