"""From image files to scores: the right image in the right row, camera pairs, tables, errors."""

import dataclasses
import io
import re
import shutil

import cv2
import numpy as np
import pytest
from conftest import mean_colour

from mgn import metrics
from mgn.data import probe
from mgn.data.decoding import read_image
from mgn.data.records import read_split
from mgn.evaluation import embedding, scoring
from mgn.evaluation.embedding import embed_query_and_gallery, embed_split
from mgn.system.errors import InputError


@pytest.fixture
def embedded(dataset):
    query, gallery = read_split(dataset, "query"), read_split(dataset, "gallery")
    return embed_query_and_gallery(mean_colour, query, gallery)


def test_every_row_is_its_image(dataset):
    split = read_split(dataset, "gallery")
    used, got, skipped = embed_split(mean_colour, split, read_image, "gallery")
    assert len(got) == 25 and used == split and not skipped
    for row, record in zip(got, split.records, strict=True):
        expected = cv2.imread(record.path)[:, :, ::-1].mean(axis=(0, 1))
        assert row[:3] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)


def test_scores_are_those_of_the_features(dataset, embedded):
    scores = scoring.score(embedded, rerank=True)
    query, gallery = read_split(dataset, "query"), read_split(dataset, "gallery")
    features = embedded.query_features, embedded.gallery_features
    labels = query.persons, gallery.persons, query.cameras, gallery.cameras
    assert scores.plain.summary() == metrics.evaluate(*features, *labels).summary()
    distances = metrics.rerank(*features)
    assert scores.reranked.summary() == metrics.evaluate_distances(distances, *labels).summary()
    assert scores.plain.mAP > 0.9  # identities differ by colour in this set
    assert scoring.evaluate(mean_colour, dataset).plain.summary() == scores.plain.summary()

    text = scoring.table(scores)
    assert re.search(rf"mAP +{scores.plain.mAP:.4f} +{scores.reranked.mAP:.4f} +step AP", text)
    assert "8 queries, 25 gallery images" in text
    assert scoring.summary_line(scores).startswith(f"mAP {scores.plain.mAP:.4f}  rank@1 ")


def test_parts_are_scored_by_their_own_lengths(embedded):
    """Against a loop over heads; the file of the features keeps the whole ones."""
    rng = np.random.default_rng(0)
    query = embedded.query_features * rng.uniform(0.1, 9, 2048).astype(np.float32)
    query += rng.normal(size=query.shape).astype(np.float32)
    gallery = rng.normal(size=embedded.gallery_features.shape).astype(np.float32)
    given = dataclasses.replace(embedded, query_features=query, gallery_features=gallery)
    made = scoring.normalised(given, "parts")
    for features, parts in ((query, made.query_features), (gallery, made.gallery_features)):
        for row, got in zip(features, parts, strict=True):
            stretches = [row[i : i + 256] for i in range(0, 2048, 256)]
            expected = np.concatenate([s / np.linalg.norm(s) / np.sqrt(8) for s in stretches])
            np.testing.assert_allclose(got, expected, rtol=1e-5)
    scores = scoring.score(made)
    assert scores.as_dict()["normalise"] == "parts" and "by itself" in scoring.counts_line(scores)
    assert scores.plain.mAP != scoring.score(given).plain.mAP
    assert "normalise" not in scoring.score(scoring.normalised(given, "whole")).as_dict()
    for size in (12, 256):  # the second is of smaller vectors, and has no heads either
        narrow = dataclasses.replace(given, query_features=query[:, :size])
        with pytest.raises(InputError, match=f"--normalise parts: features of {size} numbers"):
            scoring.normalised(narrow, "parts")


def test_queries_without_a_match_are_said(dataset, tmp_path):
    root = shutil.copytree(dataset, tmp_path / "copy")
    for path in (root / "bounding_box_test").glob("0009_c1*"):
        path.unlink()  # what camera 2 saw of person 9 has nothing to be found in another camera
    scores = scoring.evaluate(mean_colour, root)
    assert (scores.queries, scores.plain.valid_queries) == (8, 7)
    assert "1 queries without a match in another camera are not counted" in scoring.table(scores)
    worst = scoring.worst_queries(scores, 8)
    assert len(worst) == 7  # the one without a match is not among them
    precision = scores.plain.average_precision[worst]
    assert (np.diff(precision) >= 0).all() and precision[0] == np.nanmin(
        scores.plain.average_precision
    )


def test_camera_pairs_are_scores_of_a_part(embedded):
    """Against the whole evaluation with the gallery cut down to one camera by hand."""
    pairs = scoring.score_camera_pairs(embedded)
    assert [(p.query_camera, p.gallery_camera) for p in pairs] == [(1, 2), (2, 1)]
    for pair in pairs:
        queries = [i for i, r in enumerate(embedded.query.records) if r.camera == pair.query_camera]
        entries = [
            i for i, r in enumerate(embedded.gallery.records) if r.camera == pair.gallery_camera
        ]
        labels = [
            x[i] for x, i in zip(embedded.labels, (queries, entries, queries, entries), strict=True)
        ]
        features = embedded.query_features[queries], embedded.gallery_features[entries]
        expected = metrics.evaluate(*features, *labels)
        assert (pair.mAP, pair.rank1, pair.valid_queries) == (expected.mAP, expected.cmc[0], 4)
    text = scoring.camera_table(pairs)
    assert re.search(rf"cam\. 1 +- +{pairs[0].mAP:.3f} / {pairs[0].rank1:.3f}$", text, re.MULTILINE)


def test_a_camera_pair_without_a_match_has_no_score(embedded):
    records = [
        dataclasses.replace(r, camera=9) if r.person == 0 else r for r in embedded.gallery.records
    ]
    alone = dataclasses.replace(
        embedded, gallery=dataclasses.replace(embedded.gallery, records=tuple(records))
    )
    pairs = {(p.query_camera, p.gallery_camera): p for p in scoring.score_camera_pairs(alone)}
    assert pairs[1, 9].valid_queries == 0 and np.isnan(pairs[1, 9].mAP)
    assert re.search(r"cam\. 1 .* -$", scoring.camera_table(list(pairs.values())), re.MULTILINE)


@pytest.fixture
def damaged(dataset, tmp_path):
    root = shutil.copytree(dataset, tmp_path / "damaged")
    (root / "query" / "0010_c1s1_000000_00.jpg").write_bytes(b"")
    return root


def test_an_unreadable_image_is_named_or_left_out_and_counted(damaged):
    with pytest.raises(
        InputError, match=r"0010_c1s1_000000_00\.jpg: empty file; repair or remove it"
    ):
        scoring.evaluate(mean_colour, damaged)
    query, gallery = read_split(damaged, "query"), read_split(damaged, "gallery")
    embedded = embed_query_and_gallery(mean_colour, query, gallery, skip_unreadable=True)
    assert [len(x) for x in (embedded.query_features, embedded.query.records)] == [7, 7]
    scores = scoring.score(embedded)
    assert scores.as_dict()["skipped"] == [str(damaged / "query" / "0010_c1s1_000000_00.jpg")]
    assert "1 unreadable images are left out" in scoring.table(scores)


def test_a_split_without_a_readable_image_is_refused(damaged):
    for path in (damaged / "query").glob("*.jpg"):
        path.write_bytes(b"")
    splits = read_split(damaged, "query"), read_split(damaged, "gallery")
    with pytest.raises(
        InputError, match=r"query: none of its images can be read, such as .*0009_c1"
    ):
        embed_query_and_gallery(mean_colour, *splits, skip_unreadable=True)


def test_a_image_whose_embedding_is_not_finite_is_named(dataset):
    def broken(images):
        features = mean_colour(images)
        features[1] = np.nan
        return features

    with pytest.raises(
        InputError, match=r"0009_c2s1_000000_00\.jpg: .* NaN or infinite \(1 of 8 images\)"
    ):
        scoring.evaluate(broken, dataset)


def test_features_in_a_file_score_the_same_and_only_with_their_images(damaged, tmp_path):
    query, gallery = read_split(damaged, "query"), read_split(damaged, "gallery")
    embedded = embed_query_and_gallery(mean_colour, query, gallery, skip_unreadable=True)
    path = tmp_path / "features.npz"
    embedding.save_features(path, embedded, (query, gallery), "abc")
    for model in ("abc", None):
        loaded = embedding.load_features(path, query, gallery, model)
        assert (loaded.query, loaded.gallery, loaded.skipped) == (
            embedded.query,
            embedded.gallery,
            embedded.skipped,
        )
        assert scoring.score(loaded).plain.summary() == scoring.score(embedded).plain.summary()
    with pytest.raises(InputError, match="made by another model"):
        embedding.load_features(path, query, gallery, "abd")
    with pytest.raises(InputError, match="made with the mirror image"):
        embedding.load_features(path, query, gallery, "abc", flip=False)
    (damaged / "query" / "0012_c1s1_000000_00.jpg").write_bytes(b"the same name")
    with pytest.raises(InputError, match="made from other query images"):
        embedding.load_features(path, read_split(damaged, "query"), gallery, "abc")
    with pytest.raises(InputError, match="exists"):
        embedding.save_features(path, embedded, (query, gallery), "abc")
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for contents in (path.read_bytes()[:500], b"", b"hello", array.getvalue()):
        (tmp_path / "bad.npz").write_bytes(contents)
        with pytest.raises(InputError, match=r"bad\.npz: not a complete feature file"):
            embedding.load_features(tmp_path / "bad.npz", query, gallery, None)


class MeanColour:
    """A model."""

    def __call__(self, images, flip):
        return mean_colour(images) * (1 if flip else -1)

    def close(self):
        """Nothing is held."""


@pytest.mark.parametrize("flip", [True, False])
def test_features_know_their_model(dataset, tmp_path, flip):
    """Freshly made, and from a file; one of an older version has no embedding of the probe."""
    splits = read_split(dataset, "query"), read_split(dataset, "gallery")
    path = tmp_path / "features.npz"
    made, keep = embedding.load_or_embed(path, *splits, MeanColour, "abc", flip)
    keep()
    read, _ = embedding.load_or_embed(path, *splits, None, None, flip)
    for embedded in (made, read):
        assert (embedded.made_by, embedded.flip) == ("abc", flip)
        expected = mean_colour([probe.image()])[0] * (1 if flip else -1)
        np.testing.assert_array_equal(embedded.probe, expected)
    with np.load(path) as stored:
        older = {name: stored[name] for name in stored.files if name != "probe"}
    np.savez(path, **older)
    assert embedding.load_features(path, *splits, "abc", flip).probe is None
    without = dataclasses.replace(made, probe=None)
    embedding.save_features(tmp_path / "one_size.npz", without, splits, "abc", flip)
    loaded = embedding.load_features(tmp_path / "one_size.npz", *splits, "abc", flip)
    assert loaded.probe is None


def test_draws_are_reported_and_written(dataset):
    embedded = embedding.embed_query_and_gallery(
        mean_colour, read_split(dataset, "query"), read_split(dataset, "gallery")
    )
    scores = scoring.score(embedded, draws=7)
    told = "one gallery image of each of 4 identities, mean of 7 draws: rank@1 "
    assert scoring.table(scores).splitlines()[-1].startswith(told)
    assert scores.as_dict()["single_gallery_shot"]["draws"] == 7
    pooled = scoring.score(embedded, pooled=True).drawn  # of query and gallery, distractor too
    assert (pooled.draws, pooled.identities) == (10, 5)
    assert "single_gallery_shot" not in scoring.score(embedded).as_dict()
