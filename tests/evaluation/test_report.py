"""What an evaluation leaves behind: the record, the images, the page, seen in a browser if there is
one."""

import base64
import json
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import mean_colour

from mgn.data.reading import ImageReader
from mgn.data.records import read_split
from mgn.evaluation import page, report, scoring
from mgn.evaluation.embedding import Embedded, embed_query_and_gallery


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
    with closing(ImageReader()) as read:
        made = report.write(examined, folder, read)
    return [*made, page.write_page(examined, folder, made)]


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
    with closing(ImageReader()) as read:
        made = report.write(result, tmp_path, read)
    assert [p.name for p in made] == ["metrics.json", "cmc.png", "worst-1.png", "sample-1.png"]
    assert "Same or different" not in page.write_page(result, tmp_path, made).read_text()


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
