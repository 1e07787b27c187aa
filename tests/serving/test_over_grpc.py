"""gRPC against servers that misbehave: the official service with wrong answers in it."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from mgn.serving.answers import NotFoundError, RefusedError, Served
from mgn.serving.over_grpc import Grpc
from mgn.serving.place import Place
from mgn.serving.waiting import TryLaterError, started
from mgn.system.errors import CheckError, InputError

FILE = np.array([b"\xff\xd8\x00"], object)


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Gives `answer`, or fails with `fault`, a code and its words."""

    def __init__(self):
        self.answer, self.fault, self.delay, self.got = None, None, 0, []

    def Predict(self, request, context):  # noqa: N802
        self.got.append((request, dict(context.invocation_metadata())))
        time.sleep(self.delay)
        if self.fault:
            context.abort(*self.fault)
        return self.answer

    GetModelMetadata = Predict


@pytest.fixture(scope="module")
def serving():
    """A servicer, and a client of it."""
    servicer = Servicer()
    server = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    address = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    client = Grpc(Place(address, "mgn", headers=(("Authorization", "Bearer x"),)))
    with contextlib.closing(client):
        yield servicer, client
    server.stop(None).wait()


@pytest.fixture
def served(serving):
    servicer, client = serving
    servicer.__init__()
    return servicer, client


def predicted(version=3, **outputs):
    answer = predict_pb2.PredictResponse()
    if version is not None:
        answer.model_spec.version.value = version
    for name, array in outputs.items():
        answer.outputs[name].CopyFrom(tf.make_tensor_proto(array))
    return answer


def described(dtype=tf.string.as_datatype_enum, sizes=(-1,), version=3, output=1):
    found = get_model_metadata_pb2.SignatureDefMap()
    signature = found.signature_def["reid_mgn_serving"]
    given = signature.inputs["input_image"]
    given.dtype = dtype
    for size in sizes or ():
        given.tensor_shape.dim.add(size=size)
    given.tensor_shape.unknown_rank = sizes is None
    signature.outputs["reid_embedding"].dtype = output
    answer = get_model_metadata_pb2.GetModelMetadataResponse()
    if version is not None:
        answer.model_spec.version.value = version
    answer.metadata["signature_def"].Pack(found)
    return answer


def test_a_request_names_model_version_and_headers(served):
    servicer, client = served
    servicer.answer = predicted(reid_embedding=np.float32([[1, 2.5]]))
    assert client.predict(3, FILE, 5).tolist() == [[1, 2.5]]
    (request, headers), spec = servicer.got[0], servicer.got[0][0].model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("mgn", "reid_mgn_serving", 3)
    assert tf.make_ndarray(request.inputs["input_image"]).tolist() == [b"\xff\xd8\x00"]
    assert headers["authorization"] == "Bearer x"
    servicer.answer = described()
    assert client.describe(None, None, 5) == Served(3, "DT_STRING", None, False)
    client.describe(3, None, 5)
    client.describe(None, "stable", 5)
    specs = [request.model_spec for request, _ in servicer.got[1:]]
    chosen = [(spec.HasField("version"), spec.version_label) for spec in specs]
    assert chosen == [(False, ""), (True, ""), (False, "stable")]


def test_version_nought_is_a_version(served):
    servicer, client = served
    servicer.answer = predicted(0, reid_embedding=np.float32([[1]]))
    client.predict(0, FILE, 5)
    assert servicer.got[0][0].model_spec.HasField("version")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (predicted(4, reid_embedding=np.float32([[1]])), "version 4 answers, not version 3"),
        (predicted(None, reid_embedding=np.float32([[1]])), "that it does not tell answers"),
        (predicted(other=np.float32([[1]])), "the answer has no reid_embedding"),
        (predicted(reid_embedding=[b"x"]), "a tensor of type DT_STRING, not DT_FLOAT"),
        (predicted(reid_embedding=np.int64([[1]])), "a tensor of type number 9, not DT_FLOAT"),
    ],
)
def test_answers_that_are_none(served, answer, problem):
    servicer, client = served
    servicer.answer = answer
    with pytest.raises(CheckError, match=f"^--server localhost:.*{problem}"):
        client.predict(3, FILE, 5)


@pytest.mark.parametrize(
    ("answer", "kind", "problem"),
    [
        (described(dtype=9), InputError, "input_image is number 9"),
        (described(dtype=9999), InputError, "input_image is number 9999"),
        (described(sizes=(-1, 384, 128, 3)), InputError, "input_image is DT_STRING"),
        (described(output=7), InputError, "reid_embedding is DT_STRING"),
        (described(version=None), CheckError, "does not say which version"),
        (get_model_metadata_pb2.GetModelMetadataResponse(), InputError, "has no signature"),
    ],
)
def test_metadata_of_others(served, answer, kind, problem):
    servicer, client = served
    servicer.answer = answer
    with pytest.raises(kind, match=problem):
        client.describe(None, None, 5)


def test_answers_that_are_no_messages(served):
    servicer, client = served
    servicer.answer = described()
    servicer.answer.metadata["signature_def"].value = b"\xff\xff"
    with pytest.raises(CheckError, match="its metadata cannot be read"):
        client.describe(None, None, 5)
    servicer.answer = described()  # which is no answer to this
    with pytest.raises(CheckError, match="localhost"):
        client.predict(3, FILE, 5)


def test_a_shape_of_any_rank(served):
    servicer, client = served
    servicer.answer = described(sizes=None)
    assert client.describe(None, None, 5).size is None


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        ("INVALID_ARGUMENT", "so it is", RefusedError),
        ("NOT_FOUND", "so it is", NotFoundError),
        ("UNAUTHENTICATED", "so it is", InputError),
        ("PERMISSION_DENIED", "so it is", InputError),
        ("UNAVAILABLE", "The batch scheduling queue is full", TryLaterError),
        ("RESOURCE_EXHAUSTED", "quota", TryLaterError),
        ("ABORTED", "so it is", TryLaterError),
        ("CANCELLED", "so it is", TryLaterError),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", CheckError),
        ("INTERNAL", "so it is", CheckError),
        ("UNIMPLEMENTED", "so it is", CheckError),
    ],
)
def test_codes(served, code, words, kind):
    servicer, client = served
    servicer.fault = grpc.StatusCode[code], words
    with pytest.raises(InputError if issubclass(kind, InputError) else CheckError) as error:
        client.predict(3, FILE, 5)
    assert type(error.value) is kind
    assert str(error.value).endswith(f": {code}: {words}")


def test_an_answer_larger_than_grpc_takes(served):
    """gRPC's own refusal, whose code is that of a busy server."""
    servicer, client = served
    servicer.answer = predicted(reid_embedding=np.zeros((600, 2048), np.float32))
    with pytest.raises(CheckError, match="larger than max") as error:
        client.predict(3, FILE, 5)
    assert not isinstance(error.value, TryLaterError)


def test_no_answer_in_time(served):
    servicer, client = served
    servicer.delay, servicer.answer = 0.5, predicted()
    with pytest.raises(TimeoutError):
        client.predict(3, FILE, 0.1)


def test_a_request_under_way_ends_with_its_client(served):
    """And is not asked for again: nobody waits for it."""
    servicer, client = served
    servicer.delay, servicer.answer = 2, predicted()
    other = Grpc(client._place)
    asked = started(other.predict, 3, FILE, 30)
    while not servicer.got:
        time.sleep(0.01)
    begun = time.monotonic()
    other.close()
    with pytest.raises(CheckError, match="CANCELLED") as error:
        asked.result(10)
    assert time.monotonic() - begun < 1.5 and not isinstance(error.value, TryLaterError)


def test_a_proxy_is_not_for_this_machine(served, monkeypatch):
    servicer, client = served
    servicer.answer = described()
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://localhost:1")  # where nobody listens
    address = client._place.server
    with contextlib.closing(Grpc(Place(address, "mgn"))) as other:
        assert other.describe(None, None, 5).version == 3
    place = Place(f"models.example:{address.rpartition(':')[2]}", "mgn")
    with contextlib.closing(Grpc(place)) as other, pytest.raises(TryLaterError, match=":1: "):
        other.describe(None, None, 5)
