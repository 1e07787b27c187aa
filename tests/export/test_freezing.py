"""Exports opened by others: a process without this package, OpenCV, the SavedModel loader."""

import contextlib
import functools
import hashlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from blocks import marked
from conftest import relative
from simple_models import write_pb

from mgn import inference
from mgn.data.decoding import read_image
from mgn.export import assembly, freezing
from mgn.inference import encoded, exported, load_embedder
from mgn.inference.graph import OUTPUTS, PLAIN, PRE_POST
from mgn.serving import saved_model
from mgn.system.errors import CheckError, InputError
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")
STRANGER = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf
path, feed, fetch, arrays = sys.argv[1:]
graph_def = tf.GraphDef.FromString(open(path, "rb").read())
with tf.Graph().as_default() as graph, tf.Session() as session:
    tf.import_graph_def(graph_def, name="")
    inputs = np.load(arrays)
    np.savez(arrays, **{k: session.run(fetch, {feed: inputs[k]}) for k in inputs.files})
assert not any(name.split(".")[0] == "mgn" for name in sys.modules)
"""


def run_as_stranger(tmp_path, pb, fetch, **inputs):
    """Feed arrays to a pb in a process that knows nothing of this package."""
    np.savez(tmp_path / "arrays.npz", **inputs)
    command = [
        sys.executable,
        "-c",
        STRANGER,
        str(pb),
        "image_tensor:0",
        f"{fetch}:0",
        "arrays.npz",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    return np.load(tmp_path / "arrays.npz")


def images():
    rng = np.random.default_rng(3)
    return [
        rng.integers(0, 256, (*size, 3), np.uint8)
        for size in ((128, 64), (128, 64), (301, 99), (40, 200))
    ]


def test_a_pre_post_pb_alone_gives_its_sources_embedding(tmp_path, small_graphs, small_checkpoint):
    batch = np.stack(images()[:2])
    sizes = {"one": batch[:1], "both": batch, "odd": images()[2][None], "wide": images()[3][None]}
    got = run_as_stranger(tmp_path, small_graphs(PRE_POST), "result_embedding", **sizes)
    source = load_embedder(small_checkpoint)
    for name, arrays in sizes.items():
        expected = source(list(arrays))
        assert got[name].shape == (len(arrays), 2048) and got[name].dtype == np.float32
        assert relative(got[name], expected) <= 1e-5, name
        assert np.linalg.norm(got[name], axis=1) == pytest.approx(1, abs=1e-5)


def test_every_kind_of_file_embeds_alike(tmp_path, small_checkpoint, small_graphs):
    served, _ = saved_model.export_saved_model(small_graphs(PLAIN), tmp_path / "served", PLAIN)
    source = load_embedder(small_checkpoint)
    expected, unflipped = source(images()), source(images(), flip=False)
    assert relative(unflipped, expected) > 1e-3
    for path in (small_graphs(PLAIN), small_graphs(PRE_POST), served):
        with contextlib.closing(load_embedder(path)) as embed:
            assert relative(embed(images()), expected) <= 1e-5, path
            assert relative(embed(images(), flip=False), unflipped) <= 1e-5, path


@pytest.mark.parametrize(("input_type", "size"), [("uint8", (128, 64)), ("float32", (301, 99))])
def test_a_graph_for_images_of_one_size(tmp_path, small_checkpoint, input_type, size):
    """The weights of its resize are constants, and the compared images have that size."""
    path = tmp_path / "x.pb"
    found = freezing.export_pb(small_checkpoint, path, PRE_POST, input_type, input_size=size)
    assert found.difference <= 1e-5
    graph_def = exported.read_graph_def(path)
    assert exported.metadata_of(graph_def.node)["input_size"] == list(size)
    assert not {"Range", "ScaleAndTranslate"} & {node.op for node in graph_def.node}
    batch = [image for image in images() if image.shape[:2] == size]
    with contextlib.closing(load_embedder(path)) as embed:
        assert embed.input.shape.as_list() == [None, *size, 3]
        assert relative(embed(batch), load_embedder(small_checkpoint)(batch)) <= 1e-5
        with pytest.raises(
            InputError, match=rf"is 40x200, and this model takes {size[0]}x{size[1]}"
        ):
            embed([*batch, images()[-1]])
    with pytest.raises(InputError, match=r"takes only images of \d+x\d+.*without --input_size"):
        saved_model.export_saved_model(path, tmp_path / "served", PRE_POST)
    assert not (tmp_path / "served").exists()


def test_inner_tensors_of_the_pre_post_graph(small_graphs):
    with exported.session_of(
        exported.read_graph_def(small_graphs(PRE_POST)), "pre_post.pb"
    ) as session:
        names = [f"{name}_embedding:0" for name in ("original", "flip", "result")]
        batch = np.stack(images()[:2]).astype(np.float32)
        original, flip, result = session.run(names, {"image_tensor:0": batch})
        mirrored = session.run(names[0], {"image_tensor:0": batch[:, :, ::-1]})
    assert relative(flip, mirrored) <= 1e-5
    total = original + flip
    assert relative(result, total / np.linalg.norm(total, axis=1, keepdims=True)) <= 1e-6


@pytest.mark.parametrize("form", [PLAIN, PRE_POST])
def test_the_graph_holds_what_inference_needs_and_its_description(
    small_graphs, small_checkpoint, form
):
    graph_def = exported.read_graph_def(small_graphs(form))
    nodes = {node.name: node for node in graph_def.node}
    reached, queue = set(), [OUTPUTS[form]]
    while queue:
        name = queue.pop()
        if name not in reached:
            reached.add(name)
            queue += [i.split(":")[0].lstrip("^") for i in nodes[name].input]
    assert set(nodes) - reached == {exported.METADATA}
    kinds = {node.op for node in graph_def.node}
    assert not [
        k
        for k in kinds
        if "Variable" in k or "Grad" in k or k.startswith(("Assign", "Save", "Restore"))
    ]
    assert not any(name.startswith("fc_id") for name in nodes)
    assert "FusedBatchNormV3" not in kinds
    identities = {name for name, node in nodes.items() if node.op == "Identity"}
    names = (
        "original_embedding",
        "flip_embedding",
        "resize_image",
        "person_embedding",
        "network/embedding",
    )
    assert identities <= {*names}
    assert "StridedSlice" not in kinds
    described = exported.metadata_of(graph_def.node)
    assert (
        described["form"],
        described["num_classes"],
        described["height"],
        described["width"],
    ) == (form, 10, 96, 32)
    assert described["embedding_order"][3] == "f0_p2"
    weights_file = Path(f"{small_checkpoint}.data-00000-of-00001")
    assert described["source_sha256"] == hashlib.sha256(weights_file.read_bytes()).hexdigest()


def decoding(height, width):
    """A graph that decodes and resizes files, and its functions as TensorFlow names them."""
    with tf.Graph().as_default() as graph:
        contents = tf.placeholder(tf.string, [None], name="contents")
        tf.identity(encoded.decode_and_resize(contents, height, width), "made")
    return graph.as_graph_def()


def test_functions_are_named_by_what_they_hold_not_by_the_process():
    first, second, other = decoding(96, 32), decoding(96, 32), decoding(192, 64)
    assert first.SerializeToString(deterministic=True) != second.SerializeToString(
        deterministic=True
    )
    for graph_def in (first, second, other):
        assembly.rename_functions(graph_def)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    kinds = Counter(node.op for f in first.library.function for node in f.node_def)
    assert kinds["DecodeJpeg"] == 1 and "StridedSlice" not in kinds
    libraries = [{f.signature.name: f for f in g.library.function} for g in (first, other)]
    shared = libraries[0].keys() & libraries[1].keys()
    assert 0 < len(shared) < len(libraries[0])
    for name in shared:
        assert libraries[0][name] == libraries[1][name]


def test_a_function_is_told_from_another_by_what_it_calls():
    """Two conditions whose branches differ only in the condition inside."""

    def nested(value):
        with tf.Graph().as_default() as graph:
            x = tf.placeholder(tf.float32, [], name="x")
            inner = functools.partial(tf.cond, x > 2, lambda: x * value, lambda: x)
            tf.identity(tf.cond(x > 1, inner, lambda: -x), "made")
        graph_def = graph.as_graph_def()
        assembly.rename_functions(graph_def)
        return graph_def

    tens, hundreds = nested(10.0), nested(100.0)
    names = [{f.signature.name for f in g.library.function} for g in (tens, hundreds)]
    assert len(names[0]) == 4 and len(names[0] & names[1]) == 2  # what the value is not in
    with tf.Session() as session:
        for name, graph_def in (("tens", tens), ("hundreds", hundreds), ("again", tens)):
            tf.import_graph_def(graph_def, name=name)
        for name, expected in (("tens", 30), ("hundreds", 300), ("again", 30)):
            assert session.run(f"{name}/made:0", {f"{name}/x:0": 3}) == expected


TOGETHER = """
import sys
import numpy as np
import tensorflow as tf
v1 = tf.compat.v1
file, *models = sys.argv[1:]
files, made = np.array([open(file, "rb").read()], object), {}
graph_defs = [v1.GraphDef.FromString(open(f"{model}.pb", "rb").read()) for model in models]
with tf.Graph().as_default(), v1.Session() as session:
    for i, graph_def in enumerate(graph_defs):
        v1.import_graph_def(graph_def, name=f"model{i}")
    made["graph"] = [
        session.run(f"model{i}/result_embedding:0", {f"model{i}/image_tensor:0": files})
        for i, _ in enumerate(models)
    ]
wrapped = [
    v1.wrap_function(lambda g=graph_def: v1.import_graph_def(g, name=""), [])
    for graph_def in graph_defs
]
made["wrapped"] = [
    w.prune("image_tensor:0", "result_embedding:0")(tf.constant(files)).numpy() for w in wrapped
]
loaded = [tf.saved_model.load(f"{model}/1") for model in models]
made["loaded"] = [
    one.signatures["reid_mgn_serving"](input_image=tf.constant(files))["reid_embedding"].numpy()
    for one in loaded
]
for kind, rows in made.items():
    for model, row in zip(models, rows):
        np.save(f"{model}_{kind}_{models[0]}_first.npy", row)
"""


def test_two_jpeg_exports_live_in_one_graph_and_one_process_of_tensorflow_2(tmp_path):
    """Of other sizes, so their functions differ: each gives its own values."""
    file = cv2.imencode(".png", images()[2])[1].tobytes()
    (tmp_path / "image.png").write_bytes(file)
    alone = {}
    for name, height in (("a", 96), ("b", 192)):
        pb = write_pb(tmp_path / f"{name}.pb", PRE_POST, "jpeg", height, height // 3)
        saved_model.export_saved_model(pb, tmp_path / name, PRE_POST)
        with exported.session_of(exported.read_graph_def(pb), pb) as session:
            alone[name] = session.run("result_embedding:0", {"image_tensor:0": [file]})
    command = [sys.executable, "-c", TOGETHER, "image.png"]
    started = [subprocess.Popen([*command, *order], cwd=tmp_path) for order in ("ab", "ba")]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    made = sorted(tmp_path.glob("*.npy"))
    assert len(made) == 2 * 3 * 2
    for path in made:
        assert relative(np.load(path), alone[path.name[0]]) <= 1e-6, path.name


def test_saved_model_signatures(tmp_path, small_graphs):
    (tmp_path / "served" / "6").mkdir(parents=True)  # an earlier version, which stays as it is
    made, found = saved_model.export_saved_model(
        small_graphs(PRE_POST), tmp_path / "served", PRE_POST
    )
    assert made == tmp_path / "served" / "7" and found.difference <= 1e-5
    assert saved_model.next_version(tmp_path / "served") == 8
    assert saved_model.next_version(tmp_path / "new") == 1
    with tf.Session(graph=tf.Graph()) as session:
        loaded = tf.saved_model.loader.load(session, ["serve"], str(made))
        batch = np.stack(images()[:2]).astype(np.float32)
        rows = []
        for key in ("serving_default", "reid_mgn_serving"):
            signature = loaded.signature_def[key]
            assert signature.method_name == "tensorflow/serving/predict"
            given, made_tensor = (
                signature.inputs["input_image"].name,
                signature.outputs["reid_embedding"].name,
            )
            rows.append(session.run(made_tensor, {given: batch}))
    assert rows[0].shape == (2, 2048)  # one row an image: the reproduced repository's gave two
    assert np.array_equal(rows[0], rows[1])
    with exported.session_of(exported.read_graph_def(small_graphs(PRE_POST)), PRE_POST) as session:
        assert (
            relative(rows[0], session.run(f"{OUTPUTS[PRE_POST]}:0", {"image_tensor:0": batch}))
            <= 1e-5
        )


def test_a_file_that_differs_is_not_put_in_place(tmp_path, small_checkpoint, monkeypatch):
    honest = inference.Embedder.original
    monkeypatch.setattr(
        inference.Embedder,
        "original",
        lambda self, p: honest(self, p) * (1.001 if self.form == PRE_POST else 1),
    )
    with pytest.raises(CheckError, match="differs by"):
        freezing.export_pb(small_checkpoint, tmp_path / "x.pb", PRE_POST)
    assert list(tmp_path.iterdir()) == []


def test_an_export_finds_and_restores_its_checkpoint_once(tmp_path, small_checkpoint, monkeypatch):
    calls = []
    for name in ("find", "restore"):
        honest = getattr(checkpoints, name)
        recorded = functools.partial(call_and_record, calls, name, honest)
        monkeypatch.setattr(checkpoints, name, recorded)
    found = freezing.export_pb(small_checkpoint, tmp_path / "x.pb", PLAIN)
    assert calls == ["find", "restore"]
    assert found.difference <= 1e-5


def call_and_record(calls, name, function, *arguments, **options):
    calls.append(name)
    return function(*arguments, **options)


def test_wrong_input(tmp_path, small_checkpoint, small_graphs):
    with pytest.raises(InputError, match="exists"):
        freezing.export_pb(small_checkpoint, small_graphs(PLAIN), PLAIN)
    with pytest.raises(InputError, match=r"a plain graph; use export_tf_serving_model\.py"):
        saved_model.export_saved_model(small_graphs(PLAIN), tmp_path / "served", PRE_POST)
    (tmp_path / "cut.pb").write_bytes(small_graphs(PLAIN).read_bytes()[:5_000_000])
    (tmp_path / "text.pb").write_text("hello")
    (tmp_path / "empty.pb").touch()
    for name in ("cut", "text", "empty", "missing"):
        with pytest.raises(InputError, match=rf"{name}\.pb"):
            load_embedder(tmp_path / f"{name}.pb")
        with pytest.raises(InputError, match=rf"{name}\.pb"):
            saved_model.export_saved_model(tmp_path / f"{name}.pb", tmp_path / "served", PLAIN)
    tf.constant(1.0, name="something")
    (tmp_path / "other.pb").write_bytes(tf.get_default_graph().as_graph_def().SerializeToString())
    with pytest.raises(InputError, match="no tensor image_tensor"):
        load_embedder(tmp_path / "other.pb")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("hello")
    with pytest.raises(InputError, match="not a readable SavedModel"):
        load_embedder(tmp_path / "model")
    assert not (tmp_path / "served").exists() or not any((tmp_path / "served").iterdir())


def test_the_example_of_the_readme(tmp_path, small_graphs, small_checkpoint):
    """Its ten lines, run in a process without this package on two images of our own."""
    (block,) = marked("embed")
    code = block.text
    names = [tmp_path / name for name in re.findall(r'"(runs/\S+\.jpg)"', code)]
    names[0].parent.mkdir(parents=True)
    for name, image in zip(names, images()[1:3], strict=True):
        cv2.imwrite(str(name), image)
    shutil.copy(small_graphs(PRE_POST), tmp_path / re.search(r"runs/\w+\.pb", code)[0])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    a, b = load_embedder(small_checkpoint)([read_image(name) for name in names])
    assert float(done.stdout.split()[-1]) == pytest.approx(np.linalg.norm(a - b), abs=1e-3)
