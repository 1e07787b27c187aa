"""What a file says of itself, for files of ours and of others."""

import json

import pytest
import tensorflow.compat.v1 as tf
from conftest import refused, run

from mgn.export import __main__ as export
from mgn.export import description, freezing
from mgn.inference.graph import PLAIN, PRE_POST
from mgn.serving import saved_model
from mgn.system.errors import InputError


@pytest.fixture(scope="module")
def pb(small_graphs):
    return small_graphs(PRE_POST, "uint8")


def convolutions_by_hand(height, width, classes=False):
    """Multiplications and additions of ResNet-50's layers and the heads, from their sizes alone."""
    assert not classes
    total, (h, w) = 0, (height // 2, width // 2)
    total += h * w * 64 * 3 * 49
    h, w, channels = h // 2, w // 2, 64

    def layer(h, w, channels, width, blocks, stride):
        count = 0
        for i in range(blocks):
            s = stride if i == 0 else 1
            count += h * w * channels * width  # 1x1 before the stride
            if i == 0 and (stride != 1 or channels != 4 * width):
                count += (h // s) * (w // s) * channels * 4 * width
            h, w = h // s, w // s
            count += h * w * width * width * 9 + h * w * width * 4 * width
            channels = 4 * width
        return count, h, w, channels

    for width_, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 1, 2)):
        count, h, w, channels = layer(h, w, channels, width_, blocks, stride)
        total += count
    for stride in (2, 1, 1):
        count, *_ = layer(h, w, 1024, 256, 5, 1)
        total += count
        count, *_ = layer(h, w, 1024, 512, 3, stride)
        total += count
    return 2 * (total + 8 * 2048 * 256)


def test_a_frozen_graph_is_described(pb, capsys):
    found = description.describe(pb)
    assert (found.kind, found.form) == ("frozen graph", "pre_post")
    assert found.inputs == {"image_tensor": "uint8 [N, any, any, 3]"}
    assert found.outputs == {"result_embedding": "float32 [N, 2048]"}
    assert found.megabytes == pytest.approx(pb.stat().st_size / 1e6)
    assert found.weights["float32"] == pytest.approx(68.8e6, rel=0.01)
    assert found.operations["Conv2D"] == 111
    # Both the image and its mirror image go through; biases, sums and ReLUs add a few per cent.
    assert 1 < found.gigaflops * 1e9 / (2 * convolutions_by_hand(96, 32)) < 1.05
    assert run(export, pb) == 0
    text = capsys.readouterr().out
    assert "input   image_tensor: uint8 [N, any, any, 3]" in text
    assert "network mgn-pytorch (avg pooling, relu heads)" in text
    assert "96×32 images, 10 classes in training, float32" in text
    assert "order   fg_p1 fg_p2 fg_p3 f0_p2 f1_p2 f0_p3 f1_p3 f2_p3" in text
    assert run(export, pb, "--json") == 0
    assert json.loads(capsys.readouterr().out)["description"]["embedding_order"][3] == "f0_p2"


@pytest.mark.usefixtures("shallow_here")
def test_a_saved_model_is_described(shallow_checkpoint, tmp_path):
    freezing.export_pb(shallow_checkpoint, tmp_path / "x.pb", PRE_POST, "uint8")
    saved_model.export_saved_model(tmp_path / "x.pb", tmp_path / "served", PRE_POST)
    found = description.describe(tmp_path / "served")
    assert (found.kind, found.path.name) == ("SavedModel", "1")
    assert found.inputs == {"input_image": "uint8 [N, any, any, 3]"}
    assert found.outputs == {"reid_embedding": "float32 [N, 2048]"}
    assert found.description["form"] == PRE_POST


def test_files_of_others_and_no_files(tmp_path, capsys):
    x = tf.placeholder(tf.float32, [None, 96, 32, 3], name="image_tensor")
    tf.reduce_mean(x, axis=[1, 2], name="person_embedding")
    (tmp_path / "theirs.pb").write_bytes(tf.get_default_graph().as_graph_def().SerializeToString())
    found = description.describe(tmp_path / "theirs.pb")
    assert (found.form, found.description) == (PLAIN, {})
    assert "no description inside: made by another program" in description.as_text(found)
    (tmp_path / "text.pb").write_text("hello")
    with pytest.raises(InputError, match="not a frozen graph"):
        description.describe(tmp_path / "text.pb")
    assert "no such file" in refused(capsys, export, tmp_path / "none.pb")
    assert "a folder without a SavedModel" in refused(capsys, export, tmp_path)
