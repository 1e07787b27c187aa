"""A distance threshold: a number, or the file that `evaluate.py` makes with a guarantee."""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

from mgn.system.errors import InputError
from mgn.system.files import read_json
from mgn.system.numbers import decimal_number

FORMAT = "mgn threshold 1"
PAIR, OPEN_SET = "pair", "open_set"
QUESTIONS = {
    PAIR: "are these two images the same person?",
    OPEN_SET: "is this person in the gallery?",
}


class Promise(NamedTuple):
    """What is asked of a threshold."""

    max_false_matches: float  # share of strangers accepted, at most
    confidence: float
    gallery_identities: int | None  # None: as many as the data set allows

    def __str__(self) -> str:
        """As flags."""
        return f"--max_false_matches {self.max_false_matches:g} --confidence {self.confidence:g}"


class Threshold(NamedTuple):
    """Accept up to `distance`; without a file, nothing is known but that."""

    distance: float
    path: Path | None = None
    promise: str = ""  # in words
    gallery_identities: int | None = None  # that the claim was made with; None: of pairs
    gallery_images: int | None = None
    model: str | None = None  # see `inference.embedder.model_hash`; None: not known
    probe: str | None = None  # see `data.probe`; None: not known


def number_or_file(text: str) -> float | Path:
    """Flag type: a distance, or a file of thresholds."""
    try:
        value = decimal_number(text)
    except ValueError:
        if Path(text).is_file():
            return Path(text)
        value = math.nan
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0, nor a file")
    return value


def share(text: str) -> float:
    """Flag type: a number between 0 and 1."""
    try:
        value = decimal_number(text)
    except ValueError:
        value = math.nan
    if not 1e-9 <= value <= 1 - 1e-9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def read_threshold(given: float | Path, question: str) -> Threshold:
    """The threshold for a question of `QUESTIONS`.

    Raises:
        InputError: the file is another's or damaged, its claim is not for this question, or it is
            of embeddings that only `evaluate.py` makes.
    """
    if not isinstance(given, Path):
        return Threshold(given)
    values = read_json(given)
    try:
        if values["format"] != FORMAT:
            raise KeyError("format")
        claim, model = values[question], values["model"]
        distance = claim["distance"]
        reason = None if distance is not None else str(claim["why"])
        threshold = Threshold(
            distance=0.0 if distance is None else float(distance),
            path=given,
            promise=f"at most {float(values['max_false_matches']):.3g} of strangers, "
            f"confidence {float(values['confidence']):g}",
            gallery_identities=_count(claim.get("gallery_identities")),
            gallery_images=_count(claim.get("gallery_images")),
            model=_text(model["hash"]),
            probe=_text(model["probe"]),
        )
        ways = [name for name in ("no_flip", "normalise_parts") if values[name]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"not a threshold file of evaluate.py ({type(error).__name__}: {error})"
        raise InputError(f"--threshold {given}: {problem}; make it with --max_false_matches") from (
            None
        )
    if reason:
        problem = f"has no threshold for {QUESTIONS[question]!r} ({reason})"
        raise InputError(f"--threshold {given}: {problem}; make one with more people")
    if not 0 <= threshold.distance < math.inf:
        raise InputError(
            f"--threshold {given}: {threshold.distance} is not a distance; make another"
        )
    if ways:
        problem = f"made with --{', --'.join(ways).replace('_parts', ' parts')}"
        raise InputError(
            f"--threshold {given}: {problem}, which only evaluate.py has; make another"
        )
    return threshold


def _count(value: object) -> int | None:
    return None if value is None else int(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
