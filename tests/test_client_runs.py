"""Long runs of the client: an update, a busy server, a server that starts anew, a kill."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, relative, run
from model_server import EXHAUSTED, UNAVAILABLE
from small_models import expected_of, failed

from mgn import client

KINDS = ("jpeg", "next", "uint8")
ROOT = Path(__file__).parent.parent
pytest_plugins = ("client_fixtures",)


@pytest.fixture(scope="module")
def many(files, tmp_path_factory):
    """A folder of 20 files, and which of `files` each is a copy of."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(20):
        (folder / f"{number:02}.jpg").write_bytes(files[number % 3].read_bytes())
    return folder, [number % 3 for number in range(20)]


@pytest.fixture
def model(models):
    """Of files, version 3; a test may add version 4 and change what it likes."""
    model = models["jpeg"][1]
    before = dict(vars(model))
    vars(model).update(versions=dict(model.versions), labels={}, requests=0)
    model.faults.clear()
    yield model
    vars(model).update(before)


def test_an_update_of_the_model_does_not_reach_a_run(
    models, model, files, many, protocol, tmp_path
):
    """From the tenth request on the server has version 4 too; all 20 rows are of version 3."""
    (serve, flags), (folder, copies) = protocol, many

    def update():
        if model.requests == 10:
            model.versions[4] = models["next"][1].versions[3]

    model.asked = update
    of_3, of_4 = (expected_of(models[kind][0], files)[copies] for kind in ("jpeg", "next"))
    assert relative(of_3, of_4) > 0.05
    with serve(model) as address:
        for name, chosen, expected in (
            ("a", [], (3, of_3)),
            ("b", [], (4, of_4)),
            ("c", ["--version", 3], (3, of_3)),
            ("d", ["--label", "stable"], (3, of_3)),
        ):
            model.labels = {"stable": 3}
            output = tmp_path / f"{name}.npz"
            assert (
                run(client, "--server", address, *flags, "--output", output, *chosen, folder) == 0
            )
            stored = np.load(output)
            assert stored["version"] == expected[0]
            assert relative(stored["features"], expected[1]) <= 1e-5


def test_versions_that_are_not_served(model, files, protocol, capsys):
    serve, flags = protocol
    with serve(model) as address:
        asked = [client, "--server", address, *flags, files[0]]
        assert "Specific(mgn, 9)" in refused(capsys, *asked, "--version", 9)
        assert "label: x" in refused(capsys, *asked, "--label", "x")


def test_a_version_that_goes_away(models, model, files, many, protocol, tmp_path, capsys):
    """What is there of it stays, and does not mix with the next."""
    (serve, flags), (folder, copies), output = protocol, many, tmp_path / "x.npz"

    def update():
        if model.requests == 10:
            model.versions = {4: models["next"][1].versions[3]}

    model.asked = update
    with serve(model) as address:
        asked = ["--server", address, *flags, "--output", output, folder]
        assert "version 3 is no longer served" in failed(capsys, *asked)
        kept = (tmp_path / "x.npz.part" / "results.jsonl").read_bytes()
        assert kept.count(b"\n") > 1
        line = refused(capsys, client, *asked, "--resume")
        assert "has embeddings by version 3" in line and "--overwrite" in line
        line = refused(capsys, client, *asked, "--resume", "--version", 4)
        assert "by version 3 of model mgn, and version 4" in line
        assert "--resume uses them" in refused(capsys, client, *asked)
        assert (tmp_path / "x.npz.part" / "results.jsonl").read_bytes() == kept
        assert run(client, *asked, "--overwrite") == 0
    stored = np.load(output)
    assert stored["version"] == 4
    assert relative(stored["features"], expected_of(models["next"][0], files)[copies]) <= 1e-5


def test_a_busy_server_is_asked_again(models, model, files, protocol, tmp_path, capsys):
    (serve, flags), output = protocol, tmp_path / "x.npz"
    model.faults.extend([UNAVAILABLE, EXHAUSTED, UNAVAILABLE, UNAVAILABLE])
    with serve(model) as address:
        assert run(client, "--server", address, *flags, "--output", output, *files) == 0
        assert model.requests == 7
        model.faults.extend([UNAVAILABLE] * 50)
        asked = ["--server", address, *flags, "--timeout", 0.4, files[0]]
        line = failed(capsys, *asked)
    assert "no answer within 0.4 seconds (the last was" in line and "queue is full" in line
    assert relative(np.load(output)["features"], expected_of(models["jpeg"][0], files)) <= 1e-5


def test_a_server_that_starts_anew(models, model, files, many, protocol, tmp_path):
    """It ends under way at the tenth request, and half a second later it is back."""
    (serve, flags), (folder, copies), output = protocol, many, tmp_path / "x.npz"
    ended, done = threading.Event(), threading.Event()
    model.asked = lambda: model.requests >= 10 and ended.set()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]

    def serving():
        with serve(model, port):
            ended.wait(30)
        time.sleep(0.5)
        with serve(model, port):
            done.wait(30)

    server = threading.Thread(target=serving)
    server.start()
    try:
        asked = ["--server", f"localhost:{port}", *flags, "--output", output, folder]
        assert run(client, *asked) == 0
        assert ended.is_set()
    finally:
        ended.set()
        done.set()
        server.join()
    assert (
        relative(np.load(output)["features"], expected_of(models["jpeg"][0], files)[copies]) <= 1e-5
    )


@pytest.mark.parametrize("kind", ["jpeg", "uint8"])
def test_damaged_files_are_left_out_if_asked(models, files, protocol, kind, tmp_path, capsys):
    """The server refuses them, or the client reads none."""
    (serve, flags), (pb, model) = protocol, models[kind]
    images = tmp_path / "images"
    images.mkdir()
    for name, contents in (("a.jpg", files[0].read_bytes()), ("b.jpg", b"damaged"), ("c.png", b"")):
        (images / name).write_bytes(contents)
    listed = tmp_path / "list"
    listed.write_text(f"none.jpg\n{files[1]}\n")
    output = tmp_path / "x.npz"
    with serve(model) as address:
        asked = ["--server", address, *flags, images, "--list", listed]
        assert str(images / "b.jpg") in refused(capsys, client, *asked, "--output", output)
        skip = ["--skip_unreadable", "--resume"]
        assert run(client, *asked, "--output", output, *skip) == 0
        said = capsys.readouterr()
        assert said.out == f"{output}: 2 embeddings by version 3, 3 images left out\n"
        for name in (images / "b.jpg", images / "c.png", tmp_path / "none.jpg"):
            assert f"left out, unreadable: {name}: " in said.err
        assert run(client, *asked, "--skip_unreadable") == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        names = [line["picture"] for line in lines]
        bad = ["--skip_unreadable", images / "b.jpg"]
        line = refused(capsys, client, "--server", address, *flags, *bad)
        assert line == "error: --skip_unreadable: none of the 1 images can be read; name others"
    stored = np.load(output)
    assert [*stored["pictures"]] == names == [str(images / "a.jpg"), str(files[1])]
    assert relative(stored["features"], expected_of(pb, files[:2])) <= 1e-5


def started(*arguments):
    """The client in a process of its own."""
    command = [sys.executable, "-m", "mgn.client", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_killed_run_goes_on_where_it_stopped(
    models, model, files, many, protocol, tmp_path, capsys
):
    (serve, flags), (folder, copies), output = protocol, many, tmp_path / "x.npz"
    part = tmp_path / "x.npz.part" / "results.jsonl"
    model.delay = 0.05
    with serve(model) as address:
        asked = ["--server", address, *flags, "--output", output, folder]
        with started(*asked) as process:
            wait_for(lambda: part.exists() and part.read_bytes().count(b"\n") > 5)
            process.kill()
        there = part.read_bytes().count(b"\n") - 1
        assert 5 <= there < 20 and not output.exists()
        time.sleep(0.3)  # the requests under way end
        model.delay, model.requests = 0, 0
        assert run(client, *asked, "--resume") == 0
        assert f"{there} embeddings are done, {20 - there} missing" in capsys.readouterr().err
        assert model.requests == 20 - there
    assert not part.parent.exists()
    stored = np.load(output)
    assert [*stored["pictures"]] == [str(path) for path in sorted(folder.iterdir())]
    assert relative(stored["features"], expected_of(models["jpeg"][0], files)[copies]) <= 1e-5


def test_ctrl_c_does_not_wait_for_an_answer(model, many, protocol, tmp_path):
    (serve, flags), (folder, _), output = protocol, many, tmp_path / "x.npz"
    free = threading.Event()
    model.asked = lambda: model.requests > 6 and free.wait(30)
    part = tmp_path / "x.npz.part" / "results.jsonl"
    with (
        serve(model) as address,
        started("--server", address, *flags, "--output", output, folder) as process,
    ):
        try:
            wait_for(lambda: part.exists() and part.read_bytes().count(b"\n") > 1)
            wait_for(lambda: model.requests > 6)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=20)[1]
            assert time.monotonic() - begun < 8
        finally:
            free.set()
            process.kill()
    assert process.returncode == 130 and said.endswith("error: stopped by Ctrl-C\n")
    assert "embeddings are kept; --resume uses them" in said
