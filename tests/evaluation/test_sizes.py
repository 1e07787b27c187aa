"""What smaller vectors cost, against the evaluation of each by itself."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from mgn import metrics
from mgn.data.records import Record, Split
from mgn.evaluation import sizes
from mgn.evaluation.featurefile import Embedded
from mgn.metrics.reduction import choose, read_reductions
from mgn.network import HEADS
from mgn.system.errors import InputError


@pytest.fixture(scope="module")
def embedded():
    """30 people under two cameras, whose parts differ more than their wholes."""
    rng = np.random.default_rng(0)
    splits, features = [], []
    centres = rng.normal(size=(31, 2048)) * np.repeat([0.3, 0.3, 0.3, 1, 1, 1, 1, 1], 256)
    for name, frames in (("query", 1), ("gallery", 2)):
        records = [
            Record(f"{name}/{who}_{camera}_{frame}.jpg", who, camera)
            for who in range(1, 31)
            for camera in (1, 2)
            for frame in range(frames)
        ]
        splits.append(Split(tuple(records), 0, 0))
        rows = centres[splits[-1].persons] + 3 * rng.normal(size=(len(records), 2048))
        features.append(np.float32(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    return Embedded(*splits, *features)


@pytest.fixture(scope="module")
def measured(embedded):
    found, _ = sizes.measure(embedded)
    return {size.name: size for size in found}


def test_whole_vectors_score_as_the_evaluation_does(embedded, measured):
    result = metrics.evaluate(embedded.query_features, embedded.gallery_features, *embedded.labels)
    whole = measured["float32"]
    assert (whole.bytes, whole.mAP, whole.rank1) == (8192, result.mAP, result.cmc[0])
    assert whole.recall10 == 1.0
    counts = [size.bytes for size in measured.values()]
    assert counts == sorted(counts, reverse=True) and len(measured) == 19


def test_some_heads_score_as_the_others_cut_off(embedded, measured):
    columns = np.repeat([head.stripe is not None for head in HEADS], 256)
    cut = [x[:, columns] for x in (embedded.query_features, embedded.gallery_features)]
    cut = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in cut]
    parts = measured["heads of parts, float32"]
    assert parts.mAP == pytest.approx(metrics.evaluate(*cut, *embedded.labels).mAP)
    assert parts.bytes == 4 * 1280 and measured["heads of whole maps, float32"].mAP < parts.mAP
    shared = 0
    for row in range(60):
        tens = []
        for query, gallery in ((embedded.query_features, embedded.gallery_features), cut):
            distances = np.linalg.norm(query[row].astype(float) - gallery, axis=1)
            tens.append(set(np.argsort(distances)[:10].tolist()))
        shared += len(tens[0] & tens[1])
    assert parts.recall10 == pytest.approx(shared / 600)


def test_bits_ranked_again_find_what_bits_alone_miss(measured):
    bits, again = (measured[name] for name in ("bits", "bits, the first 100 again by float32"))
    assert bits.bytes == again.bytes == 256
    assert bits.recall10 < 0.95 < again.recall10  # 100 of 120 are ranked again


def test_they_are_written_and_drawn(embedded, measured, tmp_path):
    probe = np.float32([1, 2])
    told = sizes.write(dataclasses.replace(embedded, made_by="abc", probe=probe), "a set", tmp_path)
    stored = json.loads((tmp_path / "sizes.json").read_text())["sizes"]
    assert stored == [dataclasses.asdict(size) for size in measured.values()]
    assert "  8192 " in told and told.endswith(f"{tmp_path / 'reduction.npz'}")
    assert cv2.imread(str(tmp_path / "sizes.png")).std() > 10

    made = read_reductions(tmp_path / "reduction.npz", "here")
    assert made.origin._replace(probe=0) == ("abc", 0, True, "a set", 120)
    assert np.array_equal(made.origin.probe, probe)
    # What the file gives, cut to any row of the table, scores as that row says.
    for name in ("PCA 64, float32", "heads of parts, float32"):
        reduction = choose(made, name, "here")
        both = reduction(embedded.query_features), reduction(embedded.gallery_features)
        result = metrics.evaluate(*map(np.float32, both), *embedded.labels)
        assert result.mAP == pytest.approx(measured[name].mAP, abs=5e-5)
        assert reduction.scores["mAP"] == measured[name].mAP


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, "it is not known which model made the features"),
        ({"made_by": "abc", "in_parts": True}, "made with --normalise parts"),
        ({"made_by": "abc", "mapped_from": "old"}, "the features are mapped from"),
    ],
)
def test_features_that_no_export_gives_make_no_file(
    change, problem, embedded, measured, tmp_path, monkeypatch
):
    monkeypatch.setattr(sizes, "measure", lambda _: ([*measured.values()], None))
    told = sizes.write(dataclasses.replace(embedded, **change), "a set", tmp_path)
    assert f"no reduction.npz: {problem}" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sizes.json", "sizes.png"]


def test_features_of_another_network_are_refused(embedded):
    narrow = dataclasses.replace(embedded, query_features=embedded.query_features[:, :512])
    with pytest.raises(InputError, match="--sizes: 512 numbers a feature"):
        sizes.measure(narrow)
