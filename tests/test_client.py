"""The client against a model server in this process, over both protocols, and against wrong ones.

The network is a small one, for speed: what is on either side of it is what the exports have.
`test_serving.py` has the values of the real one in the same loader.
"""

import contextlib
import dataclasses
import json
import socket
import threading

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import refused, relative, run
from model_server import Model, serving_grpc, serving_rest

from mgn import client
from mgn.config import NetworkOptions
from mgn.data.decoding import read_image
from mgn.data.demo import draw_image
from mgn.inference.embedder import open_exported
from mgn.inference.exported import METADATA
from mgn.inference.graph import PLAIN, PRE_POST, build
from mgn.serving import saved_model
from mgn.weights import checkpoints

FORMS = {"jpeg": PRE_POST, "uint8": PRE_POST, "float32": PRE_POST, "plain": PLAIN, "pixels": PLAIN}
OWN_PIXELS = {"mean": (89.896, 79.2, 80.073), "std": (63.872, 64.305, 40.0)}
PROTOCOLS = {"gRPC": (serving_grpc, []), "REST": (serving_rest, ["--rest"])}


def network(images):
    """What two rows and three columns have on average, and zeros up to 2048."""
    pooled = tf.nn.avg_pool2d(images, [3, 2], [3, 2], "VALID")
    return tf.pad(tf.reshape(pooled, [-1, 32 * 16 * 3]), [[0, 0], [0, 512]])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """{form: frozen graph, and a model that serves it}."""
    made = {}
    for kind, form in FORMS.items():
        folder = tmp_path_factory.mktemp(kind)
        with tf.Graph().as_default() as graph:
            input_type = "float32" if form == PLAIN else kind
            options = NetworkOptions(10, height=96, width=32)
            if kind == "pixels":  # the graph tells it of itself, and the served model a client
                options = dataclasses.replace(options, **OWN_PIXELS)
                tf.constant(json.dumps(checkpoints.describe(options)), name=METADATA)
            build(form, options, input_type, network)
        (folder / "x.pb").write_bytes(graph.as_graph_def().SerializeToString())
        version, _ = saved_model.export_saved_model(folder / "x.pb", folder / "served", form)
        made[kind] = folder / "x.pb", Model(version)
    yield made
    for _, model in made.values():
        model.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images of three sizes and two formats."""
    folder = tmp_path_factory.mktemp("files")
    images = [draw_image(0, person, 1, 0) for person in (1, 2, 3)]
    images[1] = cv2.resize(images[1], (99, 301))
    names = [folder / name for name in ("a.jpg", "b.png", "c.jpg")]
    for path, image in zip(names, images, strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    return names


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return PROTOCOLS[request.param]


def expected_of(pb, files):
    with contextlib.closing(open_exported(pb)) as embed:
        return embed([read_image(path) for path in files])


@pytest.mark.parametrize("kind", FORMS)
def test_embeds_as_the_frozen_graph_does(models, files, protocol, kind, tmp_path, capsys):
    (pb, model), (serve, flags) = models[kind], protocol
    with serve(model) as address:
        output = tmp_path / "out.npz"
        assert run(client, "--server", address, *flags, "--output", output, *files) == 0
        stored = np.load(output)
        assert [*stored["pictures"]] == [str(path) for path in files]
        assert stored["features"].dtype == np.float32
        assert relative(stored["features"], expected_of(pb, files)) <= 1e-5
        capsys.readouterr()
        assert run(client, "--server", address, *flags, files[1]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["picture"] == str(files[1])
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


def failed(capsys, *arguments):
    """The one line of a run that fails, though what was asked is in order."""
    capsys.readouterr()
    assert run(client, *arguments) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_no_answer_in_time(models, files, protocol, capsys):
    (serve, flags), model = protocol, models["jpeg"][1]
    model.delay = 1.5
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
        ([*address, "--threshold", "1", files[0]], "compares two images"),
        ([*address, "--threshold", "nan", *files[:2]], "is not a number from 0"),
        ([*address, "--threshold", "1_0", *files[:2]], "is not a number from 0"),
        ([*address, "--timeout", "\u0663", files[0]], "is not a number above 0"),
        (["--server", "localhost:\u0663", files[0]], "is not HOST:PORT"),
        ([*address, "--timeout", "0", files[0]], "is not a number above 0"),
        ([*address, "--output", tmp_path / "x.npz", files[0]], "exists"),
        ([*address, "--output", tmp_path / "x.txt", files[0]], "must end in .npz"),
    ):
        assert problem in refused(capsys, client, *arguments)
