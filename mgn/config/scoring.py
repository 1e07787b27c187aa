"""Options of an evaluation: how images are scored, and what a threshold is to promise."""

import argparse
from pathlib import Path

from mgn.config.threshold import Promise, share
from mgn.system.cli import positive_int
from mgn.system.errors import InputError


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Flags of how images are embedded, and what is computed of their features."""
    add = parser.add_argument_group("embeddings and scores").add_argument
    kept = "file of the embeddings (.npz): read if it exists, else written with --model"
    add("--features", type=Path, help=kept)
    add("--no_flip", action="store_true", help="embed only the image, without its mirror image")
    add("--skip_unreadable", action="store_true", help="skip damaged images, and count them")
    add("--rerank", action="store_true", help="also score with re-ranking (arXiv:1701.08398)")
    text = "also score galleries of one image each of N identities, drawn at random; N omitted: 100"
    drawn = {"type": positive_int, "nargs": "?", "const": 100, "metavar": "N"}
    add("--single_gallery_shot", **drawn, help=text)
    text = "give length 1 to the whole embedding, or to each head's part (as LightMBN)"
    add("--normalise", choices=("whole", "parts"), default="whole", help=text)
    text = "also score smaller vectors, in sizes.json and .png; reduction.npz exports them"
    add("--sizes", action="store_true", help=text)
    text = "write model_card.md: data, options, scores, thresholds and limits of the model"
    add("--card", action="store_true", help=text)
    group = parser.add_argument_group("threshold with a guarantee, in threshold.json")
    most = {"type": share, "metavar": "SHARE"}
    text = "share of strangers that the threshold may accept, such as 0.01"
    group.add_argument("--max_false_matches", **most, help=text)
    text = "share of calibrations in which the claim holds (default: 0.95)"
    group.add_argument("--confidence", **most, help=text)
    text = "identities in the gallery of strangers (default: half of those labelled, or fewer, if"
    text += " the claim needs more people as strangers)"
    group.add_argument("--gallery_identities", type=positive_int, metavar="N", help=text)


def promise_of(flags: argparse.Namespace) -> Promise | None:
    """What a threshold is to promise; None: none is asked for.

    Raises:
        InputError: a flag that only says how, without `--max_false_matches`.
    """
    if flags.max_false_matches is not None:
        confidence = 0.95 if flags.confidence is None else flags.confidence
        return Promise(flags.max_false_matches, confidence, flags.gallery_identities)
    for name in ("confidence", "gallery_identities"):
        if getattr(flags, name) is not None:
            raise InputError(f"--{name}: only with --max_false_matches; add it")
    return None
