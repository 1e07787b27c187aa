"""The whole network's export has the published embedding: in TensorFlow alone, and in OpenCV."""

import cv2
import numpy as np
import pytest
from conftest import REFERENCE, relative, seeded_variables, write_checkpoint
from export.test_freezing import run_as_stranger

from mgn.config import NetworkOptions
from mgn.export import freezing
from mgn.inference.graph import PLAIN
from mgn.weights import checkpoints


@pytest.fixture(scope="module")
def full_checkpoint(tmp_path_factory):
    """The reference checkpoint at the full 384x128."""
    prefix = tmp_path_factory.mktemp("full") / "seeded"
    write_checkpoint(prefix, seeded_variables("seathiefwang"), NetworkOptions(751))
    return prefix


def test_a_plain_pb_alone_gives_the_published_embedding(tmp_path, full_checkpoint):
    freezing.export_pb(full_checkpoint, tmp_path / "mgn.pb", PLAIN)
    batch = (
        np.random.RandomState(7)
        .standard_normal((2, 3, 384, 128))
        .astype(np.float32)
        .transpose(0, 2, 3, 1)
    )
    got = run_as_stranger(
        tmp_path, tmp_path / "mgn.pb", "person_embedding", one=batch[:1], both=batch
    )
    expected = np.load(REFERENCE / "forward_seathiefwang_avg.npz")["embedding"]
    print(f"plain pb: {relative(got['both'], expected):.1e}")
    assert relative(got["one"], expected[:1]) <= 1e-5
    assert relative(got["both"], expected) <= 1e-5
    assert opencv_difference(tmp_path / "mgn.pb", "forward_seathiefwang_avg") <= 1e-5


def opencv_difference(pb, expected):
    network = cv2.dnn.readNetFromTensorflow(str(pb))
    network.setInput(
        np.random.RandomState(7).standard_normal((2, 3, 384, 128)).astype(np.float32)
    )  # NCHW
    difference = relative(network.forward(), np.load(REFERENCE / f"{expected}.npz")["embedding"])
    print(f"OpenCV {expected}: {difference:.1e}")
    return difference


@pytest.mark.parametrize(
    ("keys", "pool", "reduction", "expected"),
    [
        ("seathiefwang", "max", "relu", "forward_seathiefwang_max"),
        ("lwplw_prelu", "avg", "prelu", "forward_lwplw_prelu_avg"),
    ],
)
def test_opencv_gives_the_published_embedding(tmp_path, keys, pool, reduction, expected):
    write_checkpoint(tmp_path / "x", seeded_variables(keys), NetworkOptions(751, pool, reduction))
    graph_def = freezing.freeze(checkpoints.find(tmp_path / "x"), PLAIN, "float32")
    (tmp_path / "mgn.pb").write_bytes(graph_def.SerializeToString())
    assert opencv_difference(tmp_path / "mgn.pb", expected) <= 1e-5
