"""Answers that are embeddings and answers that are not, each with its line."""

import numpy as np
import pytest

from mgn.serving.answers import (
    Served,
    Signature,
    Tensor,
    check_version,
    embedding_of,
    error_text,
    mean_and_std_of,
    served,
)
from mgn.serving.place import Place
from mgn.system.errors import CheckError, InputError

PLACE = Place("localhost:8500", "mgn")
EMBEDDING = Tensor("DT_FLOAT", [-1, 2048])
NO = Signature({}, {})


def row(*numbers):
    """Float32 [2048] that begins with these."""
    return np.pad(np.float32(numbers), (0, 2048 - len(numbers)))


def described(dtype, shape, **others):
    ours = Signature(
        {"input_image": Tensor(dtype, shape)}, {"reid_embedding": others.pop("output", EMBEDDING)}
    )
    return {"reid_mgn_serving": ours} | others


def test_an_embedding_keeps_its_direction():
    got = embedding_of(np.stack([row(0.6, 0, 0.8)]), plain=False)
    assert got.dtype == np.float32 and got[:3] == pytest.approx([0.6, 0, 0.8])


def test_a_plain_models_two_rows_are_added():
    """By hand: (1, 3) + (2, 1) = (3, 4), of length 5."""
    got = embedding_of(np.stack([row(1, 3), row(2, 1)]), plain=True)
    assert got[:2] == pytest.approx([0.6, 0.8]) and not got[2:].any()
    big = embedding_of(np.stack([row(3e38), row(3e38)]), plain=True)  # beyond float32 as a sum
    assert big[0] == pytest.approx(1)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        ((np.nan, 1), "NaN or infinite"),
        ((np.inf, 1), "NaN or infinite"),
        ((-np.inf,), "NaN or infinite"),
        ((0, 0), "has length 0"),
        ((1e-30,), "has length 0"),
    ],
)
def test_numbers_that_are_no_embedding(plain, numbers, problem):
    with pytest.raises(CheckError, match=problem):
        embedding_of(np.stack([row(*numbers)] * (1 + plain)), plain)
    if plain:  # one of the two is enough
        with pytest.raises(CheckError, match=problem):
            embedding_of(np.stack([row(1, 2), row(*numbers)]), plain)


def test_rows_that_cancel():
    with pytest.raises(CheckError, match="has length 0"):
        embedding_of(np.stack([row(1, 2), row(-1, -2)]), plain=True)


def test_a_whole_model_gives_length_one():
    with pytest.raises(CheckError, match=r"has length 1\.41, not 1"):
        embedding_of(np.stack([row(1, 1)]), plain=False)


@pytest.mark.parametrize("shape", [(2, 2048), (1, 7), (2048,), (), (0, 2048)])
def test_shapes_that_are_no_embedding(shape):
    with pytest.raises(CheckError, match="is not an embedding"):
        embedding_of(np.ones(shape, np.float32), plain=False)


@pytest.mark.parametrize(
    ("signatures", "expected"),
    [
        (described("DT_STRING", [-1]), Served(3, "DT_STRING", None, False)),
        (described("DT_STRING", None), Served(3, "DT_STRING", None, False)),
        (described("DT_UINT8", [-1, -1, -1, 3]), Served(3, "DT_UINT8", None, False)),
        (described("DT_FLOAT", [-1, -1, -1, 3]), Served(3, "DT_FLOAT", None, False)),
        (described("DT_FLOAT", [-1, 384, 128, 3]), Served(3, "DT_FLOAT", (384, 128), False)),
        (
            described("DT_FLOAT", [-1, 96, 32, 3], reid_mgn_pixels=Signature({}, {})),
            Served(3, "DT_FLOAT", (96, 32), True),
        ),
        (
            described("DT_STRING", [-1], output=Tensor("DT_FLOAT", [-1, 256])),
            Served(3, "DT_STRING", None, False, numbers=256),
        ),
        (
            described("DT_STRING", [-1], output=Tensor("DT_FLOAT", None)),
            Served(3, "DT_STRING", None, False, numbers=2048),
        ),
        (
            described("DT_FLOAT", [-1, 96, 32, 3], reid_mgn_whole=NO, reid_mgn_smaller=NO),
            Served(3, "DT_FLOAT", (96, 32), False, reduced=True),
        ),
    ],
)
def test_what_a_model_takes(signatures, expected):
    assert served(PLACE, 3, None, signatures) == expected
    assert served(PLACE, None, 3, signatures) == expected  # a server that does not say


@pytest.mark.parametrize(
    ("signatures", "problem"),
    [
        ({}, "model mgn has no signature reid_mgn_serving from input_image to reid_embedding"),
        ({"reid_mgn_serving": Signature({}, {})}, "has no signature reid_mgn_serving"),
        (described("number 99", [-1, -1, -1, 3]), "input_image is number 99 .*serve an export"),
        (described("DT_INT64", [-1]), "input_image is DT_INT64"),
        (described("DT_STRING", [-1, 384, 128, 3]), "input_image is DT_STRING"),
        (described("DT_UINT8", [-1, 384, 128, 3]), "input_image is DT_UINT8"),
        (described("DT_FLOAT", [-1, 3]), "input_image is DT_FLOAT"),
        (described("DT_FLOAT", [-1, 384, 128, 1]), "input_image is DT_FLOAT"),
        (
            described("DT_STRING", [-1], output=Tensor("DT_STRING", [-1])),
            "reid_embedding is DT_STRING, not DT_FLOAT",
        ),
    ],
)
def test_models_of_others(signatures, problem):
    with pytest.raises(InputError, match=f"^--server localhost:8500: .*{problem}"):
        served(PLACE, 3, None, signatures)


def test_the_version_is_known_and_the_right_one():
    signatures = described("DT_STRING", [-1])
    assert served(PLACE, 0, 0, signatures).version == 0
    with pytest.raises(CheckError, match=r"does not say which version .*--version"):
        served(PLACE, None, None, signatures)
    with pytest.raises(CheckError, match="version 4 answers, not version 3"):
        served(PLACE, 4, 3, signatures)
    check_version(PLACE, 3, 3)
    with pytest.raises(CheckError, match="a version that it does not tell answers, not version 3"):
        check_version(PLACE, None, 3)


def test_mean_and_deviation():
    rows = np.float32([[89, 79, 80, 63, 64, 65]])
    mean, std = mean_and_std_of(PLACE, rows)
    assert mean.tolist() == [89, 79, 80] and std.tolist() == [63, 64, 65]
    for wrong in (rows[0], rows[:, :5], np.repeat(rows, 2, 0), rows * np.nan, rows * 0):
        with pytest.raises(CheckError, match="not mean and deviation"):
            mean_and_std_of(PLACE, wrong)


def test_what_a_servers_error_says():
    graph = (
        "Graph execution error:\n\nDetected at node 'x'\nNode: 'x'\nit says so\n\t [[{{node x}}]]"
    )
    assert error_text(graph) == "it says so"
    assert (
        error_text("assertion failed: [picture] [3] [empty] [[{{node Assert}}]]")
        == "image 3: empty"
    )
    assert error_text("") == "no reason given"
