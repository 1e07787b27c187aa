"""The parts of a model server that a client meets, in this process: gRPC's official service, and
REST."""

import base64
import contextlib
import json
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

NOT_FOUND = 5
CODES = {code.value[0]: code for code in grpc.StatusCode}
HTTP = {3: 400, NOT_FOUND: 404}


class Model:
    """A SavedModel under a name; `delay` seconds pass before it answers."""

    def __init__(self, folder, name="mgn"):
        self.session, self.name, self.delay, self.requests = SavedModel(folder), name, 0.0, 0

    def predict(self, name, signature, batch):
        time.sleep(self.delay)
        self.requests += 1
        self.check(name)
        return self.session.run(signature, batch)

    def check(self, name):
        if name != self.name:
            raise CError(NOT_FOUND, f"Servable not found for request: Latest({name})")

    def signatures(self):
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.session.signatures.items():
            found.signature_def[name].CopyFrom(signature)
        return found


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):  # noqa: N802
        response = predict_pb2.PredictResponse()
        with aborting(context):
            batch = tf.make_ndarray(request.inputs["input_image"])
            spec = request.model_spec
            rows = self.model.predict(spec.name, spec.signature_name, batch)
            (output,) = self.model.session.signatures[spec.signature_name].outputs
            response.outputs[output].CopyFrom(tf.make_tensor_proto(rows))
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with aborting(context):
            self.model.check(request.model_spec.name)
            assert [*request.metadata_field] == ["signature_def"]
            response.metadata["signature_def"].Pack(self.model.signatures())
        return response


@contextlib.contextmanager
def aborting(context):
    try:
        yield
    except CError as error:
        context.abort(CODES[error.code], str(error))


@contextlib.contextmanager
def serving_grpc(model):
    """Yield HOST:PORT."""
    threads = ThreadPoolExecutor(4)
    server = grpc.server(threads)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(model), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()
        threads.shutdown()  # who is still busy has the model


@contextlib.contextmanager
def serving_rest(model):
    """Yield HOST:PORT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/v1/models/").removesuffix("/metadata")
            described = {
                "preserving_proto_field_name": True,
                "always_print_fields_with_no_presence": True,
            }
            found = json_format.MessageToDict(model.signatures(), **described)
            self.answer(name, lambda: {"metadata": {"signature_def": found}})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = self.path.removeprefix("/v1/models/").removesuffix(":predict")
            self.answer(name, lambda: {"outputs": self.rows(name, body).tolist()})

        def rows(self, name, body):
            (info,) = model.session.signatures[body["signature_name"]].inputs.values()
            if info.dtype == tf.string.as_datatype_enum:
                batch = np.array(
                    [base64.b64decode(value["b64"]) for value in body["inputs"]], object
                )
            else:
                batch = np.array(body["inputs"], tf.as_dtype(info.dtype).as_numpy_dtype)
            return model.predict(name, body["signature_name"], batch)

        def answer(self, name, made):
            try:
                model.check(name)
                status, body = 200, made()
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

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.daemon_threads = False  # closing waits for who is still busy
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
