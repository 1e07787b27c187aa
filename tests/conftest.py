"""What tests share: a small data set, seeded checkpoints, and paths to the reference values."""

import functools
import gc
import os
import time
from contextlib import closing
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the scripts do

import cv2
import memory_kept
import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
import torch
import undrawn
from seeded import seeded_state_dict

from mgn import weights
from mgn.config import NetworkOptions
from mgn.conversion.torch_mgn import TorchMGN
from mgn.data import probe
from mgn.data.demo import draw_image
from mgn.data.names import FOLDERS
from mgn.data.records import Record, Split, read_split
from mgn.evaluation import featurefile, sizes
from mgn.export import freezing
from mgn.inference import load_embedder
from mgn.inference.embedder import model_hash
from mgn.inference.graph import PLAIN
from mgn.network.architecture import inference_network
from mgn.system import cli
from mgn.system.session import new_session
from mgn.weights import checkpoints, saving

REFERENCE = Path(__file__).parent / "reference"
LONGEST = (  # by processor time: begun last, one of them would run alone
    *("test_options_together", "training.test_graph", "test_scripts", "test_train_script"),
    *("training.test_run", "training.test_distribution", "conversion.test_to_tensorflow"),
    *("export.test_folding", "test_gpu_benchmark", "test_published", "test_convert_script"),
    "test_damaged_models",
)
gc.set_threshold(
    10_000
)  # building graphs makes many objects, and collecting them took 7 % of the time
gc.freeze()  # what was imported stays, and need not be looked at each time


def pytest_collection_modifyitems(items):
    """The longest files first."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.module.__name__, len(place)))


@pytest.fixture(autouse=True)
def fresh_graph():
    """Each test builds in a graph of its own."""
    with tf.Graph().as_default():
        yield


@pytest.fixture(autouse=True)
def memory_stays():
    """Graphs hold 280 MB each in cycles that Python, which does not see them, would leave for
    long; and asking the system for that memory again took a fifth of the time."""
    began = time.monotonic()
    memory_kept.keep()
    yield
    if time.monotonic() > began + 1:  # collecting takes a tenth of a second
        gc.collect()


@pytest.fixture(scope="module")
def shallow_network():
    """See `shallow.py`; a file that uses it has `small_...` of this network."""
    with shallow.patched():
        yield


@pytest.fixture
def shallow_here():
    """The same for one test."""
    with shallow.patched():
        yield


@pytest.fixture
def shallow_conversion():
    """Of PyTorch's network too, and of `seeded`."""
    with shallow.patched_with_torch():
        yield


@pytest.fixture
def nothing_drawn(monkeypatch):
    """Evaluations write what they found, and no pictures."""
    undrawn.patch(monkeypatch)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """8 identities x 2 cameras x 3 images to train on, 4 others to test on; junk, a distractor,
    Thumbs.db."""
    root = tmp_path_factory.mktemp("market")
    rng = np.random.default_rng(0)
    folders = {
        "bounding_box_train": range(1, 9),
        "bounding_box_test": range(9, 13),
        "query": range(9, 13),
    }
    for folder, identities in folders.items():
        (root / folder).mkdir()
        (root / folder / "Thumbs.db").write_bytes(b"not an image")
        for person in identities:
            for camera in (1, 2):
                for frame in range(1 if folder == "query" else 3):
                    write_image(
                        root / folder / f"{person:04}_c{camera}s1_{frame:06}_00.jpg", person, rng
                    )
    write_image(root / "bounding_box_test" / "-1_c1s1_000001_00.jpg", 20, rng)
    write_image(root / "bounding_box_test" / "0000_c1s1_000001_00.jpg", 21, rng)
    return root


@pytest.fixture(scope="session")
def lists(dataset, tmp_path_factory):
    """The small data set as CSV lists of images that lie elsewhere."""
    folder = tmp_path_factory.mktemp("lists")
    for split in FOLDERS:
        rows = [f"{r.path},{r.person},{r.camera}" for r in read_split(dataset, split).records]
        (folder / f"{split}.csv").write_text(
            "\n".join(["path,person,camera", *rows]), encoding="utf-8"
        )
    return folder


def write_image(path, person, rng):
    """A 32x64 JPEG in the person's colour, with noise."""
    colour = np.random.default_rng(person).integers(30, 220, 3)
    image = np.clip(colour + rng.normal(0, 12, (64, 32, 3)), 0, 255).astype(np.uint8)
    assert cv2.imwrite(str(path), image)


def kept(count):
    """Keep a function's last results: drawing 70 million numbers takes seconds, and each holds
    280 MB. The small network has its own."""

    def decorate(function):
        of_network = functools.lru_cache(count)(lambda _shallow, *given: function(*given))
        return functools.wraps(function)(lambda *given: of_network(shallow.is_patched(), *given))

    return decorate


@kept(2)
def seeded(keys, num_classes=None):
    """A published checkpoint family's state dict, seeded; callers must not write into its
    arrays."""
    return seeded_state_dict(REFERENCE / f"keys_{keys}.txt", num_classes, change=shallow.rows)


@kept(1)
def fast_reid(version):
    """The state dict that `forward_fastreid_VERSION.npz` was made with; not to be written into."""
    path = REFERENCE / f"keys_fastreid_{version}.txt"
    state_dict = seeded_state_dict(path, salt="field-", change=shallow.rows)
    if version == "LUPerson":
        state_dict["pixel_mean"] = np.float32([89.896, 79.2, 80.073]).reshape(1, 3, 1, 1)
        state_dict["pixel_std"] = np.float32([63.872, 64.305, 63.839]).reshape(1, 3, 1, 1)
    for key in state_dict:
        if key.endswith(".p"):
            own = 2.2 + 0.2 * (sum(map(ord, key)) % 7)
            state_dict[key] = np.float32([2.6 if version == "v0.1.1" else own])
    return state_dict


@kept(1)
def seeded_variables(keys, num_classes=None):
    """The same as {variable name: array}."""
    return weights.from_pytorch(seeded(keys, num_classes))


@pytest.fixture(scope="session")
def state_dict():
    """MGN-pytorch's checkpoint of 751 classes, seeded: numpy arrays."""
    return seeded("seathiefwang")


SMALL = NetworkOptions(10, height=96, width=32)


@pytest.fixture(scope="module")
def small_arrays():
    """Seeded variables of 10 classes."""
    return shallow.arrays(SMALL) if shallow.is_patched() else seeded_variables("seathiefwang", 10)


@pytest.fixture(scope="session")
def whole_checkpoint(tmp_path_factory):
    """Prefix of a seeded checkpoint for images of 96x32."""
    prefix = tmp_path_factory.mktemp("small") / "seeded"
    write_checkpoint(prefix, seeded_variables("seathiefwang", 10), SMALL)
    return prefix


@pytest.fixture(scope="session")
def shallow_checkpoint(tmp_path_factory):
    """The same of the shallow network."""
    prefix = tmp_path_factory.mktemp("shallow") / "seeded"
    with shallow.patched():
        write_checkpoint(prefix, shallow.arrays(SMALL), SMALL)
    return prefix


@pytest.fixture(scope="module")
def small_checkpoint(request):
    """One of these two, as the network is."""
    kind = "shallow" if shallow.is_patched() else "whole"
    return request.getfixturevalue(f"{kind}_checkpoint")


@pytest.fixture(scope="session")
def familiar_checkpoint(tmp_path_factory):
    """Prefix of one of the shallow network whose batch norms know images of `familiar`."""
    from familiar import image, write_familiar

    prefix = tmp_path_factory.mktemp("familiar") / "small"
    with shallow.patched():
        write_familiar(prefix, [image(seed) for seed in range(60)])
    return prefix


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def small_graphs(small_checkpoint, graph_folder):
    """A function of what `freezing.freeze` takes: the small checkpoint's `.pb`, made once, not
    proven."""

    def path_of(form=PLAIN, input_type="float32", precision="float32", winograd=False):
        kind = small_checkpoint.parent.name
        path = graph_folder / f"{kind}_{form}_{input_type}_{precision}_{winograd}.pb"
        if not path.exists():
            found = checkpoints.find(small_checkpoint)
            graph_def = freezing.freeze(found, form, input_type, precision, winograd)
            path.write_bytes(graph_def.SerializeToString(deterministic=True))
        return path

    return path_of


@pytest.fixture(scope="module")
def small_reduction(small_checkpoint, graph_folder):
    """`reduction.npz` of the small checkpoint, from 36 drawn gallery images."""
    path = graph_folder / small_checkpoint.parent.name / sizes.REDUCTION
    if not path.exists():
        with closing(load_embedder(small_checkpoint)) as embed:
            about = {"made_by": model_hash(small_checkpoint), "probe": probe.embedded_by(embed)}
            parts = [drawn_split(embed, name, views) for name, views in (("q", [2]), ("g", [0, 1]))]
        splits, features = zip(*parts, strict=True)
        path.parent.mkdir()
        sizes.write(featurefile.Embedded(*splits, *features, **about), "drawn", path.parent)
    return path


def drawn_split(embed, name, views):
    """A split of 9 drawn people under two cameras, and its features."""
    shown = [(who, camera, view) for who in range(1, 10) for camera in (1, 2) for view in views]
    records = [Record(f"{name}/{who}_{camera}_{view}", who, camera) for who, camera, view in shown]
    features = embed([draw_image(5, who, camera, view) for who, camera, view in shown])
    return Split(tuple(records), 0, 0), features


def write_checkpoint(prefix, arrays, options):
    """Put arrays into a checkpoint with its .json."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, options.height, options.width, 3])
        inference_network(images, options, classifiers=True)
        saver = saving.new_saver(tf.global_variables())
    with new_session(graph, rewrite=False) as session:
        weights.assign(session, arrays)
        saving.save(session, saver, prefix, checkpoints.describe(options))


def save_torch(path, arrays):
    """Write a PyTorch file of {key: array}."""
    torch.save({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, path)


def torch_network(state_dict, num_classes, pool="avg", reduction="relu"):
    """PyTorch's network with a copy of these weights, every one of them."""
    with torch.device("meta"):  # without the seconds that random numbers take
        network = TorchMGN(num_classes, pool, reduction)
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state_dict.items()}
    network.load_state_dict(tensors, strict=True, assign=True)
    return network


def relative(got, expected):
    """Largest difference over largest value."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return np.abs(got - expected).max() / np.abs(expected).max()


def mean_colour(images):
    """A stand-in for a network, whose result a reader can compute: float32 [N, 2048] of length
    1."""
    features = np.zeros((len(images), 2048), np.float32)
    features[:, :3] = [image.reshape(-1, 3).mean(axis=0) for image in images]
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def run(script, *arguments):
    """Run a script's main in this process; returns its exit status."""
    try:
        return cli.run(script.main, [str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        return stop.code


def refused(capsys, script, *arguments):
    """Run a script that must refuse its input; returns its one line."""
    capsys.readouterr()
    assert run(script, *arguments) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line
