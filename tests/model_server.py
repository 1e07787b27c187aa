"""The parts of a model server that a client meets, in this process: gRPC's official service, and
REST."""

import base64
import collections
import contextlib
import json
import re
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow.compat.v1 as tf
from c_api import CError, SavedModel
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

INVALID, NOT_FOUND, EXHAUSTED, UNAVAILABLE, UNAUTHENTICATED = 3, 5, 8, 14, 16
CODES = {code.value[0]: code for code in grpc.StatusCode}
HTTP = {INVALID: 400, NOT_FOUND: 404, EXHAUSTED: 429, UNAVAILABLE: 503, UNAUTHENTICATED: 401}
ADDRESS = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:predict)"
)


class Model:
    """SavedModels under a name; `delay` seconds pass before one answers."""

    def __init__(self, folder, name="mgn", version=3):
        self.name, self.delay, self.requests = name, 0.0, 0
        self.versions = {version: SavedModel(folder)}
        self.labels = {}  # {label: version}
        self.faults = collections.deque()  # codes of errors, for the next requests
        self.secret = None  # what the header "authorization" has to be
        self.factor = 1  # by which answers are wrong
        self.asked = lambda: None  # called before each answer

    def predict(self, spec, headers, signature, batch):
        """The version that answers, and its rows."""
        time.sleep(self.delay)
        self.requests += 1
        self.asked()
        version, session = self.chosen(spec, headers)
        if self.faults:
            raise CError(self.faults.popleft(), "The batch scheduling queue is full")
        return version, session, session.run(signature, batch) * np.float32(self.factor)

    def chosen(self, spec, headers):
        """The version of (name, version, label), and its SavedModel."""
        if self.secret is not None and headers.get("authorization") != self.secret:
            raise CError(UNAUTHENTICATED, "who are you?")
        name, version, label = spec
        told = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        if label and label not in self.labels:
            raise CError(INVALID, f"Unrecognized servable version label: {label}")
        version = self.labels[label] if label else version
        version = max(self.versions) if version is None else version
        if name != self.name or version not in self.versions:
            raise CError(NOT_FOUND, f"Servable not found for request: {told}")
        return version, self.versions[version]

    def close(self):
        for session in self.versions.values():
            session.close()


def signatures_of(session):
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in session.signatures.items():
        found.signature_def[name].CopyFrom(signature)
    return found


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):  # noqa: N802
        response = predict_pb2.PredictResponse()
        with aborting(context):
            ((given, sent),) = request.inputs.items()
            batch = tf.make_ndarray(sent)
            name = request.model_spec.signature_name
            version, session, rows = self.model.predict(*told_by(request, context), name, batch)
            assert [*session.signatures[name].inputs] == [given]
            (output,) = session.signatures[name].outputs
            response.outputs[output].CopyFrom(tf.make_tensor_proto(rows))
            response.model_spec.version.value = version
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with aborting(context):
            version, session = self.model.chosen(*told_by(request, context))
            assert [*request.metadata_field] == ["signature_def"]
            response.metadata["signature_def"].Pack(signatures_of(session))
            response.model_spec.version.value = version
        return response


def told_by(request, context):
    """A request's (name, version, label), and its headers."""
    spec = request.model_spec
    version = spec.version.value if spec.HasField("version") else None
    return (spec.name, version, spec.version_label), dict(context.invocation_metadata())


@contextlib.contextmanager
def aborting(context):
    try:
        yield
    except CError as error:
        context.abort(CODES[error.code], str(error))


@contextlib.contextmanager
def serving_grpc(model, port=0, tls=None):
    """Yield HOST:PORT. `tls`: files of a key and its certificate."""
    threads = ThreadPoolExecutor(4)
    server = grpc.server(threads)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(model), server)
    address = f"localhost:{port}"
    if tls:
        pair = tuple(path.read_bytes() for path in tls)
        port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()
        threads.shutdown()  # who is still busy has the model


@contextlib.contextmanager
def serving_rest(model, port=0, tls=None):
    """Yield HOST:PORT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            def described(*told):
                version, session = model.chosen(*told)
                whole = {
                    "preserving_proto_field_name": True,
                    "always_print_fields_with_no_presence": True,
                }
                found = json_format.MessageToDict(signatures_of(session), **whole)
                spec = {"name": model.name, "signature_name": "", "version": str(version)}
                return {"model_spec": spec, "metadata": {"signature_def": found}}

            self.answer("/metadata", described)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def rows(*told):
                _, session = model.chosen(*told)
                (info,) = session.signatures[body["signature_name"]].inputs.values()
                if info.dtype == tf.string.as_datatype_enum:
                    batch = np.array([base64.b64decode(x["b64"]) for x in body["inputs"]], object)
                else:
                    batch = np.array(body["inputs"], tf.as_dtype(info.dtype).as_numpy_dtype)
                return {"outputs": model.predict(*told, body["signature_name"], batch)[2].tolist()}

            self.answer(":predict", rows)

        def answer(self, what, made):
            name, version, label, asked = ADDRESS.fullmatch(self.path).groups()
            assert asked == what
            headers = {key.lower(): value for key, value in self.headers.items()}
            try:
                status, body = 200, made((name, version and int(version), label), headers)
            except CError as error:
                status, body = HTTP.get(error.code, 500), {"error": str(error)}
            with contextlib.suppress(
                BrokenPipeError, ConnectionResetError
            ):  # a client that waits no longer
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("localhost", port), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keyfile=tls[0], certfile=tls[1])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = False  # closing waits for who is still busy
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
