"""What an evaluation leaves behind: the record, the images, the page, seen in a browser if there is
one."""

import base64
import dataclasses
import errno
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import mean_colour

from mgn.data.decoding import read_image
from mgn.data.records import read_split
from mgn.evaluation import page, report, scoring
from mgn.evaluation.embedding import embed_query_and_gallery
from mgn.evaluation.featurefile import Embedded
from mgn.system.errors import CheckError


@pytest.fixture(scope="module")
def examined(dataset):
    embedded = embed_query_and_gallery(
        mean_colour, read_split(dataset, "query"), read_split(dataset, "gallery")
    )
    return report.examine(
        scoring.score(embedded, rerank=True), embedded, "models/<best>", str(dataset)
    )


@pytest.fixture(scope="module")
def written(examined, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    drawings = page.draw(examined, folder, read_image, None)
    assert not drawings.failed
    return [report.write_scores(examined, folder), *drawings.paths]


def test_the_record_holds_every_figure(examined, written):
    stored = json.loads(written[0].read_text())
    names = {"mAP", "mAP_official", "mINP", "rank@1", "rank@3", "rank@5", "rank@10"}
    assert names <= set(stored) and set(stored["reranked"]) == names
    assert (stored["queries"], stored["valid_queries"], stored["gallery"]) == (8, 8, 25)
    assert stored["verification"]["threshold"] == examined.verified.threshold
    assert [pair["query_camera"] for pair in stored["camera_pairs"]] == [1, 2]
    worst = [query["average_precision"] for query in stored["worst_queries"]]
    assert worst == sorted(worst) and len(worst) == 8
    plain = examined.scores.plain
    assert (
        stored["worst_queries"][0]["first_match_rank"] == plain.first_match[examined.worst[0]] + 1
    )


def test_the_images_are_drawn(written):
    assert [p.name for p in written] == [
        "metrics.json",
        "cmc.png",
        "distances.png",
        "roc.png",
        "worst-1.png",
        "sample-1.png",
        "report.html",
    ]
    for path in written[1:6]:
        drawn = cv2.imread(str(path))
        assert drawn.shape[0] > 300 and drawn.std() > 10, path


def test_the_rows_of_a_sheet_are_the_nearest(examined):
    e = examined.embedded
    (row,) = report.ranked_rows(examined, [3])
    distances = np.linalg.norm(e.gallery_features.astype(float) - e.query_features[3], axis=1)
    expected = np.argsort(distances, kind="stable")[:10]
    assert row.query == e.query.records[3]
    assert [entry for entry, _ in row.entries] == [e.gallery.records[i] for i in expected]
    assert [d for _, d in row.entries] == pytest.approx(distances[expected], abs=1e-6)
    assert row.ap == examined.scores.plain.average_precision[3]


def test_the_terminal_says_all_of_it(examined):
    text, stored = report.as_text(examined), report.as_dict(examined)
    verified = stored["verification"]
    assert f"distance below {verified['threshold']:.4f}" in text
    assert f"{verified['tpr@fpr=1e-2']:.1%} at 1e-2, {verified['tpr@fpr=1e-3']:.1%} at 1e-3" in text
    assert f"equal error rate {verified['eer']:.2%}" in text
    assert scoring.camera_table(examined.camera_pairs) in text
    for worst in stored["worst_queries"]:
        assert re.search(
            rf"^{worst['average_precision']:.4f} .*{worst['query']}$", text, re.MULTILINE
        )


def test_one_person_has_scores_but_no_threshold(examined, tmp_path):
    """Nobody is different, so there is nothing to verify; the scores are not lost for it."""
    e = examined.embedded
    one = [[r.person == 9 for r in split.records] for split in (e.query, e.gallery)]
    alone = Embedded(
        e.query.only(one[0]),
        e.gallery.only(one[1]),
        e.query_features[one[0]],
        e.gallery_features[one[1]],
    )
    result = report.examine(scoring.score(alone), alone, "m", "d")
    assert result.verified is None and report.as_dict(result)["verification"] is None
    assert "same or different" not in report.as_text(result)
    made = page.draw(result, tmp_path, read_image, None).paths
    assert [p.name for p in made] == ["cmc.png", "worst-1.png", "sample-1.png", "report.html"]
    assert "Same or different" not in made[-1].read_text()


def test_what_cannot_be_drawn_costs_nothing_else(examined, tmp_path, monkeypatch):
    def half_drawn(_report, folder):
        (folder / "cmc.png").write_bytes(b"\x89PNG")
        raise ValueError("no font\nat all")

    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space")

    monkeypatch.setattr(report, "_draw_curves", half_drawn)
    monkeypatch.setattr(report, "_draw_heads", no_room)
    drawings = page.draw(examined, tmp_path, read_image, "a checkpoint")
    names = ["worst-1.png", "sample-1.png", "report.html"]
    assert [path.name for path in drawings.paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    failed = ["curves (no font)", "heads.png (the disk is full; free some space)"]
    assert drawings.failed == failed
    told = re.escape(f"could not be drawn: {', '.join(failed)}; the scores are in x/metrics.json")
    with pytest.raises(CheckError, match=f"^{told}$"):
        drawings.check(Path("x/metrics.json"))


def test_images_of_equal_names_are_told_apart(examined, tmp_path, monkeypatch):
    """Eight queries 0009_c1s1.jpg in as many folders are eight rows, not one."""
    e = examined.embedded
    records = [
        dataclasses.replace(record, path=f"/data/{i}/0009_c1s1.jpg")
        for i, record in enumerate(e.query.records)
    ]
    query = dataclasses.replace(e.query, records=tuple(records))
    equal = dataclasses.replace(examined, embedded=dataclasses.replace(e, query=query))
    drawn = []
    monkeypatch.setattr(report, "head_maps", lambda _checkpoint, images: images)
    monkeypatch.setattr(report, "draw_head_maps", lambda *arguments: drawn.append(arguments))
    drawings = report.draw_pictures(equal, tmp_path, lambda path: path, "a checkpoint")
    assert "heads.png" in [path.name for path in drawings.paths]
    ((images, titles, _, _),) = drawn
    chosen = {*examined.worst[:4], *examined.sample[:4]}
    assert sorted(titles) == sorted(f"{i}/0009_c1s1.jpg" for i in chosen)
    assert images == [f"/data/{title}" for title in titles]
    text = page.write_page(equal, tmp_path, []).read_text()
    assert "<td>7/0009_c1s1.jpg</td>" in text and "mean of" not in text
    drawn = scoring.score(equal.embedded, draws=7)
    text = page.write_page(dataclasses.replace(equal, scores=drawn), tmp_path, []).read_text()
    assert f"<p>{scoring.draws_line(drawn.drawn)}</p>" in text


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], []),
        (["a/x.jpg", "b/y.jpg"], ["x.jpg", "y.jpg"]),
        (["a/x.jpg", "a/x.jpg"], ["x.jpg", "x.jpg"]),
        (["a/c/x.jpg", "b/c/x.jpg", "y.jpg"], ["a/c/x.jpg", "b/c/x.jpg", "y.jpg"]),
        (["x.jpg", "a/x.jpg"], ["x.jpg", "a/x.jpg"]),
    ],
)
def test_short_names(paths, expected):
    assert report.short_names(paths) == expected


def test_a_folder_of_any_name_takes_the_page(examined, tmp_path):
    folder = tmp_path / "a\udcff$"
    folder.mkdir()
    assert not page.draw(examined, folder, read_image, None).failed


def test_the_page_stands_alone(examined, written):
    text = written[-1].read_text(encoding="utf-8")
    assert "<script" not in text and not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert "models/&lt;best&gt;" in text and "<best>" not in text
    for result in (examined.scores.plain, examined.scores.reranked):
        for value in result.summary().values():
            assert f"<td>{value:.4f}</td>" in text
    assert f"<td>{examined.verified.threshold:.5f}</td>" in text
    for pair in examined.camera_pairs:
        assert f"<td>{pair.gallery_camera}</td><td>4</td><td>{pair.mAP:.4f}</td>" in text
    for path, ap, rank in report.worst_rows(examined):
        assert f"<td>{Path(path).name}</td><td>{ap:.4f}</td><td>{rank}</td>" in text
    embedded = re.findall(r'alt="(\S+)" src="data:image/(png|jpeg);base64,([^"]+)"', text)
    assert [name for name, *_ in embedded] == ["cmc", "distances", "roc", "worst-1", "sample-1"]
    for _, _, data in embedded:
        assert (
            cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
            is not None
        )


def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.mark.skipif(
    browser() is None, reason="no Chromium or Chrome installed to look at the page with"
)
def test_a_browser_shows_the_page(written, tmp_path):
    """In a window of 1200x3000: the heading's ink at the top, both curves side by side, a sheet
    below."""
    shot = tmp_path / "page.png"
    command = [
        browser(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1200,3000",
    ]
    arguments = [
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--screenshot={shot}",
        written[-1].as_uri(),
    ]
    subprocess.run([*command, *arguments], check=True, capture_output=True, timeout=120)
    seen = cv2.imread(str(shot))
    assert seen.shape == (3000, 1200, 3)
    assert (seen[:150] < 100).all(axis=2).any()  # the heading
    columns = (seen != 255).any(axis=2).any(axis=0)
    assert columns[100:1100].mean() > 0.9 and not columns[:10].any()  # filled, within its margins
    assert (seen[-1500:] != 255).any(axis=2).mean() > 0.2  # the ranked sheet
