"""Every target's files, loaded as its program loads them; and what must not pass."""

import json
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow.compat.v1 as tf
from blocks import marked
from conftest import refused, relative, run
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from mgn.config.options import Reduce
from mgn.data.demo import draw_image
from mgn.deploy import __main__ as command
from mgn.deploy import targets
from mgn.deploy.description import description_of
from mgn.deploy.target import Choices
from mgn.export import freezing
from mgn.export.price import Price
from mgn.inference import load_embedder
from mgn.inference.exported import metadata_of, read_graph_def
from mgn.inference.graph import PLAIN, PRE_POST
from mgn.system.errors import CheckError

pytestmark = pytest.mark.usefixtures("shallow_network")
HEIGHT, WIDTH = 96, 32
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
NAMES = {
    "onnx": "x.onnx",
    "boxmot": "b.onnx",
    "deepstream": "deepstream",
    "triton": "triton",
    "openvino": "o.xml",
    "deep_sort": "d.pb",
    "tflite": "t.tflite",
    "opencv": "c.pb",
}


def drawn(size=(WIDTH, HEIGHT)):
    """Other images than those by which a target proves itself."""
    images = [cv2.resize(draw_image(3, person, 2, 1), size) for person in (5, 6)]
    return np.stack(images)  # uint8 RGB


@pytest.fixture(scope="module")
def made(small_graphs, tmp_path_factory):
    """All targets' files, of one plain export, by the command that users run."""
    folder = tmp_path_factory.mktemp("deployed")
    for name, file in NAMES.items():
        flags = ["--pre", "--length_1"] if name == "onnx" else []
        given = ["--pb_path", small_graphs(PLAIN), "--output", folder / file, *flags]
        assert run(command, name, *given) == 0
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def expected(small_graphs):
    """(embeddings, the same of length 1), by the export itself."""
    with closing(load_embedder(small_graphs(PLAIN))) as embed:
        return embed.original(drawn()), embed(drawn(), flip=False)


def of_onnx(path, images):
    session = onnxruntime.InferenceSession(str(path))
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert given.shape == ["batch", 3, HEIGHT, WIDTH] and result.shape == ["batch", 2048]
    return session.run([result.name], {given.name: np.float32(images)})[0]


def of_length_1(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_the_command_knows_all_targets(capsys):
    assert set(command.TARGETS) == set(targets.TARGETS) == set(NAMES)
    for name, target in targets.TARGETS.items():
        taken = {choice for choice, names in command._TAKEN_BY.items() if name in names}
        assert taken == set(target.takes)
    assert run(command, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(targets.TARGETS)


def test_every_file_describes_itself_as_the_export_does(made, small_graphs):
    source = metadata_of(read_graph_def(small_graphs(PLAIN)).node)
    for file in NAMES.values():
        path = made / file
        if path.is_dir():
            path = next(path.rglob("*.onnx"))
        assert description_of(path) == source


def test_onnx_takes_grey_levels_in_rgb_and_planes(made, expected):
    path = made / NAMES["onnx"]
    planes = drawn().transpose(0, 3, 1, 2)
    got = of_onnx(path, planes)
    print(f"onnx: {relative(got, expected[1]):.1e}")
    assert relative(got, expected[1]) <= 1e-5
    one = of_onnx(path, planes[:1])  # any batch size
    assert relative(one, expected[1][:1]) <= 1e-5
    # What must fail: BGR, grey levels divided twice, rows of pixels instead of planes.
    assert relative(of_onnx(path, planes[:, ::-1]), expected[1]) > 1e-3
    assert relative(of_onnx(path, planes / 255), expected[1]) > 1e-3
    with pytest.raises(Exception, match="Got invalid dimensions"):
        of_onnx(path, drawn())


def test_onnx_is_of_opset_17_and_describes_itself(made, small_graphs):
    model = onnx.load(made / NAMES["onnx"])
    assert model.opset_import[0].version == 17
    described = {entry.key: entry.value for entry in model.metadata_props}
    source = metadata_of(read_graph_def(small_graphs(PLAIN)).node)
    assert json.loads(described["mgn_metadata"]) == source
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Transpose") <= 2  # of images: those of kernels are done


def test_boxmot_normalises_as_its_own_code_does(made, expected):
    planes = drawn().transpose(0, 3, 1, 2) / 255
    shape = 1, 3, 1, 1
    got = of_onnx(made / "b.onnx", (planes - MEAN.reshape(shape)) / STD.reshape(shape))
    assert relative(of_length_1(got), expected[1]) <= 1e-5
    assert relative(of_length_1(of_onnx(made / "b.onnx", planes)), expected[1]) > 1e-3
    about = json.loads((made / "b.onnx.metadata.json").read_text())
    assert about == {
        "schema_version": 1,
        "model_name": "mgn",
        "preprocess": "resize",
        "img_size": [HEIGHT, WIDTH],
    }


def test_the_example_of_the_document(made, monkeypatch):
    """As it stands on its page: two people change places between two frames."""
    (block,) = marked("tracker")
    given = {}
    (made / "mgn.onnx").symlink_to(made / "b.onnx")
    monkeypatch.chdir(made)
    exec(block.text, given)
    (made / "mgn.onnx").unlink()
    assert given["distances"].shape == (2, 2) and given["matches"].tolist() == [1, 0]


def test_boxmots_own_backend_has_the_exports_embeddings(made, expected):
    """Its package takes another OpenCV than this project: run where somebody installed it."""
    backend = pytest.importorskip("boxmot.reid.backends.onnx_backend", reason="needs boxmot")
    torch = pytest.importorskip("torch")
    frame = np.zeros((200, 300, 3), np.uint8)
    boxes = []
    for i, image in enumerate(drawn()):
        left = 40 + 100 * i
        frame[50 : 50 + HEIGHT, left : left + WIDTH] = image[..., ::-1]
        boxes.append([left, 50, left + WIDTH, 50 + HEIGHT])
    loaded = backend.ONNXBackend(str(made / "b.onnx"), torch.device("cpu"), False)
    got = loaded.get_features(np.float64(boxes), frame)
    assert relative(got, expected[1]) <= 1e-5


def test_deepstreams_block_says_how_it_feeds_the_model(made, expected):
    told = {}
    for line in (made / "deepstream" / "reid.yml").read_text().splitlines():
        if ":" in line and not line.startswith(("#", "ReID")):
            key, value = line.split("#")[0].split(":")
            told[key.strip()] = json.loads(value)
    assert told["inferDims"] == [3, HEIGHT, WIDTH] and told["reidFeatureSize"] == 2048
    assert told["onnxFile"] == "mgn.onnx" and told["colorFormat"] == told["inputOrder"] == 0
    offsets = np.float32(told["offsets"]).reshape(1, 3, 1, 1)
    given = told["netScaleFactor"] * (drawn().transpose(0, 3, 1, 2) - offsets)
    got = of_onnx(made / "deepstream" / told["onnxFile"], given)
    assert told["addFeatureNormalization"] == 1
    assert relative(of_length_1(got), expected[1]) <= 1e-5


def test_tritons_configuration_is_one_and_fits_the_model(made, expected):
    text = (made / "triton" / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    (given,), (result,) = config.input, config.output
    session = onnxruntime.InferenceSession(str(made / "triton" / "1" / "model.onnx"))
    assert [given.name, *given.dims] == [session.get_inputs()[0].name, 3, HEIGHT, WIDTH]
    assert [result.name, *result.dims] == [session.get_outputs()[0].name, 2048]
    assert given.data_type == result.data_type == model_config_pb2.TYPE_FP32
    warm = config.model_warmup[0].inputs[given.name]
    assert list(warm.dims) == list(given.dims) and warm.data_type == given.data_type
    assert max(config.dynamic_batching.preferred_batch_size) <= config.max_batch_size
    planes = drawn().transpose(0, 3, 1, 2)
    assert relative(of_onnx(made / "triton" / "1" / "model.onnx", planes), expected[1]) <= 1e-5


def test_openvino_takes_bgr_bytes(made, expected):
    paths = [made / "o.xml", made / "o.bin"]
    target = targets.TARGETS["openvino"]
    got = target.run(paths, drawn(), Choices())
    print(f"openvino: {relative(got, expected[0]):.1e}")
    assert relative(got, expected[0]) <= 1e-5
    wrong = target.run(paths, drawn(), Choices(rgb=True))  # feeds RGB
    assert relative(wrong, expected[0]) > 1e-3
    text = (made / "o.xml").read_text()
    assert 'name="data"' in text and "reid_embedding" in text and "mgn_metadata" in text
    assert 'shape="1,3,96,32" element_type="u8"' in text


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Images to choose ranges from."""
    folder = tmp_path_factory.mktemp("people")
    for person in range(1, 49):
        cv2.imwrite(str(folder / f"{person}.png"), draw_image(0, person, 1, 0)[..., ::-1])
    return folder


def of_int8(small_graphs, people, output, *flags):
    given = "--pb_path", small_graphs(PLAIN), "--output", output, "--calibration", people
    return "openvino", "--int8", *given, *flags


def test_openvino_in_eight_bits_is_close_and_says_how_close(
    small_graphs, people, made, expected, tmp_path, capsys
):
    path = tmp_path / "x.xml"
    assert run(command, *of_int8(small_graphs, people, path)) == 0
    told = capsys.readouterr().out
    about = description_of(path)
    price = Price(*(about["int8"][name] for name in Price._fields))
    assert f"in OpenVINO against the export: {price}" in told
    assert (about["precision"], about["int8"]["choosing"], price.held_back) == ("int8", 32, 16)
    assert run(command, "--describe", path) == 0
    assert f"price   {price}" in capsys.readouterr().out
    # Other images than those that chose and judged, fed as bytes in BGR.
    got = targets.TARGETS["openvino"].run([path, path.with_suffix(".bin")], drawn(), Choices())
    cosines = (of_length_1(got) * expected[1]).sum(axis=1)
    assert 0.99 < cosines.min() < 1 - 1e-7
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.bin", "x.xml"]
    # A byte for each number of a kernel in a block.
    sizes = [0]
    for layer in ElementTree.parse(path).iter("layer"):
        data = layer.find("data")
        if layer.get("type") == "Const" and data.get("element_type") == "i8":
            sizes.append(int(data.get("size")))
    assert len(sizes) == 1 + 32
    saved = (made / "o.bin").stat().st_size - path.with_suffix(".bin").stat().st_size
    assert 0.97 * 3 * sum(sizes) < saved < 3 * sum(sizes)


def test_the_same_images_make_the_same_ir(small_graphs, people, tmp_path):
    for name in ("a", "b"):
        flags = "--keep_float", 2, "--rgb"
        made = of_int8(small_graphs, people, tmp_path / f"{name}.xml", *flags)
        assert run(command, *made) == 0
    for ending in (".xml", ".bin"):
        first, second = ((tmp_path / name).with_suffix(ending).read_bytes() for name in "ab")
        assert first == second
    assert len(description_of(tmp_path / "a.xml")["int8"]["float"]) == 2
    target = targets.TARGETS["openvino"]
    paths = [tmp_path / "a.xml", tmp_path / "a.bin"]
    rgb, bgr = (target.run(paths, drawn(), Choices(rgb=rgb)) for rgb in (True, False))
    with closing(load_embedder(small_graphs(PLAIN))) as embed:
        right = embed(drawn(), flip=False)
    close, far = ((of_length_1(got) * right).sum(axis=1).min() for got in (rgb, bgr))
    assert close > 0.99 > far


def test_an_ir_below_the_bound_is_not_kept(small_graphs, people, tmp_path, capsys):
    path = tmp_path / "x.xml"
    assert run(command, *of_int8(small_graphs, people, path, "--int8_bound", 1)) == 1
    assert "x.xml against" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_deep_sort_imports_it_by_its_own_names(made, expected):
    """As its `generate_detections.py`: the size of patches is that of the placeholder."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.import_graph_def(read_graph_def(made / "d.pb"), name="net")
        images, features = (graph.get_tensor_by_name(f"net/{n}:0") for n in ("images", "features"))
        assert images.dtype == tf.uint8 and images.shape.as_list() == [None, HEIGHT, WIDTH, 3]
        assert features.shape.as_list()[-1] == 2048
        got = session.run(features, {images: drawn()[..., ::-1]})
        wrong = session.run(features, {images: drawn()})
    assert relative(got, expected[1]) <= 1e-5 and relative(wrong, expected[1]) > 1e-3
    assert metadata_of(read_graph_def(made / "d.pb").node)["num_classes"] == 10


def test_deep_sort_takes_images_of_the_boxes_aspect_ratio(small_graphs, tmp_path):
    """Boxes of 2:1 for a network of 3:1; and what its encoder leaves of one without that size."""
    path = tmp_path / "x.pb"
    given = "--pb_path", small_graphs(PLAIN), "--output", path, "--input_size", "128x64"
    assert run(command, "deep_sort", *given) == 0
    box = drawn((64, 128))
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.import_graph_def(read_graph_def(path), name="net")
        images, features = (graph.get_tensor_by_name(f"net/{n}:0") for n in ("images", "features"))
        assert images.shape.as_list() == [None, 128, 64, 3]
        got = session.run(features, {images: box[..., ::-1]})
    with closing(load_embedder(small_graphs(PLAIN))) as embed:
        whole, cut = embed(box, flip=False), embed(box[:, :, 11:53], flip=False)
    assert relative(got, whole) <= 1e-5 and relative(got, cut) > 1e-3
    assert description_of(path)["input_size"] == [128, 64]


def test_tflite_runs_in_litert(made, expected):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_path=str(made / "t.tflite"))
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert list(given["shape_signature"]) == [-1, HEIGHT, WIDTH, 3]
    normal = (drawn() / 255 - MEAN) / STD
    got = []
    for image in normal:  # one at a time, without a new size
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], np.float32(image[None]))
        interpreter.invoke()
        got.append(interpreter.get_tensor(result["index"])[0].copy())
    assert relative(np.stack(got), expected[0]) <= 1e-5


def test_opencvs_file_is_the_export(made, small_graphs):
    assert (made / "c.pb").read_bytes() == Path(small_graphs(PLAIN)).read_bytes()


@pytest.fixture(scope="module")
def reduced(small_checkpoint, small_reduction, tmp_path_factory):
    """A plain export of vectors of 24 numbers."""
    path = tmp_path_factory.mktemp("reduced") / "x.pb"
    freezing.export_pb(small_checkpoint, path, PLAIN, reduce=Reduce(small_reduction, "PCA 24"))
    return path


@pytest.mark.parametrize("target", NAMES)
def test_smaller_vectors_in_every_program(target, reduced, tmp_path, capsys):
    """The command itself compares what the program's runtime gives with the export."""
    output = tmp_path / NAMES[target]
    assert run(command, target, "--pb_path", reduced, "--output", output) == 0
    told = {"deepstream": ("reid.yml", "reidFeatureSize: 24"), "triton": ("config.pbtxt", "[ 24 ]")}
    if target in told:
        name, line = told[target]
        assert line in (output / name).read_text()
    capsys.readouterr()
    assert run(command, "--describe", output) == 0
    assert "smaller PCA 24: 24 numbers of length 1" in capsys.readouterr().out
    images = drawn()
    with closing(load_embedder(reduced)) as embed:
        expected = embed(images, flip=False)
    made = targets.TARGETS[target]
    got = made.run(made.files(output), images, Choices())
    assert got.shape == (2, 24) and relative(got, expected) <= 1e-5


def test_smaller_weights_are_judged_by_cosines(small_graphs, tmp_path):
    choices = Choices(half=True)
    paths, difference = targets.deploy(
        "tflite", small_graphs(PLAIN), tmp_path / "x.tflite", choices
    )
    assert 1e-5 < difference < 1e-2
    assert description_of(paths[0])["precision"] == "float16"
    assert paths[0].stat().st_size < 0.6 * Path(small_graphs(PLAIN)).stat().st_size


def test_a_file_that_differs_is_not_kept(small_graphs, tmp_path, monkeypatch):
    honest = targets.TARGETS["deep_sort"]
    in_rgb = honest._replace(run=lambda paths, x, choices: honest.run(paths, x[..., ::-1], choices))
    monkeypatch.setitem(targets.TARGETS, "deep_sort", in_rgb)
    with pytest.raises(CheckError, match=r"x\.pb against .* differs by .*; nothing was written"):
        targets.deploy("deep_sort", small_graphs(PLAIN), tmp_path / "x.pb", Choices())
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_things_is_never_replaced(small_graphs, tmp_path, capsys):
    (tmp_path / "models" / "other" / "1").mkdir(parents=True)
    (tmp_path / "models" / "other" / "config.pbtxt").write_text("mine")
    given = "--pb_path", small_graphs(PLAIN), "--overwrite", "--output"
    for target in ("triton", "deepstream"):
        line = refused(capsys, command, target, *given, tmp_path / "models")
        assert "models: holds config.pbtxt, of another program" in line
    line = refused(capsys, command, "triton", *given, tmp_path / "models" / "..")
    assert "holds config.pbtxt" in line or "name a file to write" in line
    (tmp_path / "x.pb").mkdir()
    assert "x.pb: is a folder" in refused(capsys, command, "deep_sort", *given, tmp_path / "x.pb")
    assert (tmp_path / "models" / "other" / "config.pbtxt").read_text() == "mine"


def test_a_targets_own_file_is_no_export(made, tmp_path, capsys):
    """It describes itself as one, and has other names."""
    new = "--output", tmp_path / "a" / "b" / "x.onnx"
    line = refused(capsys, command, "onnx", "--pb_path", made / "d.pb", *new)
    assert "d.pb: has no description" in line
    assert not list(tmp_path.iterdir())


def test_what_is_refused(small_graphs, tmp_path, capsys, monkeypatch):
    plain = "--pb_path", small_graphs(PLAIN)
    (tmp_path / "there.onnx").write_text("mine")
    (tmp_path / "b.onnx.metadata.json").write_text("mine")
    empty = tmp_path / "empty"
    empty.mkdir()
    new, ir = ("--output", tmp_path / "new.onnx"), ("--output", tmp_path / "new.xml")
    for arguments, expected in (
        (("onnx", *plain), "required: --output"),
        ((*plain, *new), "required: TARGET"),
        (("caffe", *plain, *new), "invalid choice: 'caffe'"),
        (("onnx", *plain, "--output", tmp_path / "x.pb"), "must end in .onnx"),
        (("onnx", *plain, "--output", tmp_path / "there.onnx"), "there.onnx exists"),
        (("boxmot", *plain, "--output", tmp_path / "b.onnx"), "b.onnx.metadata.json exists"),
        (("triton", *plain, "--output", tmp_path / "t", "--pre"), "--pre: only with onnx"),
        (("onnx", *plain, *new, "--half"), "--half: only with openvino or tflite"),
        (("onnx", *plain, *new, "--input_size", "64x32"), "--input_size: only with deep_sort"),
        (("deep_sort", "--input_size", "99999x999"), "has more than 16777216 pixels"),
        (
            ("--list", "--describe", small_graphs(PLAIN)),
            "--list and --describe: take no other flags",
        ),
        (("onnx", "--describe", small_graphs(PLAIN)), "--list and --describe: take no other flags"),
        (("onnx", *plain, *new, "--int8"), "--int8: only with openvino"),
        (("openvino", *plain, *new, "--calibration", tmp_path), "--calibration: only with --int8"),
        (("openvino", *plain, *ir, "--int8", "--half"), "--half and --int8: choose one"),
        (("openvino", *plain, *ir, "--int8", "--calibration", empty), "empty: "),
        (
            ("tflite", *plain, "--output", tmp_path / "x.tflite", "--half", "--dynamic_range"),
            "choose one",
        ),
        (("onnx", "--pb_path", tmp_path / "there.onnx", *new), "not a frozen graph"),
        (
            ("onnx", "--pb_path", small_graphs(PRE_POST), *new),
            "has pre- and postprocessing; the targets take a plain float32 graph",
        ),
        (
            ("onnx", "--pb_path", small_graphs(PLAIN, precision="bfloat16"), *new),
            "is bfloat16; the targets take",
        ),
        (
            ("onnx", "--pb_path", small_graphs(PLAIN, winograd=True), *new),
            "has Winograd convolutions",
        ),
    ):
        line = refused(capsys, command, *arguments)
        assert expected in line, line
    monkeypatch.setitem(sys.modules, "tf2onnx.convert", None)
    line = refused(capsys, command, "onnx", *plain, *new)
    assert "tf2onnx.convert is not installed: pip install -r doc/deploy-requirements.txt" in line
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["b.onnx.metadata.json", "empty", "there.onnx"]
