"""Exports in programs that load them: the pages' snippets, and what doc/export.md says does
not load."""

import json
import os
import subprocess
import sys
from contextlib import closing

import cv2
import numpy as np
import pytest
import shallow
from blocks import marked
from conftest import relative, write_checkpoint

from mgn.config import NetworkOptions
from mgn.config.options import Int8
from mgn.config.variants import VARIANTS
from mgn.data.demo import draw_image
from mgn.export import freezing
from mgn.inference import load_embedder
from mgn.inference.graph import PLAIN, PRE_POST
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")
SNIPPETS = {
    "describe": marked("describe"),
    "tensorflow": marked("tensorflow"),
    "jpeg": marked("jpeg"),
    "opencv": marked("opencv"),
    "openvino": marked("openvino"),
    "onnx": marked("onnx"),
}
SNIPPETS = {name: block.text for name, (block,) in SNIPPETS.items()}
IMAGES = [draw_image(0, person, 1, 0) for person in (1, 2)]


@pytest.fixture(scope="module")
def folder(small_graphs, tmp_path_factory):
    """The files that the snippets name."""
    made = tmp_path_factory.mktemp("consumers")
    for name, options in (
        ("mgn", (PLAIN, "float32")),
        ("jpeg", (PRE_POST, "jpeg")),
        ("bfloat16", (PLAIN, "float32", "bfloat16")),
        ("winograd", (PLAIN, "float32", "float32", True)),
        ("pre_post", (PRE_POST, "uint8")),
    ):
        (made / f"{name}.pb").symlink_to(small_graphs(*options))
    for name, image in zip(("one.jpg", "another.png"), IMAGES, strict=True):
        (made / name).write_bytes(
            cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        )  # told by its contents
    yield made
    for path in made.iterdir():
        path.unlink()


@pytest.fixture(scope="module")
def source(small_checkpoint):
    with closing(load_embedder(small_checkpoint)) as embed:
        yield np.stack(embed.prepare(IMAGES)), embed.original(IMAGES), embed(IMAGES)


@pytest.fixture(scope="module")
def int8(folder, small_checkpoint, tmp_path_factory):
    """An eight-bit export in the folder."""
    people = tmp_path_factory.mktemp("people")
    for person in range(12):
        cv2.imwrite(str(people / f"{person}.png"), draw_image(0, person, 1, 0)[..., ::-1])
    how = Int8(people, 8, int8_bound=0.9)
    freezing.export_pb(small_checkpoint, folder / "int8.pb", PLAIN, precision="int8", int8=how)
    return "int8.pb"


def in_a_process_of_its_own(folder, code, images):
    """What `code` makes of `images` as `embedding`, in the folder.

    OpenVINO 2026.4 leaves its thread an alternate signal stack that is unmapped: the next signal
    that Python handles, in whatever test, would be a segmentation fault.
    """
    np.save(folder / "images.npy", images)
    before = "import numpy as np\nimages = np.load('images.npy')"
    code = f"{before}\n{code}\nnp.save('embedding.npy', embedding)\n"
    environment = {**os.environ, "CI": "true"}  # or OpenVINO would report its use to its makers
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return np.load(folder / "embedding.npy")


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_snippets_of_the_document(name, folder, source, monkeypatch):
    images, original, result = source
    monkeypatch.chdir(folder)
    given = {"images": images}
    if name == "openvino":
        given["embedding"] = in_a_process_of_its_own(folder, SNIPPETS[name], images)
    else:
        exec(SNIPPETS[name], given)
    if name == "describe":
        assert given["described"]["num_classes"] == 10
        assert json.dumps(given["described"]["embedding_order"]).count("fg_") == 3
        return
    expected = result if name == "jpeg" else original
    print(f"{name}: {relative(given['embedding'], expected):.1e}")
    assert relative(given["embedding"], expected) <= 1e-5


@pytest.mark.parametrize("variant", ["fastreid-v0.1", "luperson"])
def test_the_variants_load_everywhere(variant, tmp_path, monkeypatch):
    """Instance norm, powers and batch norms that do not fold, in every program's own kernels."""
    options = NetworkOptions(0, height=96, width=32, variant=variant, **VARIANTS[variant])
    write_checkpoint(tmp_path / "x", shallow.arrays(options), options)
    found = checkpoints.find(tmp_path / "x")
    graph_def = freezing.freeze(found, PLAIN, "float32")
    (tmp_path / "mgn.pb").write_bytes(graph_def.SerializeToString(deterministic=True))
    with closing(load_embedder(found)) as embed:
        images, expected = np.stack(embed.prepare(IMAGES)), embed.original(IMAGES)
    monkeypatch.chdir(tmp_path)
    for name in ("opencv", "openvino", "onnx"):
        got = in_a_process_of_its_own(tmp_path, SNIPPETS[name], images)
        print(f"{variant}, {name}: {relative(got, expected):.1e}")
        assert relative(got, expected) <= 1e-5


def test_openvino_computes_in_bfloat16(folder, source):
    images, original, _ = source
    for name, hint in (("mgn", "bf16"), ("bfloat16", "f32")):
        code = SNIPPETS["openvino"].replace("mgn.pb", f"{name}.pb").replace('"f32"', f'"{hint}"')
        assert code != SNIPPETS["openvino"]
        made = in_a_process_of_its_own(folder, code, images)
        products = (made * original).sum(axis=1)
        cosines = products / np.linalg.norm(made, axis=1) / np.linalg.norm(original, axis=1)
        print(f"OpenVINO, {name}.pb, {hint}: cosine {cosines.min():.5f}")
        assert 0.999 <= cosines.min() < 1 - 1e-6  # 1: it was float32


def test_openvino_loads_winograds_convolutions(folder, source):
    code = SNIPPETS["openvino"].replace("mgn.pb", "winograd.pb")
    made = in_a_process_of_its_own(folder, code, source[0])
    print(f"OpenVINO, winograd.pb: {relative(made, source[1]):.1e}")
    assert relative(made, source[1]) <= 1e-5


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_a_graph_with_pre_and_postprocessing_loads(folder, source, name):
    code = SNIPPETS[name].replace("mgn.pb", "pre_post.pb").replace("person_emb", "result_emb")
    made = in_a_process_of_its_own(folder, code, np.stack(IMAGES))
    print(f"{name}, pre_post.pb: {relative(made, source[2]):.1e}")
    assert relative(made, source[2]) <= 1e-5
    wrong = in_a_process_of_its_own(folder, code, np.stack(IMAGES)[..., ::-1])  # BGR
    assert relative(wrong, source[2]) > 1e-3


def test_what_does_not_load(folder):
    """As doc/export.md says; once one of these passes, it can say better."""
    for name, message in (
        ("bfloat16", "data type is not supported"),
        ("winograd", "Only NHWC <-> NCHW|Input layer not found"),
    ):
        with pytest.raises(cv2.error, match=message):
            cv2.dnn.readNetFromTensorflow(str(folder / f"{name}.pb"))
    with pytest.raises(RuntimeError, match="ScaleAndTranslate"):
        in_a_process_of_its_own(
            folder, SNIPPETS["openvino"].replace("mgn.pb", "jpeg.pb"), np.zeros(1)
        )


def test_eight_bits_load_in_tensorflow_alone(folder, source, int8):
    """With TensorFlow's own settings, without this package."""
    code = SNIPPETS["tensorflow"].replace("mgn.pb", int8)
    made = in_a_process_of_its_own(folder, code, source[0])
    with closing(load_embedder(folder / int8)) as embed:
        assert relative(made, embed.original(IMAGES)) <= 1e-6
    with pytest.raises(cv2.error):
        cv2.dnn.readNetFromTensorflow(str(folder / int8))
    for name, message in (("openvino", "compile_model"), ("onnx", "qint8")):
        with pytest.raises(RuntimeError, match=message):
            in_a_process_of_its_own(folder, SNIPPETS[name].replace("mgn.pb", int8), source[0])
