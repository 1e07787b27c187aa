"""A model server over gRPC."""

from collections.abc import Callable

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from mgn.serving.answers import (
    CHECK_SERVER,
    EMBEDDINGS,
    NotFoundError,
    Question,
    RefusedError,
    Served,
    Signature,
    Tensor,
    check_version,
    error_text,
    served,
)
from mgn.serving.messages import CLASSES, SERVICE, float_array, put_array, type_name
from mgn.serving.place import Place
from mgn.serving.waiting import TryLaterError
from mgn.system.errors import CheckError, InputError

_CODE = grpc.StatusCode
_LATER = _CODE.UNAVAILABLE, _CODE.RESOURCE_EXHAUSTED, _CODE.ABORTED, _CODE.CANCELLED
_KINDS = {
    _CODE.INVALID_ARGUMENT: RefusedError,
    _CODE.NOT_FOUND: NotFoundError,
    _CODE.UNAUTHENTICATED: InputError,
    _CODE.PERMISSION_DENIED: InputError,
}
_LASTING = (  # gRPC has the same codes for what will be no better later
    "larger than max",
    "handshake failed",
    "http1.x server",
    "Domain name not found",
    "Failed parsing HTTP/2",
)
_RECONNECT = (  # milliseconds between attempts: a server that starts anew is found soon
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Grpc:
    """PredictionService of one model; safe to call from several threads."""

    def __init__(self, place: Place):
        self._place, self._closed = place, False
        self._headers = [(name.lower(), value) for name, value in place.headers]
        options = [*_RECONNECT, ("grpc.enable_http_proxy", int(not place.is_loopback))]
        if place.tls:
            trusted = place.ca_file.read_bytes() if place.ca_file else None
            credentials = grpc.ssl_channel_credentials(trusted)
            self._channel = grpc.secure_channel(place.server, credentials, options)
        else:
            self._channel = grpc.insecure_channel(place.server, options)
        self._metadata = self._method("GetModelMetadata", "MetadataRequest", "MetadataResponse")
        self._predict = self._method("Predict", "PredictRequest", "PredictResponse")

    def _method(self, name: str, request: str, response: str) -> Callable:
        write, read = CLASSES[request].SerializeToString, CLASSES[response].FromString
        return self._channel.unary_unary(SERVICE + name, write, read)

    def describe(self, version: int | None, label: str | None, seconds: float) -> Served:
        """What the model takes; `version` or `label` choose between its versions."""
        request = CLASSES["MetadataRequest"](metadata_field=["signature_def"])
        request.model_spec.name = self._place.model
        if version is not None:
            request.model_spec.version.value = version
        elif label is not None:
            request.model_spec.version_label = label
        answer = self._call(self._metadata, request, seconds)
        packed = {entry.key: entry.value.value for entry in answer.metadata}
        try:
            found = CLASSES["Signatures"].FromString(packed.get("signature_def", b""))
        except DecodeError:
            problem = f"its metadata cannot be read; {CHECK_SERVER}"
            raise CheckError(f"{self._place.where}: {problem}") from None
        signatures = {}
        for entry in found.signature_def:
            tensors = (_tensors(entry.value.inputs), _tensors(entry.value.outputs))
            signatures[entry.key] = Signature(*tensors)
        return served(self._place, _version_of(answer), version, signatures)

    def predict(
        self, version: int, batch: np.ndarray, seconds: float, asked: Question = EMBEDDINGS
    ) -> np.ndarray:
        """Float32 [N, D] of what the model takes [N, ...]; or what else is asked for.

        Raises:
            TryLaterError: the server is busy or away.
            TimeoutError: no answer within `seconds`.
            NotFoundError: no such model or version.
            RefusedError: the input is not what the model takes.
            CheckError: anything else; another version answers.
        """
        request = CLASSES["PredictRequest"]()
        request.model_spec.name = self._place.model
        request.model_spec.signature_name = asked.signature
        request.model_spec.version.value = version
        put_array(request.inputs.add(key=asked.given).value, batch)
        answer = self._call(self._predict, request, seconds)
        check_version(self._place, _version_of(answer), version)
        outputs = {entry.key: entry.value for entry in answer.outputs}
        if asked.output not in outputs:
            problem = f"the answer has no {asked.output}; {CHECK_SERVER}"
            raise CheckError(f"{self._place.where}: {problem}")
        try:
            return float_array(outputs[asked.output])
        except CheckError as error:
            problem = f"{asked.output} is {error}; {CHECK_SERVER}"
            raise CheckError(f"{self._place.where}: {problem}") from None

    def _call(self, method: Callable, request: object, seconds: float) -> object:
        try:
            return method(request, timeout=seconds, metadata=self._headers)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if code == _CODE.DEADLINE_EXCEEDED:
                raise TimeoutError from None
            lasting = code not in _LATER or any(words in details for words in _LASTING)
            lasting = lasting or self._closed
            kind = _KINDS.get(code, CheckError) if lasting else TryLaterError
            raise kind(f"{self._place.where}: {code.name}: {error_text(details)}") from None

    def close(self) -> None:
        """Close the connection, and so end the requests under way."""
        self._closed = True
        self._channel.close()


def _tensors(entries: object) -> dict[str, Tensor]:
    found = {}
    for entry in entries:
        shape = entry.value.tensor_shape
        sizes = None if shape.unknown_rank else [dim.size for dim in shape.dim]
        found[entry.key] = Tensor(type_name(entry.value.dtype), sizes)
    return found


def _version_of(answer: object) -> int | None:
    told = answer.model_spec
    return told.version.value if told.HasField("version") else None
