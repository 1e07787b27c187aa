"""The client against a model server in this process, over both protocols, and against wrong ones.

`serving/test_saved_model.py` has the values of the real one in the same loader.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, relative, run
from model_server import serving_grpc
from small_models import expected_of, failed

from mgn import client
from mgn.data import probe
from mgn.data.decoding import read_image
from mgn.inference.embedder import open_exported

KINDS = ("jpeg", "uint8", "float32", "plain", "pixels", "smaller", "smaller jpeg")
ROOT = Path(__file__).parent.parent
pytest_plugins = ("client_fixtures",)


@pytest.mark.parametrize("kind", KINDS)
def test_embeds_as_the_frozen_graph_does(models, files, protocol, kind, tmp_path, capsys):
    (pb, model), (serve, flags) = models[kind], protocol
    with serve(model) as address:
        output = tmp_path / "out.npz"
        assert run(client, "--server", address, *flags, "--output", output, *files) == 0
        stored = np.load(output)
        assert (stored["model"], stored["version"]) == ("mgn", 3)
        assert [*stored["pictures"]] == [str(path) for path in files]
        assert stored["features"].dtype == np.float32
        assert stored["features"].shape[1] == (64 if "smaller" in kind else 2048)
        assert relative(stored["features"], expected_of(pb, files)) <= 1e-5
        capsys.readouterr()
        assert run(client, "--server", address, *flags, files[1]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["picture"] == str(files[1]) and told["version"] == 3
    assert relative(told["embedding"], stored["features"][1]) <= 1e-5


def test_a_mean_and_deviation_of_its_own_is_what_a_plain_model_gets(models, files):
    """By hand: a flat image of grey level 100 has one value a channel."""
    pb, _ = models["pixels"]
    with contextlib.closing(open_exported(pb)) as embed:
        got = embed.original([np.full((96, 32, 3), 100, np.uint8)])[0, :3]
    expected = [(100 - 89.896) / 63.872, (100 - 79.2) / 64.305, (100 - 80.073) / 40.0]
    assert got == pytest.approx(expected, rel=1e-5)
    others = expected_of(models["plain"][0], files)
    assert relative(expected_of(pb, files), others) > 0.05


def test_compares_by_the_threshold(models, files, protocol, capsys):
    (pb, model), (serve, flags) = models["jpeg"], protocol
    a, b = expected_of(pb, files[:2])
    distance = np.linalg.norm(a - b)
    with serve(model) as address:
        for threshold, verdict in ((distance + 0.01, "same"), (distance - 0.01, "different")):
            capsys.readouterr()
            assert (
                run(client, "--server", address, *flags, "--threshold", threshold, *files[:2]) == 0
            )
            said = capsys.readouterr().out
            assert said.startswith(f"{verdict}: distance {distance:.4f}, threshold ")
        assert run(client, "--server", address, *flags, "--threshold", 0, files[0], files[0]) == 0
    assert capsys.readouterr().out.startswith("same: distance 0.0000")


def test_smaller_vectors_are_made_of_the_sum_with_the_mirror_image(models, files):
    """By hand, in both forms; and not of each image by itself."""
    with contextlib.closing(open_exported(models["plain"][0])) as embed:
        whole = embed([read_image(path) for path in files])
    expected = whole[:, :64] - 0.1
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for kind in ("smaller", "smaller jpeg"):
        assert relative(expected_of(models[kind][0], files), expected) <= 1e-4
    with contextlib.closing(open_exported(models["smaller"][0])) as embed:
        alone = [embed([read_image(path)], flip=False) for path in files]
    assert relative(np.concatenate(alone), expected) > 1e-3


def test_compares_by_a_threshold_of_the_served_model(models, files, protocol, tmp_path, capsys):
    """The server tells no hash: its embedding of the probe is what decides."""
    (pb, model), (serve, flags) = models["jpeg"], protocol
    with contextlib.closing(open_exported(pb)) as embed:
        seen = probe.embedded_by(embed)
    a, b = expected_of(pb, files[:2])
    values = {"format": "mgn threshold 1", "max_false_matches": 0.01, "confidence": 0.95}
    values |= {"no_flip": False, "normalise_parts": False}
    values["pair"] = {"distance": float(np.linalg.norm(a - b)) + 0.01}
    path = tmp_path / "threshold.json"
    with serve(model) as address:
        compare = ["--server", address, *flags, "--threshold", path, *files[:2]]
        path.write_text(json.dumps(values | {"model": {"hash": "x", "probe": probe.as_text(seen)}}))
        assert run(client, *compare) == 0
        said = capsys.readouterr().out
        assert said.startswith("same: ")
        assert said.endswith(" (at most 0.01 of strangers, confidence 0.95)\n")
        for row, problem in (
            (a, "made for another model ("),
            (None, "cannot tell whether it was made"),
        ):
            told = {"hash": "x", "probe": probe.as_text(row)}
            path.write_text(json.dumps(values | {"model": told}))
            assert problem in refused(capsys, client, *compare)


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "image 0: empty"),
        (b"hello", "image 0: neither a JPEG nor a PNG"),
        (b"\xff\xd8\xff\xe0 cut off", "Invalid JPEG data"),
    ],
)
def test_a_image_that_the_server_refuses_is_named(
    models, files, protocol, contents, problem, tmp_path, capsys
):
    (serve, flags), bad = protocol, tmp_path / "bad.jpg"
    bad.write_bytes(contents)
    with serve(models["jpeg"][1]) as address:
        line = refused(capsys, client, "--server", address, *flags, files[0], bad, files[1])
    assert str(bad) in line and problem in line and "[[" not in line


def test_a_image_that_the_client_itself_must_decode_is_named(models, files, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(files[0].read_bytes()[:300])
    with serving_grpc(models["uint8"][1]) as address:
        line = refused(capsys, client, "--server", address, bad)
    assert str(bad) in line and "cut off or damaged" in line


@pytest.mark.parametrize("arguments", [[], ["--threshold", 1]])
def test_a_plain_model_that_gives_zeros(models, files, protocol, arguments, capsys):
    (serve, flags), images, model = protocol, files[:2], models["plain"][1]
    try:
        for factor, problem in ((0, "has length 0"), (np.nan, "is NaN or infinite")):
            model.factor = factor
            with serve(model) as address:
                line = failed(capsys, "--server", address, *flags, *arguments, *images)
            told = f"error: {files[0]}: the server's embedding {problem}; check which model"
            assert line.startswith(told)
    finally:
        model.factor = 1


def test_no_answer_in_time(models, files, protocol, capsys):
    (serve, flags), model = protocol, models["jpeg"][1]
    model.delay = 0.8
    try:
        with serve(model) as address:
            line = failed(capsys, "--server", address, *flags, "--timeout", 0.3, files[0])
    finally:
        model.delay = 0.0
    assert f"--server {address}: no answer within 0.3 seconds" in line


def test_no_server(files, protocol, capsys):
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        address = f"localhost:{unused.getsockname()[1]}"
        line = failed(capsys, "--server", address, *protocol[1], "--timeout", 1, files[0])
    assert address in line and ("UNAVAILABLE" in line or "refused" in line)


def test_another_model_and_the_other_protocol(models, files, protocol, capsys):
    serve, flags = protocol
    with serve(models["jpeg"][1]) as address:
        line = refused(
            capsys, client, "--server", address, *flags, "--model_name", "other", files[0]
        )
        assert "Servable not found for request: Latest(other)" in line
        other = [] if flags else ["--rest"]
        assert address in failed(capsys, "--server", address, *other, "--timeout", 1, files[0])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>hello", "no answer in HTTP and JSON (JSONDecodeError)"),
        (b"", "no answer in HTTP and JSON"),
        (b"{}", "has no signature reid_mgn_serving"),
    ],
)
def test_somebody_elses_web_server(files, capsys, body, problem):
    with socket.create_server(("localhost", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"localhost:{listening.getsockname()[1]}"
        capsys.readouterr()
        assert run(client, "--server", address, "--rest", files[0]) == (2 if body == b"{}" else 1)
        assert problem in capsys.readouterr().err
        thread.join()


def test_wrong_flags(files, tmp_path, capsys):
    address = ["--server", "localhost:1"]
    (tmp_path / "x.npz").touch()
    for arguments, problem in (
        ([files[0]], "--server"),
        (["--server", "http://localhost:1", files[0]], "is not HOST:PORT"),
        ([*address, tmp_path / "none.jpg"], "no such file"),
        ([*address, "--threshold", "1", files[0]], "compares two images, not 1"),
        ([*address, "--threshold", "nan", *files[:2]], "is not a number from 0"),
        ([*address, "--threshold", "1_0", *files[:2]], "is not a number from 0"),
        ([*address, "--timeout", "\u0663", files[0]], "is not a number above 0"),
        (["--server", "localhost:\u0663", files[0]], "is not HOST:PORT"),
        ([*address, "--timeout", "0", files[0]], "is not a number above 0"),
        ([*address, "--output", tmp_path / "x.npz", files[0]], "exists"),
        ([*address, "--output", tmp_path / "x.txt", files[0]], "must end in .npz"),
        (address, "name images, or a --list of them"),
        ([*address, "--list", tmp_path / "none", files[0]], "none: cannot be read"),
        (
            [*address, "--threshold", "1", "--skip_unreadable", *files[:2]],
            "--skip_unreadable; leave",
        ),
        ([*address, "--threshold", "1", tmp_path, files[0], files[1]], "no image in it"),
        ([*address, "--threshold", "1", files[0].parent], "compares two images, not 3"),
        ([*address, "--resume", files[0]], "--resume: only with --output"),
        ([*address, "--version", "3", "--label", "x", files[0]], "give one"),
        ([*address, "--label", "", files[0]], "the name is empty"),
        ([*address, "--model_name", "", files[0]], "the name is empty"),
        ([*address, "--model_name", "\udcff", files[0]], "is not valid UTF-8"),
        ([*address, "--rest", "--model_name", "\udcff", files[0]], "is not valid UTF-8"),
        ([*address, "--version", "-1", files[0]], "is not a version"),
        ([*address, "--version", "9223372036854775808", files[0]], "is not a version"),
        (["--server", "localhost:65536", files[0]], "is not HOST:PORT"),
        (["--server", ":8500", files[0]], "is not HOST:PORT"),
        ([*address, "--ca_file", files[0], files[0]], "only with --tls"),
        ([*address, "--tls", "--ca_file", files[0], files[0]], "no certificates"),
    ):
        assert problem in refused(capsys, client, *arguments)
    for header in ("secret", "a b: secret", "x: secret\n", "x:", ":secret", "grpc-x: secret"):
        line = refused(capsys, client, *address, "--header", header, files[0])
        assert "must be NAME:VALUE" in line
        assert "secret" not in line


def test_lines_are_printed_as_they_come(models, files, protocol, tmp_path, capsys):
    (serve, flags), bad = protocol, tmp_path / "bad.jpg"
    bad.write_bytes(b"damaged")
    with serve(models["jpeg"][1]) as address:
        assert run(client, "--server", address, *flags, *files, bad) == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["picture"] for line in lines] == [str(path) for path in files]


@pytest.mark.parametrize("kind", ["jpeg", "uint8"])
def test_only_a_plain_model_needs_tensorflow(models, files, protocol, kind):
    code = (
        "import sys\n"
        "from mgn import client\n"
        "from mgn.system import cli\n"
        "assert cli.run(client.main) == 0\n"
        "assert 'numpy' in sys.modules and 'tensorflow' not in sys.modules\n"
    )
    (serve, flags), (_, model) = protocol, models[kind]
    with serve(model) as address:
        command = [sys.executable, "-c", code, "--server", address, *flags, str(files[0])]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Files of a key and a certificate for localhost."""
    if not shutil.which("openssl"):
        pytest.skip("this machine has no openssl")
    key, made = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "cert.pem"))
    kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(made), "-days", "2"]
    subprocess.run(["openssl", *kind, *named, *files], check=True, capture_output=True)
    return key, made


@contextlib.contextmanager
def asking_for(model, secret):
    model.secret = secret
    yield
    model.secret = None


def test_tls_and_a_header(models, files, protocol, certificate, capsys):
    (serve, flags), model = protocol, models["jpeg"][1]
    with asking_for(model, "Bearer of-a-secret"), serve(model, tls=certificate) as address:
        asked = ["--server", address, *flags, "--timeout", 5, files[0]]
        tls = ["--tls", "--ca_file", certificate[1]]
        header = ["--header", "Authorization: Bearer of-a-secret"]
        assert run(client, *asked, *tls, *header) == 0
        assert "who are you?" in refused(capsys, client, *asked, *tls)
        line = refused(capsys, client, *asked, *tls, "--header", "authorization:other-secret")
        assert "who are you?" in line and "secret" not in line
        begun = time.monotonic()
        line = failed(capsys, *asked, "--tls", *header)
        assert "certificate verify failed" in line.lower().replace("_", " ")
        assert "secret" not in line and time.monotonic() - begun < 4  # no better later
