"""REST against servers that misbehave, over real connections."""

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mgn.serving.answers import NotFoundError, RefusedError, Served
from mgn.serving.over_rest import Rest
from mgn.serving.place import Place
from mgn.serving.waiting import TryLaterError
from mgn.system.errors import CheckError, InputError

FILE = np.array([b"\xff\xd8\x00"], object)
TENSOR = {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}], "unknown_rank": False}}
OURS = {
    "inputs": {"input_image": TENSOR},
    "outputs": {
        "reid_embedding": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2048"}]},
        }
    },
}


@contextlib.contextmanager
def answering(status=200, body=b"{}", headers=()):
    """Yield HOST:PORT of a server that always says this, and the requests that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.append((self.path, dict(self.headers.items()), sent))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"localhost:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def sending(pieces, pause):
    """Yield HOST:PORT of a server that sends bytes one by one, with a pause between them."""
    ended = threading.Event()

    def serve():
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.recv(100_000)
                for piece in pieces:
                    connection.sendall(piece)
                    if ended.wait(pause):
                        return
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(100_000):  # closed with a rest unread, it would be reset
                    pass

    with socket.create_server(("localhost", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"localhost:{listening.getsockname()[1]}"
        ended.set()
    thread.join()


def rest(address, **others):
    return Rest(Place(address, others.pop("model", "mgn"), **others))


def metadata(version="3", signature=OURS):
    spec = {} if version is None else {"model_spec": {"name": "mgn", "version": version}}
    inside = {"signature_def": {"signature_def": {"reid_mgn_serving": signature}}}
    return json.dumps(spec | {"metadata": inside}).encode()


def test_addresses_bodies_and_headers():
    """As TensorFlow Serving's REST API has them."""
    with answering(body=metadata()) as (address, got):
        server = rest(address, model="a b", headers=(("Authorization", "Bearer x"),))
        assert server.describe(None, None, 5) == Served(3, "DT_STRING", None, False)
        server.describe(3, None, 5)
        server.describe(None, "stable/x", 5)
    assert [path for path, _, _ in got] == [
        "/v1/models/a%20b/metadata",
        "/v1/models/a%20b/versions/3/metadata",
        "/v1/models/a%20b/labels/stable%2Fx/metadata",
    ]
    with answering(body=b'{"outputs": [[1, 2.5]]}') as (address, got):
        server = rest(address, headers=(("Authorization", "Bearer x"),))
        rows = server.predict(7, FILE, 5)
        assert rows.dtype == np.float32 and rows.tolist() == [[1, 2.5]]
        server.predict(7, np.uint8([[[[1, 2, 3]]]]), 5)
    path, headers, body = got[0]
    assert path == "/v1/models/mgn/versions/7:predict" and headers["Authorization"] == "Bearer x"
    assert json.loads(body) == {"signature_name": "reid_mgn_serving", "inputs": [{"b64": "/9gA"}]}
    assert json.loads(got[1][2])["inputs"] == [[[[1, 2, 3]]]]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, InputError),
        (403, InputError),
        (404, NotFoundError),
        (409, TryLaterError),
        (429, TryLaterError),
        (499, TryLaterError),
        (502, TryLaterError),
        (503, TryLaterError),
        (504, TryLaterError),
        (500, CheckError),
        (501, CheckError),
    ],
)
def test_statuses(status, kind):
    with answering(status, b'{"error": "so it is"}') as (address, _):
        with pytest.raises(InputError if issubclass(kind, InputError) else CheckError) as error:
            rest(address).predict(3, FILE, 5)
        assert type(error.value) is kind
        assert str(error.value) == f"--server {address}: HTTP {status}: so it is"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[1]", "no answer in HTTP and JSON"),
        (b"{}", "the answer has no reid_embedding"),
        (b'{"outputs": [["a"]]}', "not of numbers"),
        (b'{"outputs": [["1.5"]]}', "not of numbers"),
        (b'{"outputs": [[null]]}', "not of numbers"),
        (b'{"outputs": [[true]]}', "not of numbers"),
        (b'{"outputs": [[1], [1, 2]]}', "the answer has no reid_embedding"),
        (b"x" * (2**24 + 1), "an answer of more than"),
    ],
)
def test_answers_that_are_none(body, problem):
    with (
        answering(body=body) as (address, _),
        pytest.raises(CheckError, match=rf"--server {address}: .*{problem}"),
    ):
        rest(address).predict(3, FILE, 5)


def test_numbers_beyond_float32_are_infinite():
    with answering(body=b'{"outputs": [[1e39, NaN, -Infinity]]}') as (address, _):
        got = rest(address).predict(3, FILE, 5)[0]
    assert got[0] == np.inf and np.isnan(got[1]) and got[2] == -np.inf


@pytest.mark.parametrize(
    ("signature", "problem"),
    [
        (OURS | {"inputs": {"input_image": TENSOR | {"dtype": "DT_FOO"}}}, "is DT_FOO"),
        (OURS | {"inputs": {"input_image": TENSOR | {"dtype": None}}}, "is None"),
        (OURS | {"inputs": {"input_image": {}}}, "has no signature"),
        (OURS | {"inputs": []}, "has no signature"),
        ("text", "has no signature"),
        ({}, "has no signature"),
    ],
)
def test_metadata_of_others(signature, problem):
    with (
        answering(body=metadata(signature=signature)) as (address, _),
        pytest.raises(InputError, match=problem),
    ):
        rest(address).describe(None, None, 5)


def test_metadata_without_a_version():
    for version in (None, "", "x"):
        with answering(body=metadata(version)) as (address, _):
            with pytest.raises(CheckError, match="does not say which version"):
                rest(address).describe(None, None, 5)
            assert rest(address).describe(5, None, 5).version == 5
    with (
        answering(body=metadata("4")) as (address, _),
        pytest.raises(CheckError, match="version 4 answers, not version 3"),
    ):
        rest(address).describe(3, None, 5)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"HTTP/1.1 503 Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_server_that_drips(start):
    """Each byte comes in time, and the whole does not."""
    begun = time.monotonic()
    with sending([start, *[b"1"] * 200], 0.05) as address, pytest.raises(TimeoutError):
        rest(address).predict(3, FILE, 0.4)
    assert 0.3 < time.monotonic() - begun < 2


def test_a_server_that_is_slow_but_in_time():
    answer = b'HTTP/1.0 200 OK\r\n\r\n{"outputs": [[1]]}'
    with sending([answer[i : i + 1] for i in range(len(answer))], 0.01) as address:
        assert rest(address).predict(3, FILE, 5).tolist() == [[1]]


def test_a_server_that_goes_away():
    for pieces in ([], [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"]):
        with sending(pieces, 0) as address, pytest.raises(TryLaterError, match=address):
            rest(address).predict(3, FILE, 5)
    with pytest.raises(TryLaterError, match="refused"):  # the port is closed by now
        rest(address).predict(3, FILE, 5)


def test_headers_go_to_no_other_server():
    with answering() as (other, got):
        elsewhere = [("Location", f"http://{other}/v1/models/mgn/metadata")]
        with answering(302, headers=elsewhere) as (address, asked):
            with pytest.raises(CheckError, match="HTTP 302"):
                rest(address, headers=(("Authorization", "secret"),)).describe(None, None, 5)
            assert len(asked) == 1 and not got


def test_proxies_are_for_other_machines(monkeypatch):
    """A proxy that knows all answers; and the way to this machine goes around it."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with (
        answering(body=b'{"outputs": [[1]]}') as (proxy, through),
        answering(body=b'{"outputs": [[2]]}') as (address, direct),
    ):
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        port = address.rpartition(":")[2]
        assert rest("models.example:8501").predict(3, FILE, 5).tolist() == [[1]]
        assert through[0][0] == "http://models.example:8501/v1/models/mgn/versions/3:predict"
        for name in (address, f"127.0.0.1:{port}"):
            assert rest(name).predict(3, FILE, 5).tolist() == [[2]]
        assert len(through) == 1 and len(direct) == 2
