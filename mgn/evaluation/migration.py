"""Vectors of an old model for a new one: a map from two feature files, and what it maps."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mgn.evaluation import featurefile
from mgn.evaluation.cached import CACHE
from mgn.metrics import migration
from mgn.metrics.distances import matrix
from mgn.metrics.migration import Map, Pairs
from mgn.system.arrays import BAD_FILE, read_values, write_values
from mgn.system.errors import CheckError, InputError

FORMAT = "mgn map 1"
_NOT_OURS = {
    featurefile.FORMAT: "not a complete feature file of evaluate.py",
    FORMAT: "not a complete map of mgn.migrate",
}


class Labelled(NamedTuple):
    """A feature file that tells by itself what its rows are."""

    where: str  # flag and path, for errors
    model: str  # hash
    flip: bool
    probe: np.ndarray  # empty: not known
    features: np.ndarray  # float32 [N, D], query first
    keys: list[tuple[bool, str, int]]  # of the query?, path, identity
    cameras: np.ndarray  # int64 [N]


class Migration(NamedTuple):
    """What a map's file holds."""

    map: Map
    about: dict  # both models, images, people, losses; JSON values
    probe: np.ndarray  # the new model's, see `data.probe`; empty: not known


def make(old_path: Path, new_path: Path, max_loss: float) -> Migration:
    """Fit a map from the features of one file to those of another, and measure it.

    Raises:
        InputError: a wrong file, two of one model, or too few images or people in both.
        CheckError: with the map, more than `max_loss` of the new model's mAP is lost.
    """
    old = read_labelled("--old", old_path)
    new = read_labelled("--new", new_path)
    if old.model == new.model:
        raise InputError(
            f"{old.where} and {new.where}: made by the same model; name features of two"
        )
    fitted = migration.fit(matched(old, new))
    loss = fitted.measured.loss
    if loss > max_loss:
        scores = ", ".join(f"{name} {scored.mAP:.4f}" for name, scored in _rows(fitted.measured))
        problem = f"{loss:.1%} of mAP is lost ({scores}; {fitted.measured.people} people held back)"
        advice = (
            f"more than --max_loss {max_loss:g}; embed more people with both, or keep the images"
        )
        raise CheckError(f"{old.where} to {new.where}: {problem}, {advice}")
    measured = {"loss": loss, "apart": fitted.measured.apart}
    measured |= {"images": fitted.measured.images, "people": fitted.measured.people}
    measured |= {name: scored._asdict() for name, scored in _rows(fitted.measured)}
    about = {
        "old": {"hash": old.model, "flip": old.flip, "size": old.features.shape[1]},
        "new": {"hash": new.model, "flip": new.flip, "size": new.features.shape[1]},
        "method": fitted.map.method,
        "ridge": fitted.map.ridge,
        "images": fitted.images,
        "people": fitted.people,
        "held_back": measured,
    }
    return Migration(fitted.map, about, new.probe)


def _rows(measured: migration.Measured) -> list[tuple[str, migration.Scored]]:
    """What is scored, by the names that files and tables have for it."""
    names = ("old to old", measured.old), ("new to new", measured.new)
    return [*names, ("new to mapped", measured.mapped)]


def as_text(made: Migration) -> str:
    """What a map is and costs, for a terminal."""
    about, held = made.about, made.about["held_back"]
    ridge = "" if about["ridge"] is None else f", ridge {about['ridge']:g}"
    lines = [
        f"{about['method']}{ridge}: {about['old']['size']} to {about['new']['size']} numbers, from"
        f" {about['images']} images of {about['people']} people",
        f"measured on {held['images']} images of {held['people']} people held back:",
        f"{'query to gallery':<18}{'mAP':>8}{'rank@1':>8}{'same':>8}{'strangers':>11}",
    ]
    for name in ("old to old", "new to new", "new to mapped"):
        row = held[name]
        scores = f"{row['mAP']:>8.4f}{row['rank1']:>8.4f}"
        lines.append(f"{name:<18}{scores}{row['same']:>8.3f}{row['strangers']:>11.3f}")
    lines.append(
        f"{held['loss']:.1%} of the new model's mAP is lost. Median distances: same, strangers, and"
        f" an image's mapped vector from its new one: {held['apart']:.3f}"
    )
    return "\n".join(lines)


def read_labelled(flag: str, path: Path) -> Labelled:
    """Read a feature file without its images.

    Raises:
        InputError: another file, one without labels, NaN, or features that were mapped.
    """
    where = f"{flag} {path}"
    values = _read(where, path, featurefile.FORMAT)
    if featurefile.mapped_from(values):
        raise InputError(f"{where}: mapped from another model; use features a model made itself")
    if "paths" not in values:
        problem = "written by an older version, which did not record identities"
        raise InputError(f"{where}: {problem}; make it again with evaluate.py --features")
    try:
        both = [_features(where, values, name) for name in ("query", "gallery")]
        if both[0].shape[1] != both[1].shape[1]:
            raise ValueError("query and gallery differ in size")
        asked = [True] * len(both[0]) + [False] * len(both[1])
        paths, persons = json.loads(str(values["paths"])), values["persons"].tolist()
        keys = list(zip(asked, paths, persons, strict=True))
        cameras = values["cameras"]
        if cameras.shape != (len(keys),):
            raise ValueError("cameras")
        about = str(values["model"]), bool(values["flip"]), values["probe"]
    except BAD_FILE as error:
        raise _not_ours(where, featurefile.FORMAT, error) from None
    return Labelled(where, *about, np.concatenate(both), keys, cameras)


def matched(old: Labelled, new: Labelled) -> Pairs:
    """The images that are in both: of one split, path and identity.

    Where a path differs, because the images lay elsewhere, the file's name stands for it, if only
    one image of that identity has it.
    """
    whole = {key: row for row, key in enumerate(new.keys)}
    short_old, short_new = list(map(_short, old.keys)), list(map(_short, new.keys))
    often = Counter(short_old), Counter(short_new)
    by_name = {key: row for row, key in enumerate(short_new) if often[1][key] == 1}
    rows, columns = [], []
    for row, (key, short) in enumerate(zip(old.keys, short_old, strict=True)):
        column = whole.get(key)
        if column is None and often[0][short] == 1:
            column = by_name.get(short)
        if column is not None:
            rows.append(row)
            columns.append(column)
    if not rows:
        problem = "no image is in both, by the name of its file, its identity and split"
        raise InputError(f"{old.where} and {new.where}: {problem}; embed the same images with both")
    ids = np.array([old.keys[row][2] for row in rows])
    asked = np.array([old.keys[row][0] for row in rows])
    return Pairs(old.features[rows], new.features[columns], ids, new.cameras[columns], asked)


def _short(key: tuple[bool, str, int]) -> tuple[bool, str, int]:
    asked, path, person = key
    return asked, path.replace("\\", "/").rsplit("/", 1)[-1], person


def write_map(path: Path, made: Migration, overwrite: bool) -> None:
    """Make the file of a map."""
    arrays = {name: getattr(made.map, name) for name in ("centre", "matrix", "target")}
    values = {"format": FORMAT, "about": json.dumps(made.about), "probe": made.probe}
    write_values(path, values | arrays, overwrite)


def read_map(path: Path) -> Migration:
    """Read what `write_map` wrote; `InputError` if it is not that."""
    where = f"--apply {path}"
    values = _read(where, path, FORMAT)
    try:
        about = json.loads(str(values["about"]))
        shape = about["old"]["size"], about["new"]["size"]
        arrays = [values[name] for name in ("centre", "matrix", "target")]
        if [array.shape for array in arrays] != [shape[:1], shape, shape[1:]]:
            raise ValueError("its sizes do not fit")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("NaN or infinity")
        for model in ("old", "new"):
            str(about[model]["hash"]), bool(about[model]["flip"])
        made = Map(str(about["method"]), about["ridge"], *arrays)
        return Migration(made, about, values["probe"])
    except BAD_FILE as error:
        raise _not_ours(where, FORMAT, error) from None


def apply(map_path: Path, features_path: Path, output: Path, overwrite: bool) -> int:
    """Map a feature file of `evaluate.py`, or a cache of `mgn.search`, into another.

    Returns how many vectors were mapped.

    Raises:
        InputError: a wrong file, features of another model than the map's old one, or NaN.
    """
    made = read_map(map_path)
    old, new = made.about["old"], made.about["new"]
    where = f"--features {features_path}"
    values = _read(where, features_path, featurefile.FORMAT, CACHE)
    names = ("",) if str(values["format"]) == CACHE else ("query", "gallery")
    if featurefile.mapped_from(values):
        raise InputError(f"{where}: already mapped; map the features that a model made itself")
    try:
        model, flip = str(values["model"]), bool(values.get("flip", True))  # a search's always
        features = {name: _features(where, values, name) for name in names}
    except BAD_FILE as error:
        raise _not_ours(where, featurefile.FORMAT, error) from None
    if model != old["hash"] or any(f.shape[1] != old["size"] for f in features.values()):
        problem = f"made by another model than the old one of --apply {map_path}"
        raise InputError(f"{where}: {problem}; make a map for it with --old and --new")
    if flip != old["flip"]:
        how = ("without", "with")[flip]
        problem = f"made {how} the mirror image, unlike --apply {map_path}"
        raise InputError(f"{where}: {problem}; embed again {how} --no_flip")
    if len(names) == 1 and not new["flip"]:
        problem = "mgn.search embeds with the mirror image, and the map's new model did not"
        raise InputError(f"{where}: {problem}; make the map without --no_flip")
    values |= {_key(name): made.map(rows) for name, rows in features.items()}
    values |= {"model": new["hash"], "mapped_from": old["hash"]}
    if len(names) == 2:
        values |= {"flip": new["flip"], "probe": made.probe}
    write_values(output, values, overwrite)
    return sum(map(len, features.values()))


def _key(name: str) -> str:
    return f"{name}_features" if name else "features"


def _features(where: str, values: dict[str, np.ndarray], name: str) -> np.ndarray:
    return matrix(f"{where}: {name or 'gallery'} features", values[_key(name)])


def _read(where: str, path: Path, *formats: str) -> dict[str, np.ndarray]:
    try:
        return read_values(path, *formats)
    except BAD_FILE as error:
        raise _not_ours(where, formats[0], error) from None


def _not_ours(where: str, kind: str, error: BaseException) -> InputError:
    return InputError(f"{where}: {_NOT_OURS[kind]} ({error}); name another file")
