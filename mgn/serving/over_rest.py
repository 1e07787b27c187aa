"""A model server over REST."""

import base64
import http.client
import json
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from concurrent import futures

import numpy as np

from mgn.serving.answers import (
    CHECK_SERVER,
    EMBEDDINGS,
    NotFoundError,
    Question,
    RefusedError,
    Served,
    Signature,
    Tensor,
    error_text,
    served,
)
from mgn.serving.place import Place
from mgn.serving.waiting import TryLaterError, started
from mgn.system.errors import CheckError, InputError, MgnError
from mgn.system.numbers import is_digits

# TensorFlow Serving's ABORTED, RESOURCE_EXHAUSTED, CANCELLED, UNAVAILABLE, DEADLINE_EXCEEDED, and
# what a proxy says of a server that is away.
_LATER = {409: "aborted", 429: "too many requests", 499: "cancelled"}
_LATER |= {502: "bad gateway", 503: "unavailable", 504: "gateway timeout"}
_KINDS = {400: RefusedError, 401: InputError, 403: InputError, 404: NotFoundError}
_MOST_BYTES = 2**24  # of an answer; an embedding has 50 kB
_NO_ANSWER = (ValueError, http.client.HTTPException)  # another protocol's


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A request's headers may be secret, and are for the server alone that was named."""

    def redirect_request(self, *_: object) -> None:
        """Go nowhere: the answer is then an HTTP error."""


class Rest:
    """REST's predict and metadata of one model; safe to call from several threads."""

    def __init__(self, place: Place):
        self._place = place
        scheme = "https" if place.tls else "http"
        model = urllib.parse.quote(place.model, safe="")
        self._url = f"{scheme}://{place.server}/v1/models/{model}"
        handlers = [urllib.request.ProxyHandler({} if place.is_loopback else None), _NoRedirects]
        if place.tls:
            context = ssl.create_default_context(cafile=place.ca_file)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def describe(self, version: int | None, label: str | None, seconds: float) -> Served:
        """What the model takes; `version` or `label` choose between its versions."""
        chosen = "" if version is None else f"/versions/{version}"
        if label is not None:
            chosen = f"/labels/{urllib.parse.quote(label, safe='')}"
        answer = self._call(f"{chosen}/metadata", None, seconds)
        signatures = {}
        try:
            told = str(answer["model_spec"]["version"]) if "model_spec" in answer else ""
            described = answer["metadata"]["signature_def"]["signature_def"]
            for name, signature in described.items():
                inputs, outputs = signature["inputs"], signature.get("outputs", {})
                signatures[name] = Signature(_tensors(inputs), _tensors(outputs))
        except (KeyError, TypeError, ValueError, AttributeError):
            told, signatures = "", {}  # no description of a model, and so none of ours
        answered = int(told) if is_digits(told) else None
        return served(self._place, answered, version, signatures)

    def predict(
        self, version: int, batch: np.ndarray, seconds: float, asked: Question = EMBEDDINGS
    ) -> np.ndarray:
        """The same as `Grpc.predict`. REST's answers have no version: the address has it."""
        if batch.dtype == object:
            inputs = [{"b64": base64.b64encode(contents).decode()} for contents in batch]
        else:
            inputs = batch.tolist()
        body = {"signature_name": asked.signature, "inputs": inputs}
        answer = self._call(f"/versions/{version}:predict", body, seconds)
        try:
            rows = np.array(answer["outputs"])
        except (KeyError, TypeError, ValueError):
            problem = f"the answer has no {asked.output}; {CHECK_SERVER}"
            raise CheckError(f"{self._place.where}: {problem}") from None
        if rows.dtype.kind not in "fiu":
            problem = f"{asked.output} in the answer is not of numbers; {CHECK_SERVER}"
            raise CheckError(f"{self._place.where}: {problem}")
        with np.errstate(over="ignore"):
            return rows.astype(np.float32)

    def _call(self, what: str, body: dict | None, seconds: float) -> dict:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | dict(self._place.headers)
        request = urllib.request.Request(self._url + what, data, headers)
        try:
            # The timeout of a socket bounds each wait for the next bytes, not the whole.
            return started(self._exchange, request, seconds).result(seconds)
        except (futures.TimeoutError, TimeoutError):
            raise TimeoutError from None
        except (MgnError, MemoryError):
            raise
        except Exception as error:
            raise self._told(error) from None

    def _exchange(self, request: urllib.request.Request, seconds: float) -> dict:
        try:
            answer = self._opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        with answer:
            contents = answer.read(_MOST_BYTES + 1)
            missing = answer.length  # None: the server did not say how long its answer is
        if len(contents) > _MOST_BYTES:
            problem = f"an answer of more than {_MOST_BYTES:,} bytes; {CHECK_SERVER}"
            raise CheckError(f"{self._place.where}: {problem}")
        if missing:  # where Python's reader raises nothing, as it was told how much to read
            raise http.client.IncompleteRead(contents, missing)
        found = json.loads(contents)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        return found

    def _refusal(self, error: urllib.error.HTTPError) -> MgnError:
        """What to raise for an HTTP status, with the words of the answer's body."""
        try:
            body = error.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException):
            body = b""
        kind = TryLaterError if error.code in _LATER else _KINDS.get(error.code, CheckError)
        told = _error_in(body) or _LATER.get(error.code, error.reason)
        return kind(f"{self._place.where}: HTTP {error.code}: {error_text(told)}")

    def _told(self, error: Exception) -> Exception:
        """What to raise for a request that got no answer."""
        where = self._place.where
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return TimeoutError()
        if isinstance(reason, ssl.SSLError):
            return CheckError(f"{where}: {reason}")
        if isinstance(reason, http.client.IncompleteRead | ConnectionError):  # it may start anew
            return TryLaterError(f"{where}: {reason or type(reason).__name__}")
        if isinstance(reason, _NO_ANSWER):
            told = (
                f"no answer in HTTP and JSON ({type(reason).__name__}); check the port and --rest"
            )
            return CheckError(f"{where}: {told}")
        if isinstance(reason, OSError):
            lasting = isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN
            return (CheckError if lasting else TryLaterError)(f"{where}: {reason}")
        return error

    def close(self) -> None:
        """Nothing stays open."""


def _tensors(described: dict) -> dict[str, Tensor]:
    found = {}
    for name, tensor in described.items():
        shape = tensor["tensor_shape"]
        sizes = [int(dim["size"]) for dim in shape.get("dim", [])]
        found[name] = Tensor(str(tensor["dtype"]), None if shape.get("unknown_rank") else sizes)
    return found


def _error_in(body: bytes) -> str:
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
