"""A model behind a model server, over gRPC or REST, as `embed(path)` of one image file."""

import base64
import http.client
import json
import re
import urllib.request
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from mgn.config.options import EMBEDDING_SIZE
from mgn.config.variants import MEAN, STD
from mgn.data.decoding import read_image
from mgn.data.images import mirror, normalise, resize
from mgn.inference.graph import (
    INPUT_IMAGE,
    MEAN_AND_STD,
    PIXELS_SIGNATURE,
    REID_EMBEDDING,
    SERVING_SIGNATURE,
)
from mgn.system.errors import CheckError, InputError
from mgn.system.session import new_graph, new_session

_INPUT, _OUTPUT = INPUT_IMAGE, REID_EMBEDDING
_BAD_REQUEST = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
_BAD_STATUS = 400, 404  # the same in HTTP
_NO_ANSWER = (OSError, ValueError, http.client.HTTPException)  # cut off, or another protocol's
_FRAME = re.compile(
    r"^(Graph execution error|Detected at|Node:|\[\[)"
)  # lines of TensorFlow's that say nothing


class Taken(NamedTuple):
    """What a served model takes."""

    dtype: tf.DType
    shape: tf.TensorShape
    own_pixels: bool  # whether it can say by which mean and deviation images are normalised


class Grpc:
    """PredictionService of one model; safe to call from several threads."""

    def __init__(self, server: str, model: str, timeout: float):
        self._where, self._model, self._timeout = f"--server {server}", model, timeout
        self._channel = grpc.insecure_channel(server)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def signature(self) -> Taken:
        """What the model takes."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        found = get_model_metadata_pb2.SignatureDefMap()
        self._call(self._stub.GetModelMetadata, request).metadata["signature_def"].Unpack(found)
        signature = found.signature_def.get(SERVING_SIGNATURE)
        if signature is None or _INPUT not in signature.inputs or _OUTPUT not in signature.outputs:
            raise _not_ours(self._where, self._model)
        given = signature.inputs[_INPUT]
        own_pixels = PIXELS_SIGNATURE in found.signature_def
        return Taken(tf.as_dtype(given.dtype), tf.TensorShape(given.tensor_shape), own_pixels)

    def predict(
        self, batch: np.ndarray, signature: str = SERVING_SIGNATURE, output: str = _OUTPUT
    ) -> np.ndarray:
        """Float32 [N, 2048] of what the model takes [N, ...]; or another signature's output."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self._model, signature
        request.inputs[_INPUT].CopyFrom(tf.make_tensor_proto(batch))
        answer = self._call(self._stub.Predict, request)
        if output not in answer.outputs:
            raise CheckError(f"{self._where}: the answer has no {output}")
        return tf.make_ndarray(answer.outputs[output])

    def _call(self, method, request):
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise CheckError(
                    f"{self._where}: no answer within {self._timeout:g} seconds"
                ) from None
            kind = InputError if error.code() in _BAD_REQUEST else CheckError
            told = f"{error.code().name}: {error_text(error.details())}"
            raise kind(f"{self._where}: {told}") from None

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


class Rest:
    """The same over HTTP."""

    def __init__(self, server: str, model: str, timeout: float):
        self._where, self._model, self._timeout = f"--server {server}", model, timeout
        self._url = f"http://{server}/v1/models/{model}"

    def signature(self) -> Taken:
        """What the model takes."""
        try:
            signatures = self._call("/metadata")["metadata"]["signature_def"]["signature_def"]
            signature = signatures[SERVING_SIGNATURE]
            given, _ = signature["inputs"][_INPUT], signature["outputs"][_OUTPUT]
            sizes = [int(dimension["size"]) for dimension in given["tensor_shape"]["dim"]]
        except (KeyError, TypeError, ValueError):
            raise _not_ours(self._where, self._model) from None
        dtype = tf.as_dtype(given["dtype"].removeprefix("DT_").lower())
        shape = tf.TensorShape([None if size < 0 else size for size in sizes])
        return Taken(dtype, shape, PIXELS_SIGNATURE in signatures)

    def predict(
        self, batch: np.ndarray, signature: str = SERVING_SIGNATURE, output: str = _OUTPUT
    ) -> np.ndarray:
        """The same as `Grpc.predict`."""
        if batch.dtype == object:
            inputs = [{"b64": base64.b64encode(contents).decode()} for contents in batch]
        else:
            inputs = batch.tolist()
        answer = self._call(":predict", {"signature_name": signature, "inputs": inputs})
        try:
            return np.array(answer["outputs"], np.float32)
        except (KeyError, TypeError, ValueError):
            raise CheckError(f"{self._where}: the answer has no {output}") from None

    def _call(self, what: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + what, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            kind = InputError if error.code in _BAD_STATUS else CheckError
            told = f"HTTP {error.code}: {error_text(_error_in(error.read()))}"
            raise kind(f"{self._where}: {told}") from None
        except (TimeoutError, urllib.error.URLError) as error:
            if isinstance(error, TimeoutError) or isinstance(error.reason, TimeoutError):
                raise CheckError(
                    f"{self._where}: no answer within {self._timeout:g} seconds"
                ) from None
            raise CheckError(f"{self._where}: {error.reason}") from None
        except _NO_ANSWER as error:
            told = f"no answer in HTTP and JSON ({type(error).__name__})"
            raise CheckError(f"{self._where}: {told}") from None

    def close(self) -> None:
        """Nothing stays open."""


class RemoteEmbedder:
    """A model of this toolkit on a model server, as a function of one image's file.

    A model that takes files gets the file as it is, any other what the package's reader makes of
    it. A plain model (its input has the network's own size) gets the resized and normalised image
    and its mirror image.
    """

    def __init__(self, server: "Grpc | Rest"):
        """Ask the server what its model takes.

        Raises:
            InputError: no such model there, or another network's.
            CheckError: no answer.
        """
        self._server = server
        self._dtype, shape, own_pixels = server.signature()
        self._plain = shape.rank == 4 and None not in shape[1:3].as_list()
        if self._plain:
            size = shape[1:3].as_list()
            mean, std = MEAN, STD
            if own_pixels:
                nothing = np.zeros((1, *size, 3), np.float32)
                (row,) = server.predict(nothing, PIXELS_SIGNATURE, MEAN_AND_STD)
                mean, std = row[:3], row[3:]
            with new_graph().as_default() as graph:
                self._image = tf.placeholder(tf.uint8, [None, None, 3])
                prepared = normalise(resize(self._image, *size), mean, std)
                self._both = tf.stack([prepared, mirror(prepared)])
            self._session = new_session(graph, rewrite=False)

    def __call__(self, path: str | Path) -> np.ndarray:
        """Embed one image: float32 [2048], of length 1. Safe to call from several threads.

        Raises:
            InputError: not an image, or the server refuses it; the file is named.
            CheckError: no answer, or none that is an embedding.
        """
        try:
            rows = self._server.predict(self._prepare(path))
        except (InputError, CheckError) as error:
            raise type(error)(
                f"{path}: {error}" if str(path) not in str(error) else str(error)
            ) from None
        if rows.shape[1:] != (EMBEDDING_SIZE,) or len(rows) != 1 + self._plain:
            raise CheckError(
                f"{path}: the server answers {list(rows.shape)}, which is no embedding"
            )
        row = rows.sum(axis=0)
        length = np.linalg.norm(row)
        if not (self._plain or abs(length - 1) < 1e-2):  # NaN too
            raise CheckError(f"{path}: the server's embedding has length {length:.3g}, not 1")
        return row / np.maximum(length, 1e-12)

    def _prepare(self, path: str | Path) -> np.ndarray:
        if self._dtype == tf.string:
            try:
                return np.array([Path(path).read_bytes()], object)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        image = read_image(path)
        if self._plain:
            return self._session.run(self._both, {self._image: image})
        return image[None].astype(self._dtype.as_numpy_dtype)

    def close(self) -> None:
        """Free the sessions and the connection."""
        self._server.close()
        if self._plain:
            self._session.close()


def error_text(message: str) -> str:
    """The line of a server's error that tells it: "image 0: has no pixels", say."""
    lines = [line.strip() for line in str(message).splitlines()]
    found = next((line for line in lines if line and not _FRAME.match(line)), "no reason given")
    found = re.sub(
        r"^.*assertion failed: \[picture\] \[(\d+)\] \[(.*?)\].*", r"image \1: \2", found
    )
    return found.split("[[")[0].strip()[:300]


def _error_in(body: bytes) -> str:
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def _not_ours(where: str, model: str) -> InputError:
    return InputError(
        f"{where}: model {model} has no signature {SERVING_SIGNATURE} from {_INPUT} to {_OUTPUT}"
    )
