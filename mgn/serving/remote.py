"""A model behind a model server, as `embed(path)` of one image file."""

from pathlib import Path

import numpy as np

from mgn.config.variants import MEAN, STD
from mgn.data.decoding import read_image
from mgn.serving.answers import (
    EMBEDDINGS,
    FILES,
    OWN_PIXELS,
    PIXELS,
    SMALLER,
    WHOLE,
    NotFoundError,
    Question,
    embedding_of,
    mean_and_std_of,
)
from mgn.serving.over_grpc import Grpc
from mgn.serving.over_rest import Rest
from mgn.serving.place import Place
from mgn.serving.waiting import Patience
from mgn.system.errors import CheckError, InputError


class RemoteEmbedder:
    """One version of a model of this toolkit on a model server, as a function of an image's file.

    A model that takes files gets the file as it is, any other what the package's reader makes of
    it. A plain model (its input has the network's own size) gets the resized and normalised image
    and its mirror image; only this needs TensorFlow. If it gives smaller vectors, it is asked for
    whole ones, and then to make their sum smaller, as `Embedder` does.
    """

    def __init__(
        self,
        server: Grpc | Rest,
        place: Place,
        seconds: float,
        version: int | None = None,
        label: str | None = None,
    ):
        """Ask the server what its model takes, and keep to the version that it answers for.

        Args:
            server: of this `place`.
            place: named in messages.
            seconds: for each answer, pauses before a busy server is asked again included.
            version: of the model; None: of this label, or the server's choice, the highest.
            label: that the server's configuration gives to a version.

        Raises:
            InputError: no such model there, or another network's.
            CheckError: no answer.
        """
        self._server, self._place = server, place
        self._patience = Patience(place.where, seconds)
        self._plain = None
        self._model = self._patience(lambda left: server.describe(version, label, left))
        if self._model.size:
            self._plain = self._preparation()

    @property
    def version(self) -> int:
        """The version of the model that answers every call."""
        return self._model.version

    @property
    def size(self) -> int:
        """How many numbers an embedding has."""
        return self._model.numbers

    def __call__(self, path: str | Path) -> np.ndarray:
        """Embed one image: float32 [`size`], of length 1. Safe to call from several threads.

        Raises:
            InputError: not an image, or the server refuses it (`RefusedError`); the file is named.
            CheckError: no answer, or none that is an embedding, or the version is gone.
        """
        try:
            batch = self._prepare(path)
            if self._plain is None or not self._model.reduced:
                return embedding_of(self._predict(batch), self._plain is not None, self.size)
            whole = embedding_of(self._predict(batch, WHOLE), plain=True)
            return embedding_of(self._predict(whole[None], SMALLER), plain=False, numbers=self.size)
        except (InputError, CheckError) as error:
            raise type(error)(
                f"{path}: {error}" if str(path) not in str(error) else str(error)
            ) from None

    def _predict(self, batch: np.ndarray, asked: Question = EMBEDDINGS) -> np.ndarray:
        version = self.version
        try:
            return self._patience(lambda left: self._server.predict(version, batch, left, asked))
        except NotFoundError as error:
            raise CheckError(
                f"version {version} is no longer served ({error}); start again"
            ) from None

    def _prepare(self, path: str | Path) -> np.ndarray:
        if self._model.dtype == FILES:
            try:
                return np.array([Path(path).read_bytes()], object)
            except OSError as error:
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}); check the name"
                ) from None
        image = read_image(path)
        if self._plain:
            return self._plain(image)
        return image[None] if self._model.dtype == PIXELS else image[None].astype(np.float32)

    def _preparation(self) -> object:
        mean, std = MEAN, STD
        if self._model.own_pixels:
            nothing = np.zeros((1, *self._model.size, 3), np.float32)
            rows = self._predict(nothing, OWN_PIXELS)
            mean, std = mean_and_std_of(self._place, rows)

        from mgn.serving.preparation import PlainImages

        return PlainImages(self._model.size, mean, std)

    def close(self) -> None:
        """Free the session and the connection; requests under way end."""
        self._server.close()
        if self._plain:
            self._plain.close()


def connect(
    place: Place, rest: bool, seconds: float, version: int | None = None, label: str | None = None
) -> RemoteEmbedder:
    """A `RemoteEmbedder` over REST or gRPC; see there."""
    server = (Rest if rest else Grpc)(place)
    try:
        return RemoteEmbedder(server, place, seconds, version, label)
    except BaseException:
        server.close()
        raise
