"""A store against our own exact search; in a folder and on a server; killed while it adds."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stores import MODEL, SECOND, drawn, serve

from mgn.config.storing import APPROXIMATE, EXACT, Where
from mgn.data.records import Record
from mgn.evaluation.rows import Stamp
from mgn.evaluation.store import MOST, open_store, recall
from mgn.metrics.distances import nearest
from mgn.system.errors import CheckError, InputError

pytest.importorskip("pymilvus")
ROOT = Path(__file__).parents[2]
IMAGES = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process, address = serve(tmp_path_factory.mktemp("server"))
    yield address
    process.kill()
    process.wait()


@pytest.fixture(params=["folder", "server"])
def place(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "gallery.db")
    return f"{request.getfixturevalue('server')}/{tmp_path.name.replace('-', '_')}"


def expected(queries, features, records, kept, count):
    """Brute force: paths and distances among the images `kept`."""
    indices, distances = nearest(queries, features[kept], count)
    paths = [[records[kept[i]].path for i in row] for row in indices]
    return paths, distances


def check(found, paths, distances):
    assert [[record.path for record, _ in row] for row in found] == paths
    np.testing.assert_allclose([[far for _, far in row] for row in found], distances, atol=1e-5)


def test_added_searched_in_parts_and_opened_again(place):
    records, stamps, features = drawn(IMAGES)
    queries = drawn(20, seed=1)[2]
    queries[0] = features[7]  # itself, at distance 0
    queries[1] = features[8] + 1e-4  # where a product of vectors has lost its digits
    with open_store(place, MODEL, create=True) as store:
        assert store.count == 0 and store.stamps(["/a"]) == {}
        for start in range(0, IMAGES, 100):
            part = slice(start, start + 100)
            store.add(records[part], stamps[part], features[part])
        check(store.nearest(queries, 5), *expected(queries, features, records, range(IMAGES), 5))
    with open_store(place, MODEL) as store:
        assert (store.count, store.index) == (IMAGES, EXACT)
        assert store.stamps([r.path for r in records[:3]] + ["/b"]) == {
            record.path: stamp for record, stamp in zip(records[:3], stamps[:3], strict=True)
        }
        found = store.nearest(queries[:1], 2)[0]
        assert found[0] == (records[7], 0.0)
        for where, holds in (
            (Where(cameras=(2,)), lambda i: records[i].camera == 2),
            (Where(cameras=(1, 2), but_camera=2), lambda i: records[i].camera == 1),
            (Where(since=100 * SECOND), lambda i: i >= 100),
            (Where(cameras=(3,), since=9 * SECOND, until=200 * SECOND), None),
        ):
            holds = holds or (lambda i: records[i].camera == 3 and 9 <= i < 200)
            kept = [i for i in range(IMAGES) if holds(i)]
            wanted = expected(queries, features, records, kept, 7)
            check(store.nearest(queries, 7, where), *wanted)
            assert store.has_any(where)
        assert not store.has_any(Where(cameras=(9,)))
        assert store.nearest(queries[:2], 7, Where(cameras=(9,))) == [[], []]
        assert len(store.nearest(queries[:1], IMAGES + 5)[0]) == IMAGES


def test_an_image_that_changed_is_replaced(place):
    records, stamps, features = drawn(60)
    with open_store(place, MODEL, create=True) as store:
        store.add(records, stamps, features)
        other = drawn(60, seed=3)[2]
        for _ in range(2):  # once of the files, once of what is in memory
            changed = Stamp(5, 999 * SECOND)
            store.add(records[10:11], [changed], other[10:11])
    with open_store(place, MODEL) as store:
        assert store.count == 60 and store.stamps([records[10].path]).popitem()[1] == changed
        features[10] = other[10]
        check(store.nearest(features, 3), *expected(features, features, records, range(60), 3))


def test_equal_images_are_in_the_order_of_paths(place):
    records, stamps, features = drawn(8)
    features[:] = features[0]
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    with open_store(place, MODEL, create=True) as store:
        for i in order:
            store.add(records[i : i + 1], stamps[i : i + 1], features[i : i + 1])
        assert store.nearest(features[:1], 8) == [[(record, 0.0) for record in records]]


def test_an_approximate_index_says_what_it_finds(place):
    records, stamps, features = drawn(IMAGES)
    with open_store(place, MODEL, create=True) as store:
        store.add(records[:200], stamps[:200], features[:200])
        assert store.use_index(EXACT) is None
        assert 0.9 <= store.use_index(APPROXIMATE) <= 1
        store.add(records[200:], stamps[200:], features[200:])
    with open_store(place, MODEL) as store:
        assert store.index == APPROXIMATE
        found = store.nearest(features[:20], 10)
        paths, distances = expected(features[:20], features, records, range(IMAGES), 10)
        exact = [[(Record(path, 0, 0), 0.0) for path in row] for row in paths]
        assert recall(found, exact) > 0.9
        for row, right, far in zip(found, paths, distances, strict=True):
            known = dict(zip(right, far, strict=True))
            for record, distance in row:
                assert distance == pytest.approx(known.get(record.path, distance), abs=1e-5)
        part = store.nearest(features[:5], 10, Where(cameras=(2,)))
        assert {record.camera for row in part for record, _ in row} == {2}
        store.use_index(EXACT)
        check(store.nearest(features[:20], 10), paths, distances)


def test_recall_by_hand():
    a, b, c, d = ((Record(name, 0, 0), 0.0) for name in "abcd")
    assert recall([[a, b, c]], [[a, b, c]]) == 1
    assert recall([[a, b, d], [a, c, b]], [[a, b, c], [a, b, c]]) == 0.75


def test_wrong_vectors_and_models(place):
    records, stamps, features = drawn(10)
    damaged, long = features.copy(), features.copy()
    damaged[3, 4] = np.nan
    long[2] *= 2
    with open_store(place, MODEL, create=True) as store:
        for bad, problem in (
            (damaged, r"NaN or infinity in 1 rows, first \[3\]"),
            (long, "vectors of length 1 to 2; must be 1"),
            (np.zeros_like(features), "vectors of length 0 to 0"),
        ):
            with pytest.raises(InputError, match=problem):
                store.add(records, stamps, bad)
        assert store.count == 0
        store.add(records, stamps, features)
        with pytest.raises(InputError, match="has vectors of 32 numbers, not 16; name another"):
            store.add(*drawn(10, size=16))
        with pytest.raises(InputError, match="has vectors of 32 numbers, not 16"):
            store.nearest(drawn(10, size=16)[2], 3)
        with pytest.raises(InputError, match="query: NaN or infinity in 1 rows"):
            store.nearest(damaged, 3)
        with pytest.raises(InputError, match=r"--count 16001: at most 16000"):
            store.nearest(features, MOST + 1)
        with pytest.raises(InputError, match="the name is too long for a store"):
            store.add([Record("/a" * 4097, 1, 1)], stamps[:1], features[:1])
    with (
        pytest.raises(InputError, match=r"made by another model, or with other options of it"),
        open_store(place, "another", create=True),
    ):
        pass
    with open_store(place, None) as store:
        assert store.count == 10


def test_a_server_that_is_gone(tmp_path):
    records, stamps, features = drawn(20)
    process, address = serve(tmp_path / "data")
    try:
        with (
            pytest.raises(CheckError, match="the server no longer answers; what it acknowl"),
            open_store(address, MODEL, create=True) as store,
        ):
            store.add(records[:10], stamps[:10], features[:10])
            process.kill()
            process.wait()
            store.add(records[10:], stamps[10:], features[10:])
    finally:
        process.kill()
        process.wait()


def test_places_that_are_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file.db").write_text("mine")
    Path("pictures.db").mkdir()
    Path("pictures.db/a.jpg").write_text("mine")
    Path("half.db").mkdir()
    for place, create, problem in (
        ("file.db", True, "is a file, not a store; name another"),
        ("pictures.db", True, "is a folder of other files, not a store"),
        ("nowhere.db", False, "no such store; make it with --gallery"),
        ("half.db", False, "no such store"),
        ("file.db/a.db", True, "a part of this path is a file"),
        ("http://127.0.0.1:1", True, "no Milvus server answers there"),
    ):
        with pytest.raises(InputError, match=re.escape(problem)), open_store(place, MODEL, create):
            pass
    with open_store("new.db", MODEL, create=True) as store:
        assert store.count == 0  # and nothing is left of it
    assert sorted(path.name for path in Path().rglob("*")) == (
        ["a.jpg", "file.db", "half.db", "pictures.db"]
    )
    assert Path("file.db").read_text() == Path("pictures.db/a.jpg").read_text() == "mine"


HOLDING = """
import sys
from pymilvus import MilvusClient

client = MilvusClient(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_store_that_another_process_holds(tmp_path, capfd):
    place = str(tmp_path / "gallery.db")
    records, stamps, features = drawn(10)
    with open_store(place, MODEL, create=True) as store:
        store.add(records, stamps, features)
        with (
            pytest.raises(InputError, match=r"another process is using this folder"),
            open_store(place, MODEL),
        ):
            pass
    command = [sys.executable, "-c", HOLDING, place]  # a program that is not ours
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        capfd.readouterr()
        with (
            pytest.raises(InputError, match=r"another process has it open; wait until it ends"),
            open_store(place, MODEL),
        ):
            pass
        assert "Traceback" not in capfd.readouterr().err
        other.stdin.close()
    with open_store(place, MODEL) as store:
        assert store.count == 10


def test_the_package_is_missing(tmp_path, monkeypatch):
    for name in ("pymilvus", "milvus_lite"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with (
                pytest.raises(InputError, match=f"{name}.*: pip install -r doc/store-requirements"),
                open_store(str(tmp_path / "gallery.db"), MODEL, create=True),
            ):
                pass
    assert not list(tmp_path.iterdir())


ADDING = """
import sys
from stores import MODEL, drawn

from mgn.evaluation.store import open_store

records, stamps, features = drawn(4000, 512)
with open_store(sys.argv[1], MODEL, create=True) as store:
    print("open", flush=True)
    start = int(sys.argv[2])
    while start < 4000:
        part = slice(start, start + 20)
        store.add(records[part], stamps[part], features[part])
        start += 20
        print(start, flush=True)
"""


def test_killed_while_it_adds_nothing_acknowledged_is_missing(tmp_path):
    """MGN_KILLS=12 kills more often."""
    place = str(tmp_path / "gallery.db")
    records, _, features = drawn(4000, 512)
    # Small budgets: the engine writes files, and merges them, all the time.
    small = {"MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": "300000"}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    rng, acknowledged = random.Random(0), 0
    for _ in range(int(os.environ.get("MGN_KILLS", "2"))):
        command = [sys.executable, "-c", ADDING, place, str(acknowledged)]
        environment = os.environ | small | {"PYTHONPATH": paths}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout.readline() == b"open\n"
            time.sleep(rng.uniform(0.1, 1.5))
            child.send_signal(signal.SIGKILL)
            told = [int(line) for line in child.stdout.read().split(b"\n") if line]
        acknowledged = max([acknowledged, *told])
        with open_store(place, MODEL, create=True) as store:
            known = store.stamps([record.path for record in records])
            assert set(known) >= {record.path for record in records[:acknowledged]}
            assert len(known) <= acknowledged + 20
            if acknowledged:
                sample = rng.sample(range(acknowledged), min(50, acknowledged))
                found = store.nearest(features[sample], 1)
                assert [row[0] for row in found] == [(records[i], 0.0) for i in sample]
    assert acknowledged
