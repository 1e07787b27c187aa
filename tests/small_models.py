"""Served models of a small network, for speed; around it is what all exports have."""

import contextlib
import dataclasses
import functools
import json

import cv2
import tensorflow.compat.v1 as tf
from conftest import run
from model_server import Model, serving_grpc, serving_rest

from mgn import client
from mgn.config import NetworkOptions
from mgn.data.decoding import read_image
from mgn.data.demo import draw_image
from mgn.inference.embedder import open_exported
from mgn.inference.exported import METADATA
from mgn.inference.graph import PLAIN, PRE_POST, build
from mgn.serving import saved_model
from mgn.weights import checkpoints

OWN_PIXELS = {"mean": (89.896, 79.2, 80.073), "std": (63.872, 64.305, 40.0)}
PROTOCOLS = {"gRPC": (serving_grpc, []), "REST": (serving_rest, ["--rest"])}


def network(images):
    """What two rows and three columns have on average, and zeros up to 2048."""
    pooled = tf.nn.avg_pool2d(images, [3, 2], [3, 2], "VALID")
    return tf.pad(tf.reshape(pooled, [-1, 32 * 16 * 3]), [[0, 0], [0, 512]])


def next_network(images):
    """The same with the colours in another order: the next version."""
    return network(images[..., ::-1])


def smaller(whole):
    """A reduction to the first 64 of the 2048 numbers less a tenth: not linear, as its length is
    taken off, so that it matters where the mirror image is added."""
    return whole[:, :64] - 0.1


KINDS = {  # of served models: form, what it takes, network
    "jpeg": (PRE_POST, "jpeg", network),
    "uint8": (PRE_POST, "uint8", network),
    "float32": (PRE_POST, "float32", network),
    "plain": (PLAIN, "float32", network),
    "pixels": (PLAIN, "float32", network),
    "next": (PRE_POST, "jpeg", next_network),
    "smaller": (PLAIN, "float32", network),
    "smaller jpeg": (PRE_POST, "jpeg", network),
}


@contextlib.contextmanager
def made_models(folders, kinds):
    """Yield {kind: frozen graph, and a model that serves it}."""
    with contextlib.ExitStack() as stack:
        made = {}
        for kind in kinds:
            folder, (form, input_type, net) = folders.mktemp(kind), KINDS[kind]
            with tf.Graph().as_default() as graph:
                options = NetworkOptions(10, height=96, width=32)
                if kind == "pixels":  # the graph tells it of itself, and the served model a client
                    options = dataclasses.replace(options, **OWN_PIXELS)
                    tf.constant(json.dumps(checkpoints.describe(options)), name=METADATA)
                reduction = smaller if "smaller" in kind else None
                build(form, options, input_type, net, reduction=reduction)
            (folder / "x.pb").write_bytes(graph.as_graph_def().SerializeToString())
            version, _ = saved_model.export_saved_model(folder / "x.pb", folder / "served", form)
            made[kind] = folder / "x.pb", Model(version)
            stack.callback(made[kind][1].close)
        yield made


def write_files(folder):
    """Images of three sizes and two formats."""
    images = [draw_image(0, person, 1, 0) for person in (1, 2, 3)]
    images[1] = cv2.resize(images[1], (99, 301))
    names = [folder / name for name in ("a.jpg", "b.png", "c.jpg")]
    for path, image in zip(names, images, strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    return names


def expected_of(pb, files):
    """The embeddings by the frozen graph itself."""
    return _expected_of(pb, tuple(files))


@functools.cache
def _expected_of(pb, files):
    with contextlib.closing(open_exported(pb)) as embed:
        return embed([read_image(path) for path in files])


def failed(capsys, *arguments):
    """The one line of a run of the client that fails, though what was asked is in order."""
    capsys.readouterr()
    assert run(client, *arguments) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line
