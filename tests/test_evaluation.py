"""From picture files to scores: the right picture in the right row, tables, files, errors."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest

from mgn import evaluation, metrics
from mgn.data import read_split
from mgn.errors import InputError
from mgn.images import PictureReader


def mean_colour(pictures):
    """A stand-in for a network, whose result a reader can compute."""
    return np.stack([picture.reshape(-1, 3).mean(axis=0) for picture in pictures]).astype(np.float32)


def test_every_row_is_its_picture(dataset):
    split = read_split(dataset, "gallery")
    got = evaluation.embed_split(mean_colour, split, PictureReader(), "gallery")
    assert len(got) == 25
    for row, record in zip(got, split.records, strict=True):
        assert row == pytest.approx(cv2.imread(record.path)[:, :, ::-1].mean(axis=(0, 1)), abs=1e-3)


def test_scores_are_those_of_the_features(dataset, tmp_path):
    scores = evaluation.evaluate(mean_colour, dataset, rerank=True)
    query, gallery = read_split(dataset, "query"), read_split(dataset, "gallery")
    features = [evaluation.embed_split(mean_colour, s, PictureReader(), "") for s in (query, gallery)]
    labels = query.persons, gallery.persons, query.cameras, gallery.cameras
    assert scores.plain.summary() == metrics.evaluate(*features, *labels).summary()
    distances = metrics.rerank(*features)
    assert scores.reranked.summary() == metrics.evaluate_distances(distances, *labels).summary()
    assert scores.plain.mAP > 0.9  # people differ by colour in this set

    record, picture = evaluation.write(scores, tmp_path / "out", "model", "data")
    stored = json.loads(record.read_text())
    names = {"mAP", "mAP_official", "mINP", "rank@1", "rank@3", "rank@5", "rank@10"}
    assert names <= set(stored) and set(stored["reranked"]) == names
    assert (stored["queries"], stored["valid_queries"], stored["gallery"]) == (8, 8, 25)
    drawn = cv2.imread(str(picture))
    assert drawn.shape[0] > 300 and drawn.std() > 10
    with pytest.raises(InputError, match="exists"):
        evaluation.write(scores, tmp_path / "out", "model", "data")

    text = evaluation.table(scores)
    assert re.search(rf"mAP +{scores.plain.mAP:.4f} +{scores.reranked.mAP:.4f} +step AP", text)
    assert "8 queries, 25 gallery pictures" in text
    assert evaluation.summary_line(scores).startswith(f"mAP {scores.plain.mAP:.4f}  rank@1 ")


def test_queries_without_a_match_are_said(dataset, tmp_path):
    root = shutil.copytree(dataset, tmp_path / "copy")
    for path in (root / "bounding_box_test").glob("0009_c1*"):
        path.unlink()  # what camera 2 saw of person 9 has nothing to be found in another camera
    scores = evaluation.evaluate(mean_colour, root)
    assert (scores.queries, scores.plain.valid_queries) == (8, 7)
    assert "1 queries without a match in another camera are not counted" in evaluation.table(scores)


def test_an_unreadable_picture_is_named(dataset, tmp_path):
    root = shutil.copytree(dataset, tmp_path / "copy")
    (root / "query" / "0010_c1s1_000000_00.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"0010_c1s1_000000_00\.jpg: not a whole JPEG"):
        evaluation.evaluate(mean_colour, root)
