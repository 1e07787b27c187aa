"""Thresholds with a guarantee for a model's features: `threshold.json`."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.config.threshold import FORMAT, OPEN_SET, PAIR, QUESTIONS, Promise
from mgn.data import probe
from mgn.data.records import Split
from mgn.evaluation.featurefile import Embedded
from mgn.evaluation.report import Report
from mgn.metrics import thresholds
from mgn.metrics.distances import nearest
from mgn.system.errors import CheckError, InputError
from mgn.system.files import write_json

_SEED = 0  # of the draws of pairs and galleries, before any distance is seen


class _Images(NamedTuple):
    """Features with identities and cameras, of query and gallery images; or parts of these."""

    query: np.ndarray
    gallery: np.ndarray
    query_ids: np.ndarray
    gallery_ids: np.ndarray
    query_cameras: np.ndarray
    gallery_cameras: np.ndarray

    def seen_by(self, here: int, there: int) -> "_Images":
        """Queries of one camera, and the gallery images of one."""
        query, gallery = self.query_cameras == here, self.gallery_cameras == there
        kept = (query, gallery) * 3
        return _Images(*(values[keep] for values, keep in zip(self, kept, strict=True)))


def check_enough(promise: Promise | None, query: Split, gallery: Split) -> None:
    """Raise `InputError` if neither claim can be made, before anything is embedded."""
    if not promise:
        return
    needed = thresholds.needed_units(promise.max_false_matches, promise.confidence)
    ids = query.persons, gallery.persons
    pairs = thresholds.stranger_pairs(*ids, seed=_SEED).shape[1]
    size = promise.gallery_identities
    rows, columns = thresholds.strangers_to_a_gallery(*ids, size, needed, _SEED)
    strangers = len(rows) if len(columns) else 0
    if max(pairs, strangers) >= needed:
        return
    least = [thresholds.upper_bound(0, units, promise.confidence) for units in (pairs, strangers)]
    problem = (
        f"a claim needs {needed} pairs of strangers ({2 * needed} identities) or {needed} strangers"
        f" beside a gallery; here are {pairs} and {strangers}"
    )
    allowed = "{:g} (pairs) or {:g} (gallery)".format(*map(_rounded_up, least))
    advice = f"label more people, or ask for --max_false_matches {allowed} or more"
    raise InputError(f"{promise}: {problem}; {advice}")


def write(promise: Promise, examined: Report, path: Path) -> str:
    """Make the thresholds of both questions and write them; returns what to print.

    See `metrics.thresholds` for what is claimed.

    Raises:
        InputError: too few identities for any claim, or features mapped from another model's.
        CheckError: strangers are so near that no threshold keeps them out.
    """
    values = make(promise, examined.embedded) | {"dataset": examined.dataset}
    values["model"]["path"] = examined.model
    if all(values[question]["distance"] is None for question in QUESTIONS):
        told = "; ".join(f"{question}: {values[question]['why']}" for question in QUESTIONS)
        problem = f"no threshold can be claimed ({told})"
        raise CheckError(f"{path}: {problem}; label more people, or raise --max_false_matches")
    write_json(path, values)
    return f"{as_text(values)}\nwritten: {path}"


def make(promise: Promise, embedded: Embedded) -> dict:
    """What `threshold.json` holds."""
    if embedded.mapped_from:  # a query will be the model's own, and these were mapped too
        problem = "the features are mapped from another model's, and a query's will not be"
        raise InputError(f"{promise}: {problem}; use features that the model made itself")
    check_enough(promise, embedded.query, embedded.gallery)
    images = _Images(embedded.query_features, embedded.gallery_features, *embedded.labels)
    rows, columns, own = thresholds.match_distances(*images)
    pairs = []
    for here in np.unique(images.query_cameras):
        for there in np.unique(images.gallery_cameras):
            crossing = images.query_cameras[rows] == here
            crossing &= images.gallery_cameras[columns] == there
            claims = _claims(promise, images.seen_by(here, there), rows[crossing], own[crossing])
            cameras = {"query_camera": int(here), "gallery_camera": int(there)}
            pairs.append(cameras | claims)
    return {
        "format": FORMAT,
        "max_false_matches": promise.max_false_matches,
        "confidence": promise.confidence,
        "needed_units": thresholds.needed_units(promise.max_false_matches, promise.confidence),
        "no_flip": not embedded.flip,
        "normalise_parts": embedded.in_parts,
        "model": {"hash": embedded.made_by, "probe": probe.as_text(embedded.probe)},
        **_claims(promise, images, rows, own),
        "camera_pairs": pairs,
    }


def _claims(
    promise: Promise, images: _Images, rows: np.ndarray, own: np.ndarray
) -> dict[str, dict]:
    """Both questions; `own` [M] are the distances to the same person, of the queries `rows`."""
    asked = promise.max_false_matches, promise.confidence
    needed = thresholds.needed_units(*asked)
    ids = images.query_ids, images.gallery_ids
    # Two images: of strangers, and of one person by two cameras.
    first, second = thresholds.stranger_pairs(*ids, seed=_SEED)
    distances = thresholds.between(images.query[first], images.gallery[second])
    pair = _claim(thresholds.claim(distances, *asked), len(first), needed, own)
    pair |= {"needed_identities": 2 * needed}
    # A gallery: the nearest in it to each stranger, and each query's nearest of its own person.
    size = promise.gallery_identities
    strangers, there = thresholds.strangers_to_a_gallery(*ids, size, needed, _SEED)
    entries = images.gallery[there]
    distances = nearest(images.query[strangers], entries, 1)[1][:, 0] if len(there) else []
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    best = np.minimum.reduceat(own, starts) if len(own) else own
    open_set = _claim(thresholds.claim(distances, *asked), len(distances), needed, best)
    identities = len(np.unique(images.gallery_ids[there]))
    if size and not identities:
        open_set["why"] = f"fewer than {size} identities for the gallery"
    open_set |= {"gallery_identities": identities, "gallery_images": len(there)}
    open_set |= {"needed_identities": needed + max(identities, size or 1)}
    return {PAIR: pair, OPEN_SET: open_set}


def _claim(made: thresholds.Claim | None, units: int, needed: int, own: np.ndarray) -> dict:
    """One claim for JSON, with the share of `own`, distances of one person, that it accepts."""
    if made is None:
        return {"distance": None, "units": units, "why": f"{units} strangers of {needed} needed"}
    figures = {"units": units, "accepted": made.accepted, "bound": made.bound}
    if made.distance < 0:
        return {"distance": None, **figures, "why": "strangers are as near as copies"}
    matches = {"matches": len(own)}
    if len(own):
        matches["true_matches"] = float(np.mean(own <= made.distance))
    return {"distance": made.distance, **figures, **matches}


def as_text(values: dict) -> str:
    """The claims for a terminal."""
    share, confidence = values["max_false_matches"], values["confidence"]
    head = f"at most {share:.3g} of strangers accepted, with confidence {confidence:g}:"
    lines = [head, *(_line(question, values[question]) for question in QUESTIONS)]
    for question in QUESTIONS:
        found = [pair[question]["distance"] for pair in values["camera_pairs"]]
        found = [distance for distance in found if distance is not None]
        told = f"  {question}: {len(found)} of {len(values['camera_pairs'])} camera pairs"
        spread = f", thresholds {min(found):.4f} to {max(found):.4f}" if found else ""
        lines.append(f"{told} have enough strangers for a threshold of their own{spread}")
    return "\n".join(lines)


def _line(question: str, claim: dict) -> str:
    told = f"  {QUESTIONS[question]}"
    if claim["distance"] is None:
        return f"{told} no threshold: {claim['why']} ({claim['needed_identities']} identities)"
    where = ""
    if question == OPEN_SET:
        where = f" ({claim['gallery_identities']} identities, {claim['gallery_images']} images)"
    tried = f"{claim['accepted']} of {claim['units']} strangers accepted"
    found = f"{claim['true_matches']:.1%}" if "true_matches" in claim else "none to accept"
    return f"{told}{where} distance up to {claim['distance']:.4f}: {tried}, {found} of the same"


def _rounded_up(rate: float) -> float:
    return np.ceil(rate * 1000) / 1000
