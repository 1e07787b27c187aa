"""Feature files of drawn people by two models, of which one is the other turned; the command."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from conftest import refused, run

import evaluate
from mgn import migrate
from mgn.config.threshold import Threshold
from mgn.data.records import Record, Split, read_split
from mgn.evaluation import cached as found
from mgn.evaluation import migration, scoring
from mgn.evaluation.featurefile import Embedded, load_features, save_features
from mgn.metrics.smaller import unit
from mgn.system.errors import InputError

SIZE = 16
TURN = scipy.stats.ortho_group.rvs(SIZE, random_state=1)


def drawn(folder, turn=None, people=24, seed=0):
    """A query image and two others by each of two cameras, of each person; by the old model, or
    with `turn` by the new one."""
    rng = np.random.default_rng(seed)
    records = {"query": [], "bounding_box_test": []}
    looks = {"query": [], "bounding_box_test": []}
    for person in range(1, people + 1):
        look = rng.normal(size=SIZE)
        for camera in (1, 2):
            for image in range(3):
                place = "query" if image == 0 else "bounding_box_test"
                path = folder / place / f"{person:04}_c{camera}s1_{image:06}_00.jpg"
                records[place].append(Record(str(path), person, camera))
                looks[place].append(look + 0.7 * rng.normal(size=SIZE))
    splits = [Split(tuple(found), 0, 0) for found in records.values()]
    features = [unit(np.array(rows) + 0.5) for rows in looks.values()]
    model, seen = "old hash", np.eye(SIZE, dtype=np.float32)[0]
    if turn is not None:
        features = [(rows @ turn).astype(np.float32) for rows in features]
        model, seen = "new hash", turn[0].astype(np.float32)
    return Embedded(*splits, *features, made_by=model, probe=seen)


def write(path, embedded, whole=None):
    whole = whole or (embedded.query, embedded.gallery)
    save_features(path, embedded, whole, embedded.made_by, embedded.flip)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set whose files are no images, `old.npz`, `new.npz` and the `map.npz` between them."""
    root = tmp_path_factory.mktemp("migration")
    embedded = drawn(root / "set")
    for record in embedded.query.records + embedded.gallery.records:
        path = root / "set" / record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record.path.encode())
    write(root / "old.npz", embedded)
    write(root / "new.npz", drawn(root / "set", TURN))
    made = migration.make(root / "old.npz", root / "new.npz", 0.1)
    migration.write_map(root / "map.npz", made, overwrite=False)
    return root


def test_a_map_describes_itself(folder, tmp_path, capsys):
    output = tmp_path / "map.npz"
    files = ["--old", folder / "old.npz", "--new", folder / "new.npz", "--output", output]
    assert run(migrate, *files) == 0
    out = capsys.readouterr().out
    about = json.loads(str(np.load(output)["about"]))
    assert about["old"] == {"hash": "old hash", "flip": True, "size": SIZE}
    assert about["new"] == {"hash": "new hash", "flip": True, "size": SIZE}
    assert (about["method"], about["images"], about["people"]) == ("orthogonal", 144, 24)
    held = about["held_back"]
    assert (held["images"], held["people"]) == (48, 8)
    assert held["loss"] == 1 - held["new to mapped"]["mAP"] / held["new to new"]["mAP"]
    assert abs(held["loss"]) < 1e-6 and held["apart"] < 1e-5
    for name in ("old to old", "new to new", "new to mapped"):
        scores = f"{held[name]['mAP']:.4f}  {held[name]['rank1']:.4f}"
        assert f"{name:<18}  {scores}" in out
    assert out.endswith(f"written: {output}\n") and "of 24 people\n" in out
    assert "exists: choose another name" in refused(capsys, migrate, *files)
    assert run(migrate, *files, "--overwrite") == 0
    for name in ("matrix", "centre", "target"):
        np.testing.assert_array_equal(np.load(output)[name], np.load(folder / "map.npz")[name])


def test_mapped_features_are_the_new_models_and_say_where_from(folder, tmp_path, capsys):
    output = tmp_path / "mapped.npz"
    mapping = ["--apply", folder / "map.npz", "--features", folder / "old.npz"]
    assert run(migrate, *mapping, "--output", output) == 0
    assert capsys.readouterr().out == f"144 vectors mapped\nwritten: {output}\n"
    splits = [read_split(folder / "set", name) for name in ("query", "gallery")]
    mapped = load_features(output, *splits, "new hash")
    expected = drawn(folder / "set", TURN)
    np.testing.assert_allclose(mapped.gallery_features, expected.gallery_features, atol=1e-5)
    np.testing.assert_allclose(mapped.query_features, expected.query_features, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(mapped.gallery_features, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(mapped.probe, expected.probe)
    assert (mapped.made_by, mapped.mapped_from) == ("new hash", "old hash")
    with pytest.raises(InputError, match="made by another model"):
        load_features(output, *splits, "old hash")
    assert scoring.score(mapped).as_dict()["mapped_from"] == "old hash"
    # Scored by the script, which says so; a claim would be of other distances.
    scored = ["--dataset", folder / "set", "--features", output, "--output_dir", tmp_path / "out"]
    promise = ["--max_false_matches", "0.3", "--confidence", "0.9"]
    assert "are mapped from another model's" in refused(capsys, evaluate, *scored, *promise)
    assert not (tmp_path / "out" / "threshold.json").exists()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["mapped_from"] == "old hash"
    assert "mapped from model old hash" in (tmp_path / "out" / "report.html").read_text()
    for wrong in (["--old", output, "--new", folder / "new.npz"], [*mapping[:3], output]):
        assert "mapped" in refused(capsys, migrate, *wrong, "--output", tmp_path / "no.npz")


def search_cache(folder, cache, turn, count, known=(), mapped_from=None):
    """Embed the first `count` gallery images as `mgn.search` does, and keep them."""
    embedded = drawn(folder / "set", turn)
    gallery = embedded.gallery
    rows = dict(zip(gallery.paths, embedded.gallery_features, strict=True))

    def embed(paths):
        return np.stack([rows[path] for path in paths])

    first = gallery.only(np.arange(len(gallery.records)) < count)
    kept = cache, embedded.made_by, mapped_from
    place = folder / "set" / "bounding_box_test"
    found.embed_what_is_new(embed, str, first, place, dict(known), kept)[2]()
    return embedded.gallery_features[:count]


def test_a_cache_of_search_is_mapped_and_stays_marked(folder, tmp_path, capsys):
    """Also after an image was added; a claim for the model's own embeddings is refused."""
    search_cache(folder, tmp_path / "old.npz", None, 5)
    assert found.read_cache(tmp_path / "old.npz", "old hash")[1] is None
    output = tmp_path / "mapped.npz"
    mapping = ["--apply", folder / "map.npz", "--features", tmp_path / "old.npz"]
    assert run(migrate, *mapping, "--output", output) == 0
    known, mapped_from = found.read_cache(output, "new hash")
    assert mapped_from == "old hash" and len(known) == 5
    assert found.read_cache(output, "old hash") == ({}, None)
    expected = search_cache(folder, output, TURN, 7, known, mapped_from)
    assert "2 of 7 gallery images embedded, 5 from" in capsys.readouterr().err
    known, mapped_from = found.read_cache(output, "new hash")
    assert mapped_from == "old hash"
    np.testing.assert_allclose(list(known.values()), expected, atol=1e-5)
    number, claim = Threshold(0.5), Threshold(0.5, Path("threshold.json"))
    found.check_mapped(output, None, claim)
    assert capsys.readouterr().err == ""
    for threshold in (None, number):
        found.check_mapped(output, "old hash", threshold)
        assert "embeddings mapped from model old hash" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"its claim is .* give the number .*--threshold 0\.5"):
        found.check_mapped(output, "old hash", claim)


def test_a_loss_above_the_bound_is_refused_and_nothing_is_kept(folder, tmp_path, capsys):
    """The new model tells people apart by what the old one does not see."""
    other = dataclasses.replace(drawn(folder / "set", TURN, seed=5), made_by="other hash")
    files = ["--old", folder / "old.npz", "--new", write(tmp_path / "other.npz", other)]
    output = tmp_path / "made" / "map.npz"
    assert run(migrate, *files, "--output", output) == 1
    out, err = capsys.readouterr()
    assert (
        out == "" and err.count("\n") == 1 and err.startswith(f"error: --old {files[1]} to --new")
    )
    assert re.search(r"\d\d\.\d% of mAP is lost \(old to old 0\.\d+, new to new 0\.", err)
    assert "8 people held back), more than --max_loss 0.1; embed more" in err
    assert not output.parent.exists() and len(list(tmp_path.iterdir())) == 1
    assert run(migrate, *files, "--output", output, "--max_loss", "0.99") == 0


def test_images_are_matched_by_path_or_else_by_name_and_identity(tmp_path):
    """Two of one name and identity are told apart by their folders alone."""
    old, new = drawn(tmp_path / "a"), drawn(tmp_path / "b", TURN)
    gallery = list(old.gallery.records)
    twice = Path(gallery[0].path).name
    gallery[1] = dataclasses.replace(gallery[1], path=str(tmp_path / "elsewhere" / twice))
    gallery[2] = dataclasses.replace(gallery[2], person=99)  # not who it is for the new model
    gallery[3] = dataclasses.replace(gallery[3], path=new.gallery.records[3].path)
    changed = dataclasses.replace(old, gallery=Split(tuple(gallery), 0, 0))
    files = write(tmp_path / "old.npz", changed), write(tmp_path / "new.npz", new)
    read = [migration.read_labelled("--x", path) for path in files]
    pairs = migration.matched(*read)
    assert len(pairs.ids) == 144 - 3 and pairs.asked.sum() == 48
    np.testing.assert_allclose(pairs.old @ TURN, pairs.new, atol=1e-5)
    np.testing.assert_array_equal(pairs.ids[:48], old.query.persons)
    np.testing.assert_array_equal(pairs.cameras[48:], old.gallery.cameras[3:])
    turned_round = dataclasses.replace(
        new,
        query=new.gallery,
        gallery=new.query,
        query_features=new.gallery_features,
        gallery_features=new.query_features,
    )
    other = migration.read_labelled("--new", write(tmp_path / "round.npz", turned_round))
    with pytest.raises(InputError, match="no image is in both"):
        migration.matched(read[0], other)


def test_wrong_files_are_refused(folder, tmp_path, capsys):
    old, new, made = (folder / f"{name}.npz" for name in ("old", "new", "map"))
    broken = drawn(folder / "set")
    broken.gallery_features[7] = np.nan
    nan = write(tmp_path / "nan.npz", broken)
    few = write(tmp_path / "few.npz", drawn(folder / "set", TURN, people=19))
    bare = write(tmp_path / "bare.npz", dataclasses.replace(drawn(folder / "set"), flip=False))
    values = dict(np.load(old))
    older, short = tmp_path / "older.npz", tmp_path / "short.npz"
    np.savez(older, **{name: values[name] for name in values if name != "paths"})
    np.savez(short, **values | {"persons": values["persons"][:-1]})
    damaged, text = tmp_path / "damaged.npz", tmp_path / "text.npz"
    damaged.write_bytes(made.read_bytes()[:900])
    text.write_text("hello")
    wild = tmp_path / "wild.npz"
    np.savez(wild, **dict(np.load(made)) | {"matrix": np.zeros((3, 3), np.float32)})
    search_cache(folder, tmp_path / "cache.npz", TURN, 3)
    cache = tmp_path / "cache.npz"
    before = sorted(tmp_path.iterdir())
    for arguments, problem in (
        (["--old", old, "--new", old], "made by the same model"),
        (["--old", nan, "--new", new], "nan.npz: gallery features: NaN or infinity in 1 rows"),
        (["--old", old, "--new", few], "19 people on the 114 images that both models embedded"),
        (["--old", older, "--new", new], "older.npz: written by an older version"),
        (["--old", short, "--new", new], "short.npz: not a complete feature file"),
        (["--old", old, "--new", text], "text.npz: not a complete feature file"),
        (["--old", old, "--new", made], "map.npz: not a complete feature file"),
        (["--old", old, "--new", cache], "it says 'mgn search 1'"),
        (["--old", folder, "--new", new], "not a complete feature file"),
        (["--apply", made, "--features", new], "made by another model than the old one"),
        (["--apply", made, "--features", cache], "made by another model than the old one"),
        (["--apply", made, "--features", nan], "NaN or infinity"),
        (["--apply", made, "--features", bare], "made without the mirror image"),
        (["--apply", made, "--features", made], "not a complete feature file"),
        (["--apply", old, "--features", old], "--apply "),
        (["--apply", damaged, "--features", old], "damaged.npz: not a complete map"),
        (["--apply", wild, "--features", old], "its sizes do not fit"),
        (["--old", old], "give --old and --new"),
        (["--old", old, "--new", new, "--apply", made], "give --old and --new"),
        (["--apply", made, "--features", old, "--max_loss", "0.2"], "--max_loss: only with"),
        (["--old", old, "--new", new, "--max_loss", "1.5"], "is not a number between 0 and 1"),
        (["--old", old, "--new", tmp_path / "none"], "no such file"),
        ([], "give --old and --new"),
    ):
        line = refused(capsys, migrate, *arguments, "--output", tmp_path / "out.npz")
        assert problem in line, line
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_of_before_can_be_mapped_and_scored(folder, tmp_path):
    """It has no labels and no probe; a map needs neither."""
    values = dict(np.load(folder / "old.npz"))
    new_keys = ("paths", "persons", "cameras", "probe")
    older = {name: value for name, value in values.items() if name not in new_keys}
    np.savez(tmp_path / "older.npz", **older)
    output = tmp_path / "mapped.npz"
    mapping = ["--apply", folder / "map.npz", "--features", tmp_path / "older.npz"]
    assert run(migrate, *mapping, "--output", output) == 0
    splits = [read_split(folder / "set", name) for name in ("query", "gallery")]
    assert load_features(output, *splits, "new hash").mapped_from == "old hash"
