"""One version of a model as a function of files, over a server that says what it is told to."""

import contextlib

import cv2
import numpy as np
import pytest

from mgn.data.decoding import read_image
from mgn.data.demo import draw_image
from mgn.serving.answers import NotFoundError, RefusedError, Served
from mgn.serving.place import Place
from mgn.serving.remote import RemoteEmbedder
from mgn.serving.waiting import TryLaterError
from mgn.system.errors import CheckError, InputError

PLACE = Place("localhost:1", "mgn")
FILES = Served(3, "DT_STRING", None, False)
PIXELS = Served(3, "DT_UINT8", None, False)
FLOATS = Served(3, "DT_FLOAT", None, False)
PLAIN = Served(3, "DT_FLOAT", (96, 32), False)
GOOD = np.eye(1, 2048, dtype=np.float32)


class Answering:
    """A server of one model; of `answers` the last repeats."""

    def __init__(self, model, *answers):
        self.model, self.answers, self.got = model, [*answers], []

    def describe(self, version, label, _):
        self.asked = version, label
        return self.model

    def predict(self, version, batch, _, asked):
        self.got.append((version, batch, asked))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


@contextlib.contextmanager
def embedding_by(server, seconds=5):
    with contextlib.closing(RemoteEmbedder(server, PLACE, seconds)) as embed:
        yield embed
    assert server.closed


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "a.png"
    cv2.imwrite(str(path), draw_image(0, 1, 1, 0)[..., ::-1])
    return path


def test_a_model_gets_what_it_takes(path):
    image = read_image(path)
    for model, expected in ((FILES, [path.read_bytes()]), (PIXELS, [image]), (FLOATS, [image])):
        server = Answering(model, GOOD)
        with embedding_by(server) as embed:
            assert np.array_equal(embed(path), GOOD[0])
        ((version, batch, asked),) = server.got
        kind = {"DT_STRING": object, "DT_UINT8": np.uint8, "DT_FLOAT": np.float32}[model.dtype]
        assert asked == ("reid_mgn_serving", "reid_embedding", "input_image")
        assert version == 3 and batch.dtype == kind and np.array_equal(batch, expected)


def test_a_plain_model_gets_the_image_and_its_mirror_image(path):
    server = Answering(PLAIN, np.concatenate([GOOD, np.roll(GOOD, 1)]))
    with embedding_by(server) as embed:
        assert embed(path)[:3] == pytest.approx([0.5**0.5, 0.5**0.5, 0])
    ((_, batch, _),) = server.got
    assert batch.shape == (2, 96, 32, 3) and batch.dtype == np.float32
    assert np.array_equal(batch[1], batch[0][:, ::-1]) and np.ptp(batch[0]) > 1


def test_a_plain_model_of_smaller_vectors_is_asked_twice(path):
    """For whole vectors of both images, and to make what they sum to smaller: (1, 1) / sqrt(2)."""
    small = np.eye(1, 64, dtype=np.float32)
    model = PLAIN._replace(numbers=64, reduced=True)
    server = Answering(model, np.concatenate([GOOD, np.roll(GOOD, 1)]), small)
    with embedding_by(server) as embed:
        assert embed.size == 64 and np.array_equal(embed(path), small[0])
    (_, both, first), (_, whole, second) = server.got
    assert first == ("reid_mgn_whole", "whole_embedding", "input_image") and both.shape[0] == 2
    assert second == ("reid_mgn_smaller", "reid_embedding", "whole_embedding")
    assert whole.shape == (1, 2048) and whole[0, :3] == pytest.approx([0.5**0.5, 0.5**0.5, 0])
    wrong = Answering(model, np.concatenate([GOOD, GOOD]), GOOD)
    with embedding_by(wrong) as embed, pytest.raises(CheckError, match="not an embedding"):
        embed(path)


def test_a_mean_and_deviation_is_asked_for_once(path):
    """By hand: grey level 100 as (100 - 90) / 50 in each channel."""
    both = np.concatenate([GOOD, GOOD])
    numbers = np.float32([[90, 90, 90, 50, 50, 50]])
    server = Answering(PLAIN._replace(own_pixels=True), numbers, both)
    grey = path.parent / "grey.png"
    cv2.imwrite(str(grey), np.full((96, 32, 3), 100, np.uint8))
    with embedding_by(server) as embed:
        embed(grey)
        embed(grey)
    assert server.got[0][2][:2] == ("reid_mgn_pixels", "mean_and_std") and len(server.got) == 3
    assert server.got[1][1] == pytest.approx(0.2, rel=1e-4)
    with pytest.raises(CheckError, match=r"localhost:1: reid_mgn_pixels .* not mean and deviation"):
        RemoteEmbedder(Answering(PLAIN._replace(own_pixels=True), numbers * 0), PLACE, 5)


@pytest.mark.parametrize(
    ("model", "rows", "problem"),
    [
        (PIXELS, GOOD * np.nan, "NaN or infinite"),
        (PIXELS, GOOD * 2, "has length 2, not 1"),
        (PIXELS, np.repeat(GOOD, 2, 0), "not an embedding"),
        (PLAIN, np.zeros((2, 2048), np.float32), "has length 0"),
        (PLAIN, np.full((2, 2048), np.nan, np.float32), "NaN or infinite"),
        (PLAIN, GOOD, "not an embedding"),
    ],
)
def test_answers_that_are_no_embedding(path, model, rows, problem):
    server = Answering(model, rows)
    with embedding_by(server) as embed, pytest.raises(CheckError, match=rf"a\.png: .*{problem}"):
        embed(path)
    assert len(server.got) == 1  # which is no better later


def test_files_that_cannot_be_read(path):
    for model in (FILES, PIXELS):
        server = Answering(model, GOOD)
        with (
            embedding_by(server) as embed,
            pytest.raises(InputError, match=r"none\.jpg: cannot be read"),
        ):
            embed(path.parent / "none.jpg")
        assert not server.got


def test_a_busy_server_is_asked_again(path):
    busy = TryLaterError("--server localhost:1: queue is full")
    server = Answering(FILES, busy, busy, GOOD)
    with embedding_by(server) as embed:
        assert np.array_equal(embed(path), GOOD[0])
    assert len(server.got) == 3
    with embedding_by(Answering(FILES, busy), seconds=0.3) as embed:
        told = r"a\.png: --server localhost:1: no answer within 0\.3 seconds .* queue is full"
        with pytest.raises(CheckError, match=told):
            embed(path)


def test_what_the_server_refuses(path):
    refused, gone = RefusedError("image 0: empty"), NotFoundError("Specific(mgn, 3)")
    for answer, kind, problem in (
        (refused, RefusedError, r"a\.png: image 0: empty"),
        (gone, CheckError, r"version 3 is no longer served \(Specific\(mgn, 3\)"),
    ):
        with embedding_by(Answering(FILES, answer)) as embed, pytest.raises(kind, match=problem):
            embed(path)


def test_the_version_is_the_one_that_was_chosen():
    server = Answering(FILES, GOOD)
    assert RemoteEmbedder(server, PLACE, 5, label="stable").version == 3
    assert server.asked == (None, "stable")
