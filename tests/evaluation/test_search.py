"""Search: the nearest, the cache, what is wrong."""

import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, run

from mgn import search
from mgn.config.threshold import Threshold
from mgn.data import probe
from mgn.data.decoding import read_image
from mgn.data.records import Record, Split, image_files
from mgn.evaluation import search as found
from mgn.evaluation.cached import InFolder
from mgn.inference import load_embedder
from mgn.inference.graph import PRE_POST
from mgn.system.errors import InputError

pytestmark = pytest.mark.usefixtures("shallow_network")


def test_the_nearest_are_printed_and_drawn(
    small_checkpoint, small_graphs, dataset, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    gallery = shutil.copytree(dataset / "bounding_box_test", tmp_path / "gallery")
    (gallery / "0009_c1s1_000000_00.jpg").rename(gallery / "holiday.jpg")
    query = dataset / "query" / "0011_c1s1_000000_00.jpg"
    arguments = ["--model", small_checkpoint, "--gallery", gallery, "--query", query, "--count", 3]
    assert run(search, *arguments) == 0
    first = capsys.readouterr()
    with closing(load_embedder(small_checkpoint)) as embed:
        files = image_files(gallery).paths
        features, target = embed([read_image(path) for path in files]), embed([read_image(query)])
    distances = np.linalg.norm(features - target, axis=1)
    found = re.findall(r"^ +\d+  (\d\.\d{4})  (.*)$", first.out, re.MULTILINE)
    assert [path for _, path in found] == [files[i] for i in np.argsort(distances)[:3]]
    assert [float(d) for d, _ in found] == pytest.approx(np.sort(distances)[:3], abs=2e-4)
    assert (tmp_path / "runs" / "search-1" / "search-1.png").stat().st_size > 10_000
    assert "26 of 26 gallery images embedded" in first.err

    (gallery / "holiday.jpg").write_bytes((gallery / "0012_c1s1_000001_00.jpg").read_bytes())
    (gallery / "0010_c1s1_000001_00.jpg").unlink()
    (gallery / "search-1.png").write_bytes(b"a sheet of another day")
    (gallery / "broken.png").write_bytes(b"")
    assert run(search, *arguments) == 0
    second = capsys.readouterr()
    assert "1 of 26 gallery images embedded, 24 from runs/search_cache/" in second.err
    assert ".npz, 1 unreadable\n" in second.err
    assert "left out, unreadable:" in second.err and "broken.png" in second.err
    (cache,) = tmp_path.glob("runs/search_cache/*.npz")
    assert len(json.loads(str(np.load(cache)["keys"]))) == 25
    assert run(search, *arguments[2:], "--model", small_graphs(PRE_POST)) == 0
    third = re.findall(r"^ +\d+  (\d\.\d{4})  (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert third == re.findall(r"^ +\d+  (\d\.\d{4})  (.*)$", second.out, re.MULTILINE)


def test_a_gallery_of_links_is_searched_and_the_rest_is_counted(
    small_checkpoint, dataset, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gallery").mkdir()
    images = sorted((dataset / "bounding_box_test").glob("*.jpg"))[:3]
    for image in images:
        (tmp_path / "gallery" / image.name).symlink_to(image)
    (tmp_path / "gallery" / "linked").symlink_to(dataset / "query")
    (tmp_path / "gallery" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "gallery" / "@eaDir").mkdir()
    for name in ("a.txt", "b.txt", "c.heic", "search-1.png", "@eaDir/0001_c1_1.jpg"):
        (tmp_path / "gallery" / name).touch()
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "q.jpg").symlink_to(images[0])
    (tmp_path / "query" / "notes.txt").touch()
    arguments = ["--model", small_checkpoint, "--gallery", "gallery", "--query", "query"]
    assert run(search, *arguments, "--count", 99) == 0
    out, err = capsys.readouterr()
    assert len(re.findall(r"^ +\d+  \d\.\d{4}  ", out, re.MULTILINE)) == 3 + 8
    left_out = "2 .txt, 2 hidden, 1 .heic, 1 sheets"  # @eaDir and Thumbs.db
    assert f"--gallery gallery: left out: {left_out}\n" in err
    assert "--query query: left out: 1 .txt\n" in err
    assert "left out, unreadable: 'gallery/gone.jpg'" in err


def test_several_queries_their_results_and_who_is_in_the_gallery(
    small_checkpoint, small_graphs, dataset, tmp_path, capsys, monkeypatch
):
    """Against a plain loop; the threshold is of the checkpoint, and its exports take it too."""
    monkeypatch.chdir(tmp_path)
    gallery, query = dataset / "bounding_box_test", dataset / "query"
    asked = [query / "0011_c1s1_000000_00.jpg", query / "0009_c2s1_000000_00.jpg"]
    with closing(load_embedder(small_checkpoint)) as embed:
        files = image_files(gallery)
        features = embed([read_image(path) for path in files.paths])
        targets = embed([read_image(path) for path in asked])
        seen = probe.as_text(probe.embedded_by(embed))
    expected = []
    for target, camera in zip(targets, (1, 2), strict=True):
        distances = np.linalg.norm(features - target, axis=1)
        distances[files.cameras == camera] = np.inf
        order = np.argsort(distances)[:3]
        expected.append([(files.paths[i], distances[i]) for i in order])
    limit = float(expected[0][0][1] + expected[1][0][1]) / 2  # one is in the gallery, the other not
    values = {"format": "mgn threshold 1", "max_false_matches": 0.01, "confidence": 0.95}
    values |= {"no_flip": False, "normalise_parts": False}
    values["model"] = {"hash": "another file of it", "probe": seen}
    values["open_set"] = {"distance": limit, "gallery_identities": 3, "gallery_images": 20}
    (tmp_path / "threshold.json").write_text(json.dumps(values))
    arguments = ["--gallery", gallery, "--query", *asked, asked[0], "--count", 3]
    arguments += ["--other_cameras", "--threshold", "threshold.json"]
    for number, model in enumerate((small_checkpoint, small_graphs(PRE_POST)), start=1):
        assert run(search, "--model", model, *arguments) == 0
        out, err = capsys.readouterr()
        stored = json.loads((tmp_path / f"runs/search-{number}/results.json").read_text())
        assert [q["path"] for q in stored["queries"]] == [str(path) for path in asked]
        for entry, nearest in zip(stored["queries"], expected, strict=True):
            assert [e["path"] for e in entry["nearest"]] == [path for path, _ in nearest]
            got = [e["distance"] for e in entry["nearest"]]
            assert got == pytest.approx([d for _, d in nearest], abs=2e-4)
            assert entry["in_gallery"] == (nearest[0][1] <= limit)
            verdict = "in the gallery" if entry["in_gallery"] else "not in the gallery"
            assert f"{entry['path']}\n  {verdict}: threshold {limit:g}\n" in out
        assert {q["in_gallery"] for q in stored["queries"]} == {True, False}
        assert stored["threshold"]["promise"] == "at most 0.01 of strangers, confidence 0.95"
        assert "gallery of 20 images of 3 identities, and this one has 26 images" in err
        assert "note: --other_cameras: 0" not in err and "results.json" in out
    values["model"]["probe"] = probe.as_text(np.float32(targets[0]))
    (tmp_path / "threshold.json").write_text(json.dumps(values))
    line = refused(capsys, search, "--model", small_checkpoint, *arguments)
    assert "--threshold threshold.json: made for another model (" in line
    values["open_set"] = {"distance": None, "why": "3 strangers of 299 needed"}
    (tmp_path / "threshold.json").write_text(json.dumps(values))
    line = refused(capsys, search, "--model", small_checkpoint, *arguments)
    assert "has no threshold for 'is this person in the gallery?' (3 strangers" in line


def named(*cameras):
    return Split(tuple(Record(f"{i}.jpg", -2, camera) for i, camera in enumerate(cameras)), 0, 0)


def in_memory(gallery, features):
    """The gallery as `InFolder` has it once it has embedded all."""
    place = InFolder(gallery, "", Path("nowhere.npz"), "")
    place._features = features
    return place


def test_ones_own_camera_is_left_out():
    """By hand, on a line; an image of no known camera stays."""
    features = np.float32([[1], [2], [3], [4]])
    ranked = in_memory(named(1, 2, 1, -2), features).ranked
    rows = found.rank(ranked, named(2, 1), np.float32([[2], [1]]), 2, True)
    assert [[entry.path for entry, _ in row.entries] for row in rows] == [
        ["0.jpg", "2.jpg"],
        ["1.jpg", "3.jpg"],
    ]
    assert [[distance for _, distance in row.entries] for row in rows] == [[1, 1], [1, 3]]
    same = in_memory(named(1, 1), features[:2]).ranked
    rows = found.rank(same, named(1), np.float32([[1]]), 2, True)
    assert rows[0].entries == () and not found.accepted(rows[0], Threshold(9.0))
    rows = found.rank(ranked, named(2), np.float32([[2]]), 1)
    assert found.accepted(rows[0], Threshold(0.0))


def test_cameras_that_leave_nothing(capsys):
    def check(query, gallery):
        in_memory(gallery, None).check_cameras(query, gallery)

    check(named(1, 2), named(1, 2))
    assert not capsys.readouterr().err
    check(named(1), named(1, -2, -2))
    assert "2 gallery images, whose names tell no camera, stay" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"1\.jpg: its name does not tell its camera"):
        check(named(1, -2), named(1, 2))
    with pytest.raises(InputError, match=r"by camera 3, that of 0\.jpg; leave out"):
        check(named(3), named(3, 3))


def test_wrong_input(small_checkpoint, dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jpg").write_bytes(b"\xff\xd8 cut off")
    (tmp_path / "mine.npz").write_bytes(b"not a cache")
    (tmp_path / "search-7.png").touch()
    model = ["--model", small_checkpoint]
    right = ["--gallery", dataset / "query", "--query", dataset / "query"]
    for arguments, expected in (
        (["--gallery", dataset / "query"], "required: --query"),
        (["--gallery", "nowhere", "--query", dataset], "nowhere: no such file or folder"),
        (["--gallery", "empty", "--query", dataset], "empty: no image in it"),
        (["--gallery", dataset / "query", "--query", "empty"], "empty: no image in it"),
        ([*right, "--cache", "mine.npz"], "mine.npz: not a cache of mgn.search"),
        ([*right, "--cache", "mine.npz/a"], "a part of this path is a file"),
        ([*right, "--output_dir", tmp_path], "has search-7.png already"),
        (["--gallery", "bad", "--query", dataset / "query"], "none of its 1 images can be read"),
        ([*right, "--threshold", "near"], "'near' is not a number from 0, nor a file"),
        ([*right, "--threshold", "bad/x.jpg"], "not a readable JSON file"),
        ([*right, "bad/x.jpg", "--other_cameras"], "bad/x.jpg: its name does not tell its camera"),
        (
            ["--gallery", dataset / "query", "--query", "bad/x.jpg"],
            "x.jpg: not an image in a format",
        ),
    ):
        assert expected in refused(capsys, search, *model, *arguments)
    assert expected in refused(capsys, search, *model, *arguments)  # a cache is there now
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["search_cache"]
    assert (tmp_path / "mine.npz").read_bytes() == b"not a cache"
