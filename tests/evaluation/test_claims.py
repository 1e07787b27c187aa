"""`threshold.json`: its figures against plain loops, and the script that writes it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import refused, run

import evaluate
from mgn.config.threshold import PAIR, Promise, read_threshold
from mgn.data.records import Record, Split, read_split
from mgn.evaluation import claims, embedding, scoring
from mgn.evaluation.featurefile import Embedded
from mgn.metrics import thresholds
from mgn.system.errors import CheckError, InputError

PROMISE = Promise(0.1, 0.9, None)  # 22 strangers needed


def split_of(folder, people, cameras, frames):
    records = [
        Record(f"{folder}/{who:04}_c{camera}s1_{frame:06}_00.jpg", who, camera)
        for who in people
        for camera in cameras
        for frame in range(frames)
    ]
    return Split(tuple(records), 0, 0)


def made(people=60, cameras=(1, 2), spread=0.3, **about):
    """Features of length 1 on a circle of 16 dimensions, of so many people."""
    rng = np.random.default_rng(0)
    query = split_of("query", range(1, people + 1), cameras, 1)
    gallery = split_of("gallery", range(1, people + 1), cameras, 2)
    centres = rng.normal(size=(people + 1, 16))
    features = []
    for split in (query, gallery):
        rows = centres[split.persons] + spread * rng.normal(size=(len(split.records), 16))
        features.append(np.float32(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    return Embedded(query, gallery, *features, made_by="abc", **about)


def distances(embedded):
    query, gallery = (np.float64(x) for x in (embedded.query_features, embedded.gallery_features))
    return np.linalg.norm(query[:, None] - gallery, axis=2)


def test_the_figures_are_those_of_plain_loops():
    embedded = made()
    values = claims.make(PROMISE, embedded)
    apart = distances(embedded)
    query_ids, gallery_ids, query_cameras, gallery_cameras = embedded.labels
    same = query_ids[:, None] == gallery_ids
    same &= query_cameras[:, None] != gallery_cameras
    pair, open_set = values["pair"], values["open_set"]
    assert pair["units"] == 30 and pair["matches"] == 60 * 2 * 2
    assert pair["true_matches"] == np.mean(apart[same] <= pair["distance"])
    rows, columns = thresholds.stranger_pairs(query_ids, gallery_ids)
    assert pair["accepted"] == np.sum(apart[rows, columns] <= pair["distance"])
    expected = thresholds.claim(apart[rows, columns], 0.1, 0.9)
    assert (pair["distance"], pair["bound"]) == (expected.distance, expected.bound)
    assert pair["bound"] <= 0.1 and pair["needed_identities"] == 44

    assert (open_set["units"], open_set["gallery_identities"]) == (30, 30)
    assert open_set["gallery_images"] == 30 * 4 and open_set["matches"] == 120
    best = np.where(same, apart, np.inf).min(axis=1)
    assert open_set["true_matches"] == np.mean(best <= open_set["distance"])
    assert open_set["distance"] < pair["distance"]  # the nearest of 120 is nearer than any one
    rows, there = thresholds.strangers_to_a_gallery(query_ids, gallery_ids, None, 22)
    nearest = apart[np.ix_(rows, there)].min(axis=1)
    assert open_set["accepted"] == np.sum(nearest <= open_set["distance"])
    assert values["needed_units"] == 22 and values["model"] == {"hash": "abc", "probe": None}


def test_each_pair_of_cameras_has_its_own_or_says_why_not():
    """Against the same with the images of two cameras alone; camera 3 saw few people."""
    embedded = made()
    third = np.isin(embedded.query.persons, range(1, 20)) & (embedded.query.cameras == 2)
    records = [
        Record(r.path, r.person, 3) if of_third else r
        for r, of_third in zip(embedded.query.records, third, strict=True)
    ]
    query = Split(tuple(records), 0, 0)
    of_three = Embedded(query, embedded.gallery, embedded.query_features, embedded.gallery_features)
    found = {}
    for pair in claims.make(PROMISE, of_three)["camera_pairs"]:
        found[pair["query_camera"], pair["gallery_camera"]] = pair
    assert set(found) == {(q, g) for q in (1, 2, 3) for g in (1, 2)}
    assert found[3, 1]["pair"]["distance"] is None and found[3, 1]["pair"]["units"] < 22
    assert found[3, 1]["pair"]["why"] == f"{found[3, 1]['pair']['units']} strangers of 22 needed"
    assert found[1, 1]["pair"]["matches"] == 0 and "true_matches" not in found[1, 1]["pair"]
    kept = embedded.query.cameras == 1, embedded.gallery.cameras == 2
    alone = Embedded(
        embedded.query.only(kept[0]),
        embedded.gallery.only(kept[1]),
        embedded.query_features[kept[0]],
        embedded.gallery_features[kept[1]],
    )
    whole = claims.make(PROMISE, alone)
    assert {k: found[1, 2][k] for k in ("pair", "open_set")} == {
        k: whole[k] for k in ("pair", "open_set")
    }


def test_a_gallery_of_a_size():
    values = claims.make(PROMISE._replace(gallery_identities=10), made())
    assert (values["open_set"]["gallery_identities"], values["open_set"]["units"]) == (10, 50)
    values = claims.make(PROMISE._replace(gallery_identities=50), made())
    assert values["open_set"]["distance"] is None and values["pair"]["distance"] > 0
    assert "no threshold: 10 strangers of 22 needed" in claims.as_text(values)
    values = claims.make(PROMISE._replace(gallery_identities=61), made())
    assert values["open_set"]["why"] == "fewer than 61 identities for the gallery"


def test_too_few_people_are_refused_with_what_would_do():
    embedded = made(people=20)
    with pytest.raises(InputError) as error:
        claims.check_enough(PROMISE, embedded.query, embedded.gallery)
    assert str(error.value) == (
        "--max_false_matches 0.1 --confidence 0.9: a claim needs 22 pairs of strangers (44"
        " identities) or 22 strangers beside a gallery; here are 10 and 19; label more people, or"
        " ask for --max_false_matches 0.206 (pairs) or 0.115 (gallery) or more"
    )
    claims.check_enough(PROMISE._replace(max_false_matches=0.115), *splits(embedded))
    with pytest.raises(InputError):
        claims.check_enough(PROMISE._replace(max_false_matches=0.113), *splits(embedded))
    claims.check_enough(None, *splits(embedded))


def splits(embedded):
    return embedded.query, embedded.gallery


def test_people_who_all_look_alike_have_no_threshold(tmp_path):
    embedded = made()
    alike = Embedded(
        *splits(embedded), embedded.query_features * 0 + 0.25, embedded.gallery_features * 0 + 0.25
    )
    path = tmp_path / "threshold.json"
    with pytest.raises(CheckError, match=r"no threshold can be claimed .*as near as copies"):
        claims.write(PROMISE, SimpleNamespace(embedded=alike, model="m", dataset="d"), path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of 60 people whose files are no images, and their features in a file."""
    root = tmp_path_factory.mktemp("claims") / "market"
    embedded = made()
    for split, name in ((embedded.query, "query"), (embedded.gallery, "bounding_box_test")):
        (root / name).mkdir(parents=True)
        for record in split.records:
            (root / name / record.path.split("/")[1]).write_bytes(record.path.encode())
    listed = read_split(root, "query"), read_split(root, "gallery")
    embedding.save_features(root.parent / "features.npz", embedded, listed, "abc")
    return root


@pytest.mark.usefixtures("nothing_drawn")
def test_the_script_writes_it_beside_the_metrics(folder, tmp_path, capsys):
    features = ["--dataset", folder, "--features", folder.parent / "features.npz"]
    arguments = [*features, "--output_dir", tmp_path / "out", "--rerank"]
    promise = ["--max_false_matches", "0.1", "--confidence", "0.9"]
    assert run(evaluate, *arguments, *promise) == 0
    out = capsys.readouterr().out
    path = tmp_path / "out" / "threshold.json"
    assert out.endswith(f"written: {path}\n") and "with confidence 0.9:\n" in out
    stored = json.loads(path.read_text())
    assert stored["pair"] == claims.make(PROMISE, made())["pair"]  # not of re-ranked distances
    assert stored["model"]["hash"] == "abc" and stored["dataset"] == str(folder)
    threshold = read_threshold(path, PAIR)
    assert f"distance up to {threshold.distance:.4f}: " in out
    assert "already; name another folder" in refused(capsys, evaluate, *arguments, *promise)
    # Without the flags an older claim does not stay beside new scores.
    assert run(evaluate, *arguments, "--overwrite") == 0
    assert not path.exists()


@pytest.mark.usefixtures("nothing_drawn")
def test_parts_and_single_images_make_a_file_that_says_so(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "EMBEDDING_SIZE", 16)  # of the features here
    features = ["--dataset", folder, "--features", folder.parent / "features.npz"]
    promise = ["--max_false_matches", "0.1", "--confidence", "0.9"]
    arguments = [*features, *promise, "--output_dir", tmp_path / "out", "--normalise", "parts"]
    assert run(evaluate, *arguments) == 0
    with pytest.raises(InputError, match="made with --normalise parts"):
        read_threshold(tmp_path / "out" / "threshold.json", PAIR)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["normalise"] == "parts"


def test_wrong_flags_are_refused_before_the_work(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedding, "load_or_embed", None)
    features = ["--dataset", folder, "--features", folder.parent / "features.npz"]
    for wrong, problem in (
        (["--confidence", "0.9"], "--confidence: only with --max_false_matches"),
        (["--gallery_identities", "9"], "--gallery_identities: only with --max_false_matches"),
        (["--max_false_matches", "1"], "'1' is not a number between 0 and 1"),
        (["--max_false_matches", "0.1", "--confidence", "95"], "'95' is not a number between"),
        (["--max_false_matches", "0.1", "--gallery_identities", "0"], "not a whole number above 0"),
        (["--max_false_matches", "0.01"], "a claim needs 299 pairs of strangers (598 identities)"),
    ):
        assert problem in refused(capsys, evaluate, *features, *wrong)
    assert not list(tmp_path.iterdir())


def test_features_that_are_not_numbers_and_one_camera_are_refused(folder, tmp_path, capsys):
    promise = ["--max_false_matches", "0.1", "--confidence", "0.9", "--output_dir", tmp_path / "x"]
    listed = read_split(folder, "query"), read_split(folder, "gallery")
    broken = made()
    broken.gallery_features[7] = np.nan
    embedding.save_features(tmp_path / "nan.npz", broken, listed, "abc")
    arguments = ["--dataset", folder, "--features", tmp_path / "nan.npz", *promise]
    assert "gallery features: NaN or infinity in 1 rows" in refused(capsys, evaluate, *arguments)
    alone = tmp_path / "alone"
    for name in ("query", "bounding_box_test"):
        (alone / name).mkdir(parents=True)
        for file in (folder / name).glob("*_c1*"):
            (alone / name / file.name).write_bytes(file.read_bytes())
    arguments = ["--dataset", alone, "--features", tmp_path / "nan.npz", *promise]
    assert "every query person is seen by one camera only" in refused(capsys, evaluate, *arguments)
    assert not (tmp_path / "x").exists()


def test_a_claim_that_fails_late_costs_no_scores(folder, tmp_path, capsys):
    """Unreadable images leave too few people; the flags were right, so this is found at the end."""
    embedded = made(people=60)
    listed = read_split(folder, "query"), read_split(folder, "gallery")
    kept = embedded.query.persons <= 20, embedded.gallery.persons <= 20
    skipped = [
        record.path
        for split, keep in zip(listed, kept, strict=True)
        for record in split.only(~keep).records
    ]
    few = Embedded(
        listed[0].only(kept[0]),
        listed[1].only(kept[1]),
        embedded.query_features[kept[0]],
        embedded.gallery_features[kept[1]],
        tuple(skipped),
    )
    embedding.save_features(tmp_path / "few.npz", few, listed, "abc")
    arguments = ["--dataset", folder, "--features", tmp_path / "few.npz"]
    arguments += ["--max_false_matches", "0.1", "--confidence", "0.9", "--output_dir", tmp_path]
    assert "here are 10 and 19" in refused(capsys, evaluate, *arguments)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"metrics.json", "report.html"} <= names and "threshold.json" not in names
