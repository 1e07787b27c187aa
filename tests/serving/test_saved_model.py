"""SavedModels in place of a model server: TensorFlow's C API, command-line tool, warm-up file."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from blocks import marked
from c_api import CError, SavedModel
from conftest import refused, relative, run
from small_models import network
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

import export_tf_serving_model
import export_tf_serving_with_pre_post
from mgn.config import NetworkOptions
from mgn.data.demo import draw_image
from mgn.inference import exported, load_embedder
from mgn.inference.embedder import open_exported
from mgn.inference.graph import PLAIN, PRE_POST, build
from mgn.serving import saved_model

pytestmark = pytest.mark.usefixtures("shallow_network")
SCRIPTS = {export_tf_serving_model: PLAIN, export_tf_serving_with_pre_post: PRE_POST}
INPUTS = {"plain": (PLAIN, "float32"), "jpeg": (PRE_POST, "jpeg")}
PEOPLE = [draw_image(0, person, 1, 0) for person in (1, 2, 3)]


@pytest.fixture(scope="module")
def source(small_checkpoint):
    with closing(load_embedder(small_checkpoint)) as embed:
        yield embed


@pytest.fixture(scope="module", params=INPUTS)
def served(request, small_graphs, tmp_path_factory):
    """A SavedModel of each input."""
    folder = tmp_path_factory.mktemp(request.param)
    path = small_graphs(*INPUTS[request.param])
    made, found = saved_model.export_saved_model(path, folder / "served", INPUTS[request.param][0])
    assert found.difference <= 1e-5
    yield made
    shutil.rmtree(folder)


@pytest.fixture
def in_c(served):
    with closing(SavedModel(served)) as model:
        yield model


def batch_for(served, images):
    """The images as the model's input takes them, and the name of this input."""
    with closing(open_exported(served, rewrite=False)) as embed:
        return np.stack(embed.prepare(images))


def requests_of(served):
    path = str(served / "assets.extra" / "tf_serving_warmup_requests")
    return [prediction_log_pb2.PredictionLog.FromString(r) for r in tf.io.tf_record_iterator(path)]


def expected_of(source, served):
    """What the checkpoint makes of `PEOPLE`, as this SavedModel gives it."""
    return (
        source.original(PEOPLE) if served.parent.parent.name.startswith("plain") else source(PEOPLE)
    )


def test_the_c_loader_gives_the_checkpoints_values(in_c, served, source):
    batch, expected = batch_for(served, PEOPLE), expected_of(source, served)
    for signature in ("serving_default", "reid_mgn_serving"):
        assert in_c.signatures[signature].method_name == "tensorflow/serving/predict"
        assert relative(in_c.run(signature, batch), expected) <= 1e-5
    assert relative(in_c.run("serving_default", batch[:1]), expected[:1]) <= 1e-5


def test_the_first_dimension_is_free_everywhere(in_c):
    """A server that joins requests concatenates along it."""
    for signature in in_c.signatures.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            assert info.tensor_shape.dim[0].size == -1


def test_the_warm_up_requests_replay(in_c, served):
    logs = requests_of(served)
    sizes = []
    for log in logs:
        request = log.predict_log.request
        assert log.WhichOneof("log_type") == "predict_log" and [*request.inputs] == ["input_image"]
        batch = tf.make_ndarray(request.inputs["input_image"])
        rows = in_c.run(request.model_spec.signature_name, batch)
        assert rows.shape == (len(batch), 2048) and np.isfinite(rows).all()
        sizes.append(len(batch))
    assert sizes == [1, 8]


def test_the_warm_up_batches_are_those_asked_for(tmp_path, capsys):
    """Through the scripts: a server whose `max_batch_size` is 4 takes no more."""
    for script, form in SCRIPTS.items():
        with tf.Graph().as_default() as graph:
            build(form, NetworkOptions(10, height=96, width=32), "float32", network)
        pb = tmp_path / f"{form}.pb"
        pb.write_bytes(graph.as_graph_def().SerializeToString())
        asked = [script, "--pb_path", pb, "--export_path", tmp_path / form]
        assert run(*asked, "--warmup", "1, 4,1") == 0
        batches = [log.predict_log.request.inputs for log in requests_of(tmp_path / form / "1")]
        sizes = [len(tf.make_ndarray(batch["input_image"])) for batch in batches]
        assert sizes == [1, 4]
        for wrong in ("0", "1,-4", "1,,4", "4.0", "", "\u0664"):
            assert "is not a whole number above 0" in refused(capsys, *asked, "--warmup", wrong)


def test_the_description_lies_beside_the_graph(served):
    described = json.loads((served / "assets.extra" / "mgn.json").read_text())
    (meta_graph,) = saved_model_pb2.SavedModel.FromString(
        (served / "saved_model.pb").read_bytes()
    ).meta_graphs
    assert described == exported.metadata_of(meta_graph.graph_def.node)
    assert described["num_classes"] == 10 and described["embedding_order"][0] == "fg_p1"


def test_hostile_requests_end_in_an_error_not_in_a_crash(in_c, served, source):
    batch = batch_for(served, PEOPLE)
    wrong = [batch[:0], batch[0], batch[None]]
    if batch.dtype == object:
        wrong += [np.array([b"", batch[0]], object), np.array([b"text"], object)]
    else:
        wrong.append(batch[:, :0])
        wrong.append(np.array([b"x"], object))
    for array in wrong:
        with pytest.raises(CError):
            in_c.run("serving_default", array)
    assert relative(in_c.run("serving_default", batch), expected_of(source, served)) <= 1e-5


def test_saved_model_cli(served, source, tmp_path):
    """TensorFlow's own tool shows and runs it. It rewrites the graph first, so once is enough."""
    cli = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    named = ["--dir", served, "--tag_set", "serve", "--signature_def", "reid_mgn_serving"]
    shown = subprocess.run(
        [*cli, "show", *named], capture_output=True, text=True, check=True
    ).stdout
    assert "inputs['input_image']" in shown and "outputs['reid_embedding']" in shown
    assert "Method name is: tensorflow/serving/predict" in shown
    batch = batch_for(served, PEOPLE[:1])
    if batch.dtype != object:
        return
    np.save(tmp_path / "x.npy", np.array([*batch]))
    running = [
        *cli,
        "run",
        *named,
        "--outdir",
        tmp_path,
        "--inputs",
        f"input_image={tmp_path / 'x.npy'}",
    ]
    subprocess.run(running, capture_output=True, text=True, check=True)
    assert (
        relative(np.load(tmp_path / "reid_embedding.npy"), expected_of(source, served)[:1]) <= 1e-5
    )


def test_versions_are_digits(tmp_path):
    """As TensorFlow Serving takes them."""
    for name in ("2", "10", "\u00b2", "\u0669\u0669", "1_1", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    assert saved_model.next_version(tmp_path) == 11
    assert exported.saved_model_folder(tmp_path) == tmp_path / "10"


def test_a_saved_model_without_our_signature(tmp_path):
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        signature = tf.saved_model.predict_signature_def({"x": x}, {"y": x * 2})
        builder = tf.saved_model.Builder(str(tmp_path / "other"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    with pytest.raises(
        exported.InputError, match="has no signature reid_mgn_serving from input_image"
    ):
        load_embedder(tmp_path / "other")
    with pytest.raises(CError, match="Could not find SavedModel"):
        SavedModel(tmp_path)


def test_files_of_many_sizes_in_one_request(in_c, source):
    """What a camera sends, straight into the server's loader."""
    if in_c.signatures["serving_default"].inputs["input_image"].dtype != tf.string.as_datatype_enum:
        pytest.skip("takes images of one size")
    images = [PEOPLE[0], cv2.resize(PEOPLE[1], (99, 301)), PEOPLE[2][:50]]
    files = [cv2.imencode(".png", p[..., ::-1])[1].tobytes() for p in images]
    got = in_c.run("serving_default", np.array(files, object))
    assert relative(got, source(images)) <= 1e-5


@pytest.mark.parametrize("served", ["plain"], indirect=True)
def test_the_c_program_of_the_document(served, source, tmp_path):
    if not shutil.which("cc"):
        pytest.skip("this machine has no C compiler")
    (built,), (block,) = marked("cc"), marked("c")
    code = block.text
    assert code.count("384, 128") == 1 and code.count("384 * 128") == 1
    code = code.replace("384, 128", "96, 32").replace("384 * 128", "96 * 32")
    (tmp_path / "embed.c").write_text(code)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "1").symlink_to(served)
    environment = {**os.environ, "T": tf.sysconfig.get_lib()}
    subprocess.run(["bash", "-c", built.text], cwd=tmp_path, env=environment, check=True)
    images = np.stack(source.prepare(PEOPLE[:2])).astype(np.float32)
    done = subprocess.run(
        "./embed", cwd=tmp_path, input=images.tobytes(), capture_output=True, check=True
    )
    made = np.frombuffer(done.stdout, np.float32).reshape(2, 2048)
    print(f"C program: {relative(made, source.original(PEOPLE[:2])):.1e}")
    assert relative(made, source.original(PEOPLE[:2])) <= 1e-5
    failed = subprocess.run(tmp_path / "embed", cwd="/", input=b"", capture_output=True)
    assert failed.returncode == 1 and b"served/1" in failed.stderr
