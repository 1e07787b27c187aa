"""What files of each format say of themselves, made by hand; `test_targets.py` has real ones."""

import json
from xml.sax.saxutils import quoteattr

import numpy as np
import onnx
import pytest
import tensorflow.compat.v1 as tf
from conftest import refused, run

from mgn.config import NetworkOptions
from mgn.deploy import __main__ as command
from mgn.deploy import description, tflite
from mgn.inference.exported import METADATA
from mgn.system.errors import InputError
from mgn.weights import checkpoints

ABOUT = checkpoints.describe(NetworkOptions(7, height=192, width=64)) | {
    "precision": "float16",
    "source_sha256": "abc",
    "tensorflow": "2.21.0",
}


def write_onnx(path, told):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "x", [value], [made])
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {"other": "1"} | ({METADATA: told} if told else {}))
    path.write_bytes(model.SerializeToString())


def write_ir(path, told):
    entry = f"<{METADATA} value={quoteattr(told)} />" if told else ""
    path.write_text(f"<net><layers/><rt_info><other value='1' />{entry}</rt_info></net>")


def write_graph(path, told):
    with tf.Graph().as_default() as graph:
        tf.constant(told or "{}", name=METADATA if told else "other")
    path.write_bytes(graph.as_graph_def().SerializeToString())


def write_tflite(path, told):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [1, 4], "x")
        converter = tf.lite.TFLiteConverter.from_session(session, [x], [2 * x])
        made = converter.convert()
    path.write_bytes(tflite._with_description(made, told) if told else made)


WRITERS = {".onnx": write_onnx, ".xml": write_ir, ".pb": write_graph, ".tflite": write_tflite}


def test_every_format_is_read():
    assert set(WRITERS) == set(description._READERS)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_tells_of_which_network_it_is(ending, tmp_path, capsys):
    path = tmp_path / f"x{ending}"
    WRITERS[ending](path, json.dumps(ABOUT))
    assert description.description_of(path) == ABOUT
    assert run(command, "--describe", path) == 0
    told = capsys.readouterr().out
    assert f"x{ending}: 0.0 MB" in told
    assert "192×64 images, 7 classes in training, float16" in told and "sha256 abc" in told


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_without_is_no_file_of_ours_and_a_damaged_one_is_told(ending, tmp_path, capsys):
    path = tmp_path / f"x{ending}"
    WRITERS[ending](path, None)
    line = refused(capsys, command, "--describe", path)
    assert f"x{ending}: has no description; name one made by python -m mgn.deploy" in line
    path.write_bytes(path.read_bytes()[:-9] + b"\xff" * 90)
    with pytest.raises(InputError, match=rf"x\{ending}: "):
        description.description_of(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"x\{ending}: "):
        description.description_of(path)


def test_a_description_without_what_it_must_tell(tmp_path, capsys):
    for told in ('{"kind": "mgn"}', "[1]", json.dumps({**ABOUT, "height": "x"})):
        write_ir(tmp_path / "x.xml", told)
        line = refused(capsys, command, "--describe", tmp_path / "x.xml")
        assert "x.xml: its description is damaged" in line


def test_a_flatbuffer_computes_what_it_did(tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    write_tflite(tmp_path / "x.tflite", "told")
    interpreter = litert.Interpreter(model_path=str(tmp_path / "x.tflite"))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], np.float32([[1, 2, 3, 4]]))
    interpreter.invoke()
    assert interpreter.get_tensor(made["index"]).tolist() == [[2, 4, 6, 8]]


def test_folders_and_other_files(tmp_path, capsys):
    (tmp_path / "triton" / "1").mkdir(parents=True)
    write_onnx(tmp_path / "triton" / "1" / "model.onnx", json.dumps(ABOUT))
    assert run(command, "--describe", tmp_path / "triton") == 0
    assert "model.onnx: 0.0 MB" in capsys.readouterr().out
    for given, problem in (
        (tmp_path, "has no mgn.onnx and no 1/model.onnx; name a file"),
        (tmp_path / "none.onnx", "no such file or folder"),
        (__file__, "must end in one of .onnx, .xml, .pb, .tflite"),
    ):
        assert problem in refused(capsys, command, "--describe", given)
