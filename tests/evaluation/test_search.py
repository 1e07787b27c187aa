"""Search: the nearest, the cache, what is wrong."""

import json
import re
import shutil
from contextlib import closing

import numpy as np
import pytest
from conftest import refused, run

from mgn import search
from mgn.data.decoding import read_image
from mgn.data.records import image_files
from mgn.inference import load_embedder
from mgn.inference.graph import PRE_POST

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
        ([*right, "--cache", "mine.npz"], "mine.npz: is no cache of this program"),
        ([*right, "--cache", "mine.npz/a"], "a part of this path is a file"),
        ([*right, "--output_dir", tmp_path], "search-7.png exists"),
        (["--gallery", "bad", "--query", dataset / "query"], "none of its 1 images can be read"),
        (["--gallery", dataset / "query", "--query", "bad/x.jpg"], "x.jpg: not an image of a kind"),
    ):
        assert expected in refused(capsys, search, *model, *arguments)
    assert expected in refused(capsys, search, *model, *arguments)  # a cache is there now
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["search_cache"]
    assert (tmp_path / "mine.npz").read_bytes() == b"not a cache"
