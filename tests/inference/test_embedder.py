"""All kinds of model files as one function; graphs that others made; threads, forks, memory."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
from conftest import relative, run
from simple_models import FORMS, write_pb

import evaluate
from mgn import weights
from mgn.config import NetworkOptions
from mgn.inference import load_embedder
from mgn.inference.embedder import open_exported
from mgn.inference.exported import read_graph_def, session_of
from mgn.network import mgn
from mgn.serving import saved_model
from mgn.system.errors import ImageError, InputError
from mgn.system.session import new_session

ROOT = Path(__file__).parents[2]
THEIRS = NetworkOptions(10, reduction="prelu")


def freeze(path, arrays, build, output):
    """Write the constants and operations that `output` needs, as TensorFlow 1's exporters did."""
    with tf.Graph().as_default() as graph, new_session(graph, rewrite=False) as session:
        build(tf.placeholder(tf.float32, [None, None, None, 3], name="image_tensor"))
        weights.assign(session, arrays)
        frozen = tf.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [output]
        )
    path.write_bytes(frozen.SerializeToString())


def as_mgn_reid_did(images):
    """Its preprocessing (TensorFlow's old bilinear), both halves of one batch, its names."""
    resized = tf.identity(tf.image.resize_images(images, [384, 128]), "resize_image")
    normal = tf.div(resized / 255 - [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], name="image_norm")
    whole = tf.concat([normal, tf.image.flip_left_right(normal)], 0)
    both = mgn(whole, 10, False, reduction="prelu").embedding
    both = tf.identity(both, "person_embedding")
    count = tf.shape(both)[0] // 2
    original = tf.identity(both[:count, :], "original_embedding")
    total = original + tf.identity(both[count:, :], "flip_embedding")
    return tf.div(
        total, tf.norm(total, keepdims=True, axis=1, name="embedding_norm"), name="result_embedding"
    )


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    path = tmp_path_factory.mktemp("theirs") / "model_pre_and_post.pb"
    with shallow.patched():
        freeze(path, shallow.arrays(THEIRS), as_mgn_reid_did, "result_embedding")
    return path


@pytest.mark.usefixtures("nothing_drawn")
def test_mgn_reids_graph_with_pre_and_post_embeds_as_it_is(theirs, dataset, tmp_path):
    graph_def = read_graph_def(theirs)
    assert not [node.name for node in graph_def.node if "metadata" in node.name]
    path = dataset / "query" / "0009_c1s1_000000_00.jpg"
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    with session_of(graph_def, theirs, rewrite=False) as session:
        expected = session.run("result_embedding:0", {"image_tensor:0": image[None]})
        plain = session.run("original_embedding:0", {"image_tensor:0": image[None]})
    embed = open_exported(theirs, rewrite=False)
    assert relative(embed([image]), expected) <= 1e-6
    assert relative(embed.original([image]), plain) <= 1e-6
    for name, folder in (("query", "query"), ("gallery", "bounding_box_test")):
        rows = [
            f"{dataset}/{folder}/00{p:02}_c{c}s1_000000_00.jpg,{p},{c}"
            for p in (9, 10)
            for c in (1, 2)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,person,camera", *rows]))
    assert (
        run(evaluate, "--dataset", tmp_path, "--model", theirs, "--output_dir", tmp_path / "scores")
        == 0
    )
    told = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert told["queries"] == 4 and 0 < told["mAP"] <= 1


@pytest.mark.usefixtures("shallow_here")
def test_its_plain_graph_of_any_size_gets_our_preprocessing(tmp_path):
    def build(images):
        tf.identity(mgn(images, 10, False, reduction="prelu").embedding, "person_embedding")

    arrays = shallow.arrays(THEIRS)
    freeze(tmp_path / "model.pb", arrays, build, "person_embedding")
    image = np.random.default_rng(0).integers(0, 256, (384, 128, 3), np.uint8)
    with session_of(read_graph_def(tmp_path / "model.pb"), "", rewrite=False) as session:
        normal = (image / np.float32(255) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        expected = session.run("person_embedding:0", {"image_tensor:0": normal[None]})
    assert (
        relative(open_exported(tmp_path / "model.pb", rewrite=False).original([image]), expected)
        <= 1e-5
    )


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    """Paths of a simple network's exports, by form."""
    folder = tmp_path_factory.mktemp("simple")
    paths = {name: write_pb(folder / f"{name}.pb", *form) for name, form in FORMS.items()}
    for name in ("plain", "jpeg"):
        made, _ = saved_model.export_saved_model(paths[name], folder / name, FORMS[name][0])
        paths[f"{name} SavedModel"] = made
    return paths


@pytest.fixture(scope="module", params=[*FORMS, "plain SavedModel", "jpeg SavedModel"])
def embed(request, simple):
    with closing(load_embedder(simple[request.param])) as loaded:
        yield loaded


def noise(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


@pytest.mark.usefixtures("shallow_here")
def test_a_checkpoint_refuses_what_is_no_image(shallow_checkpoint):
    (image,) = noise((50, 40))
    with closing(load_embedder(shallow_checkpoint)) as embed:
        refuses(embed, image)


def test_every_form_refuses_what_is_no_image(embed):
    """Floats of 0 to 1 used to be black images: everybody was the same person."""
    (image,) = noise((50, 40))
    refuses(embed, image)


def refuses(embed, image):
    wrong = [image / 255, image > 9, image.astype(int), image.astype(np.uint16), image[..., :1]]
    wrong += [image[..., 0], image[:0], np.full(image.shape, np.nan), None, image.tolist()]
    for function in (embed, embed.original, embed.prepare, lambda x: embed(x, flip=False)):
        for one in wrong:
            with pytest.raises(ImageError, match=r"image 1: .*: must be uint8 RGB \[H, W, 3\]"):
                function([image, one])
        with pytest.raises(InputError, match=r"give a single one as \[image\]"):
            function(image)


def test_every_form_takes_a_list_a_batch_and_views(embed):
    images = noise((50, 40), (50, 40), (96, 32))
    expected = embed(images)
    assert expected.shape == (3, 144) and expected.dtype == np.float32
    assert np.linalg.norm(expected[0] - expected[1]) > 0.01  # images differ
    locked = images[2].copy()
    locked.setflags(write=False)
    turned = np.ascontiguousarray(images[1][:, ::-1, ::-1])[:, ::-1, ::-1]
    assert turned.strides[1] < 0
    column_by_column = np.asfortranarray(images[0])
    assert np.array_equal(embed([column_by_column, turned, locked]), expected)
    assert np.array_equal(embed(iter(images)), expected)
    for flip in (True, False):
        batch = np.stack(images[:2])
        assert np.array_equal(embed(batch, flip=flip), embed([*batch], flip=flip))
        assert embed([], flip=flip).shape == embed(batch[:0], flip=flip).shape == (0, 144)


def test_forms_agree(simple):
    images = noise((50, 40), (301, 99))
    made = {}
    for name, path in simple.items():
        with closing(load_embedder(path)) as embed:
            made[name] = embed(images)
    # Each pair has one resize; the two differ by up to 0.013 grey levels.
    assert relative(made["jpeg"], made["plain"]) <= 1e-6
    assert relative(made["uint8"], made["float32"]) <= 1e-6
    assert relative(made["uint8"], made["plain"]) <= 1e-5


@pytest.mark.usefixtures("shallow_here")
def test_eight_threads_on_one_embedder_get_equal_bits(shallow_checkpoint):
    images = noise((128, 64), (128, 64), (99, 40))
    with closing(load_embedder(shallow_checkpoint)) as embed, ThreadPoolExecutor(8) as pool:
        expected = embed(images)
        for made in pool.map(lambda _: embed(images), range(16)):
            assert np.array_equal(made, expected)


def test_a_closed_model_says_so(simple):
    for path in simple.values():
        embed = load_embedder(path)
        embed.close()
        embed.close()
        for function in (embed, embed.original, embed.prepare):
            with pytest.raises(RuntimeError, match="this model is closed; load it again"):
                function(noise((9, 9)))


FORKED = """
import sys
sys.path.append("tests")
import numpy as np
from forked import in_a_child
from mgn.inference import load_embedder
path, images = sys.argv[1], [np.full((50, 40, 3), 99, np.uint8)]

def load():
    return load_embedder(path)(images).shape

try:
    load_embedder("none.pb")
except Exception:
    in_a_child(load)  # nothing is loaded yet
embed = load_embedder(path)
in_a_child(lambda: embed(images))
embed(images)
in_a_child(lambda: embed.original(images))
in_a_child(load)
in_a_child(embed.close)
print(embed(images).shape)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_is_refused_at_once(simple):
    """TensorFlow would wait for ever in it."""
    done = in_its_own_process("-c", FORKED, simple["uint8"])
    assert [line.split(" (")[0] for line in done if "forked from" not in line] == [
        *("(1, 144)", "0"),  # before a model is loaded
        *("0", "0", "0"),
        *("None", "0"),
        "(1, 144)",
    ]
    refused = [line for line in done if "forked from" in line]
    assert len(refused) == 3
    for line in refused:
        assert "had used TensorFlow" in line and "Load the model in each process" in line


def in_its_own_process(*arguments):
    """Run Python; returns the lines that it prints."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory of a process")
def test_memory_stays_and_is_given_back(tmp_path):
    """A graph with 100 constants of half a megabyte, loaded again and again."""
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 96, 32, 3], name="image_tensor")
        rows = tf.reduce_mean(x, axis=[1, 2])
        for _ in range(100):
            rows += tf.reduce_max(tf.constant(rng.random(2**17, np.float32)))
        tf.identity(rows, "person_embedding")
    (tmp_path / "x.pb").write_bytes(graph.as_graph_def().SerializeToString())
    command = "tests/benchmarks/memory.py", tmp_path / "x.pb", "--rounds", 2, "--calls", 50
    _, *rounds = in_its_own_process(*command)
    assert len(rounds) == 2
    for line in rounds[1:]:  # the first pays for what TensorFlow keeps for itself
        print(line)
        before, used, later, closed = map(int, line.split("|"))
        assert used > before + 50
        assert later < used + 20
        assert closed < before + 20
