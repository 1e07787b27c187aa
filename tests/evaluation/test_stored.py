"""`mgn.search --store`: with the other options, against the folder's search; wrong on purpose."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, run
from stores import serve

from mgn import search
from mgn.config.storing import Where
from mgn.data.records import image_files
from mgn.evaluation import stored
from mgn.evaluation.store import open_store
from mgn.evaluation.stored import InStore
from mgn.inference.graph import PRE_POST
from mgn.system.errors import InputError

pytest.importorskip("pymilvus")
pytestmark = pytest.mark.usefixtures("shallow_network")


def by_pixels(images):
    """A model that is quick: the mean colour, as a vector of length 1."""
    made = np.stack([np.append(image.mean(axis=(0, 1)), 1) for image in images])
    return np.float32(made / np.linalg.norm(made, axis=1, keepdims=True))


def constant(path):
    """An image of one colour for each name; "bad" cannot be read."""
    if "bad" in path:
        raise InputError(f"{path}: unreadable")
    rng = np.random.default_rng(abs(hash(Path(path).name)) % 2**32)
    return np.full((2, 2, 3), rng.integers(1, 256, 3), np.uint8)


def results(number):
    return json.loads(Path(f"runs/search-{number}/results.json").read_text())


def check_same(found, expected):
    """Of each query the same names, at the same distances."""
    for one, other in zip(found["queries"], expected["queries"], strict=True):
        for entry, right in zip(one["nearest"], other["nearest"], strict=True):
            assert Path(entry["path"]).name == Path(right["path"]).name
            assert entry["distance"] == pytest.approx(right["distance"], abs=1e-5)


def test_the_search_of_a_store_is_that_of_its_folder(
    small_checkpoint, small_graphs, dataset, tmp_path, capsys, monkeypatch
):
    """With a count, other cameras, a threshold; filtered, that of a folder of what is left."""
    monkeypatch.chdir(tmp_path)
    gallery = shutil.copytree(dataset / "bounding_box_test", tmp_path / "gallery")
    files = sorted(gallery.glob("*.jpg"))
    for i, file in enumerate(files):
        os.utime(file, (1_700_000_000 + i, 1_700_000_000 + i))
    (gallery / "bad.jpg").write_bytes(b"no image")
    (gallery / "gone.jpg").symlink_to("nowhere")
    shown = ["--query", dataset / "query", "--count", 4, "--other_cameras", "--threshold", 0.5]
    model = ["--model", small_checkpoint]
    in_store = [*model, "--store", "g.db"]
    assert run(search, *model, "--gallery", gallery, *shown) == 0
    expected = results(1)
    capsys.readouterr()

    assert run(search, *in_store, "--gallery", gallery) == 0
    out, err = capsys.readouterr()
    assert out == "26 images in g.db\n" and "26 of 28 gallery images embedded, 0 from g.db" in err
    assert len(re.findall("left out, unreadable", err)) == 2 and not Path("runs/search-2").exists()
    assert run(search, *in_store, *shown) == 0
    found = results(2)
    check_same(found, expected)
    assert [q["in_gallery"] for q in found["queries"]] == [
        q["in_gallery"] for q in expected["queries"]
    ]
    assert found["store"] == "g.db" and found["index"] == "exact" and found["gallery_images"] == 26
    assert Path("runs/search-2/search-1.png").stat().st_size > 10_000

    # One file is changed, one new, one gone from the folder (and so still in the store).
    files[0].write_bytes(files[5].read_bytes())
    shutil.copy(files[3], gallery / "0099_c2s1_000000_00.jpg")
    files[1].unlink()
    both = ["--gallery", gallery, *shown, "--index", "approximate"]
    assert run(search, *in_store, *both) == 0
    err = capsys.readouterr().err
    assert "2 of 28 gallery images embedded, 24 from g.db, 2 unreadable" in err
    assert re.search(r"g.db: approximate index: recall@10 [01]\.\d{3} of stored images", err)
    assert results(3)["gallery_images"] == 27 and results(3)["index"] == "approximate"

    shutil.copytree(gallery, tmp_path / "part", symlinks=True)
    for file in (tmp_path / "part").iterdir():
        status = file.lstat().st_mtime
        if "_c2" not in file.name or not 1_700_000_004 <= status < 1_700_000_020:
            file.unlink()
    assert run(search, *model, "--gallery", "part", "--query", dataset / "query") == 0
    part = ["--cameras", 2, "--since", "2023-11-14T22:13:24Z", "--until", "2023-11-14T22:13:40"]
    assert run(search, *in_store, "--query", dataset / "query", *part) == 0
    check_same(results(5), results(4))
    assert (results(5)["cameras"], results(5)["since"]) == ([2], "2023-11-14T22:13:24Z")

    # All at once, in a new store, with a name that is not valid text.
    shutil.copy(files[4], os.fsencode(gallery) + b"/\xff.jpg")
    all_at_once = [*model, "--store", "new.db", "--gallery", gallery, *shown]
    assert run(search, *all_at_once) == 0
    assert (
        "26 of 29 gallery images embedded, 0 from new.db, 3 unreadable" in capsys.readouterr().err
    )
    Path(os.fsdecode(os.fsencode(gallery) + b"/\xff.jpg")).unlink()
    assert run(search, *model, "--gallery", gallery, *shown) == 0
    check_same(results(6), results(7))

    line = refused(capsys, search, "--model", small_graphs(PRE_POST), *in_store[2:], *shown)
    assert "--store g.db: made by another model, or with other options of it" in line


def test_what_is_forgotten_stays_so(small_checkpoint, dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gallery = dataset / "bounding_box_test"
    in_store = ["--model", small_checkpoint, "--store", "g.db"]
    assert run(search, *in_store, "--gallery", gallery) == 0
    others = [image for image in image_files(gallery).records if image.person != 11]
    image = Path(next(record.path for record in others if record.person == 9))
    capsys.readouterr()
    forget = ["--store", "g.db", "--forget", "0011", "--forget_image", image.name]
    assert run(search, *forget) == 0
    removed = 26 - len(others)
    assert capsys.readouterr().out.splitlines() == [
        f"forgotten: identity 0011: {removed} images",
        f"forgotten: image {image.name!r}: 1 images",
        f"{len(others) - 1} images are left in g.db",
    ]
    assert run(search, *in_store, "--gallery", gallery) == 0
    out, err = capsys.readouterr()
    assert out == f"{len(others) - 1} images in g.db\n"
    assert f"0 of 26 gallery images embedded, {len(others) - 1} from g.db, {removed + 1} for" in err
    query = dataset / "query" / "0011_c1s1_000000_00.jpg"
    line = refused(capsys, search, *in_store, "--query", query)
    assert (
        f"--query {query}: identity 0011 was forgotten on 2" in line and "forgotten.jsonl" in line
    )
    line = refused(capsys, search, "--store", "g.db", "--forget", "987")
    assert "has no identity 0987; nothing was forgotten" in line
    log = Path("g.db/forgotten.jsonl").read_text()
    states = [json.loads(line)["state"] for line in log.splitlines()]
    assert states == ["begun", "begun", "done", "done"]

    # Killed before it was done, the log says so; by hand what is forgotten can be taken back.
    Path("g.db/forgotten.jsonl").write_text("".join(log.splitlines(keepends=True)[:3]))
    assert run(search, *in_store, "--query", dataset / "query" / "0009_c2s1_000000_00.jpg") == 0
    warning = f"forgetting image {image.name!r} was interrupted; repeat the command"
    assert f"warning: --store g.db: {warning}" in capsys.readouterr().err
    Path("g.db/forgotten.jsonl").unlink()
    assert run(search, *in_store, "--gallery", gallery) == 0
    assert capsys.readouterr().out == "26 images in g.db\n"
    assert run(search, "--store", "g.db", "--forget_before", "0d") == 0
    assert capsys.readouterr().out.endswith(": 26 images\n0 images are left in g.db\n")
    assert run(search, "--store", "g.db", "--index", "approximate") == 0
    assert capsys.readouterr().err == "g.db: approximate index\n"
    line = refused(capsys, search, *in_store, "--gallery", gallery)
    assert f"--gallery {gallery}: none of its 26 images can be stored" in line


def test_wrong_input(small_checkpoint, dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file.db").write_text("mine")
    (tmp_path / "empty").mkdir()
    Path("results.json").write_text("mine")
    model = ["--model", small_checkpoint]
    query, gallery = ["--query", dataset / "query"], ["--gallery", dataset / "query"]
    for arguments, expected in (
        (["--store", "file.db", *query], "--store file.db: is a file, not a store"),
        (["--store", "none.db", *query], "no such store; make it with --gallery"),
        (["--store", "none", *query], "'none' is neither a name that ends in .db"),
        (["--store", "http://127.0.0.1:1", *query], "no Milvus server answers there"),
        (["--store", "g.db", "--gallery", "empty"], "empty: no image in it"),
        (["--store", "g.db", *query, "--output_dir", tmp_path], "has results.json already"),
        (["--store", "g.db", *query, "--since", "soon"], "'soon' is not a time such as"),
        (["--store", "g.db", *query, "--cameras", "a"], "'a' is not numbers of cameras"),
        (
            ["--store", "g.db", "--gallery", dataset / "query", "--forget_log", "results.json"],
            "1 is",
        ),
    ):
        assert expected in refused(capsys, search, *model, *arguments)
    assert Path("results.json").read_text() == "mine" == Path("file.db").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file.db", "results.json"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pymilvus", None)
        line = refused(capsys, search, *model, "--store", "g.db", *gallery)
        assert "pymilvus is not installed: pip install -r doc/store-requirements.txt" in line
        assert run(search, *model, *gallery, *query) == 0  # all else works without it


def test_a_run_that_is_stopped_keeps_what_it_added(tmp_path, monkeypatch, capsys):
    """A bad vector in the third batch: two are stored, and are not embedded again."""
    monkeypatch.chdir(tmp_path)
    for i in range(80):
        Path(f"{i:03}.jpg").touch()
    gallery = image_files(tmp_path)
    calls = []

    def damaged(images):
        calls.append(len(images))
        return by_pixels(images) * (np.nan if len(calls) == 3 else 1)

    def add(embed):
        with InStore("g.db", "m", True, None, Where()) as place:
            place.add(embed, constant, gallery, tmp_path)
            return place.images

    with pytest.raises(InputError, match=r"064\.jpg.*embedding is NaN or infinite \(16 of 16"):
        add(damaged)
    assert add(by_pixels) == 80
    assert "16 of 80 gallery images embedded, 64 from g.db" in capsys.readouterr().err


def test_a_server_is_searched_and_forgets_as_a_folder_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(60):
        Path(f"{i // 6:04}_c{i % 3 + 1}s1_{i:06}_00.jpg").touch()
    Path("0000_bad.jpg").touch()
    gallery = image_files(tmp_path)
    server, address = serve(tmp_path / "data")
    found = {}
    try:
        for store in ("g.db", f"{address}/door"):
            with InStore(store, "m", True, None, Where(cameras=(1, 2))) as place:
                place.add(by_pixels, constant, gallery, tmp_path)
                queries = gallery.records[1:4]
                asked = by_pixels([constant(record.path) for record in queries])
                before = place.ranked(queries, asked, 4, 2)
            lines = stored.forget(store, None, stored.rules([3], None, None))
            left = f"54 images are left in {store}"
            assert lines == ["forgotten: identity 0003: 6 images", left]
            with InStore(store, "m", False, None, Where(cameras=(1, 2))) as place:
                found[store] = before, place.ranked(queries, asked, 40, None)
        with open_store(address, "another", create=True) as other:  # another database
            assert other.count == 0
    finally:
        server.kill()
        server.wait()
    (before, after), on_server = found.values()
    assert (before, after) == on_server
    assert {entry.camera for row in before for entry, _ in row.entries} == {1}
    assert len(after[0].entries) == 36 and 3 not in {e.person for e, _ in after[0].entries}
    assert Path(f"runs/forgotten-{address[7:].replace(':', '-')}-door.jsonl").exists()
