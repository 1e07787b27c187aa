"""Eight-bit exports of a small network, made by the scripts: values, the file, wrong input."""

import json
import os
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
from conftest import refused, run

import export_pb
import export_pb_with_pre_post
import export_tf_serving_with_pre_post
from mgn.config import NetworkOptions
from mgn.config.variants import with_variant
from mgn.data.demo import draw_image
from mgn.export import __main__ as describing
from mgn.export.price import Price
from mgn.inference import integers, load_embedder
from mgn.inference.exported import metadata_of, read_graph_def
from mgn.network.architecture import inference_network
from mgn.system.session import new_session
from mgn.weights import checkpoints, saving

ROOT = Path(__file__).parents[2]
IMAGES = [draw_image(0, person, 1 + person % 3, 0) for person in range(100, 133)]


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patches:
        shallow.patch(patches)
        yield


def write_random(prefix, **variant):
    """A checkpoint with the values that a run would begin with, and other statistics."""
    options = NetworkOptions(10, **{"height": 96, "width": 32} | variant)
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        inference_network(tf.zeros([1, 96, 32, 3]), options, classifiers=True)
        variables = tf.global_variables()
        saver = saving.new_saver(variables)
    with new_session(graph, rewrite=False) as session:
        session.run([variable.initializer for variable in variables])
        for variable in variables:
            if variable.op.name.endswith("running_var"):
                variable.load(rng.uniform(0.3, 3, variable.shape).astype(np.float32), session)
            if variable.op.name.endswith("running_mean"):
                variable.load(rng.normal(0, 0.3, variable.shape).astype(np.float32), session)
        saving.save(session, saver, prefix, checkpoints.describe(options))
    return prefix


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("random") / "model")


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    for person in range(1, 49):
        image = draw_image(0, person, 1 + person % 3, 0)
        cv2.imwrite(str(folder / f"{person}.png"), image[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint, calibration, tmp_path_factory):
    """The plain export."""
    pb = tmp_path_factory.mktemp("int8") / "plain.pb"
    asked = ["--checkpoint", checkpoint, "--pb_path", pb, "--precision", "int8"]
    assert run(export_pb, *asked, "--calibration", calibration) == 0
    return pb


def test_the_file_is_close_to_the_checkpoint_and_says_how_close(exported, checkpoint, capsys):
    described = metadata_of(read_graph_def(exported).node)
    about = described["int8"]
    price = Price(*(about[name] for name in Price._fields))
    with closing(load_embedder(checkpoint)) as source, closing(load_embedder(exported)) as made:
        expected, got = source(IMAGES), made(IMAGES)
    cosines = (expected * got).sum(axis=1)
    assert cosines.min() > 0.995
    assert cosines.min() < 1 - 1e-7  # it is another computation
    assert abs(price.mean_cosine - cosines.mean()) < 2e-3
    assert (about["choosing"], about["held_back"]) == (32, 16)
    assert (described["precision"], about["float"]) == ("int8", [])
    describing.main([str(exported)])
    told = capsys.readouterr().out
    assert "int8    the residual blocks; stem and heads in float32" in told
    kinds = [node.op for node in read_graph_def(exported).node]
    assert sum(kind.startswith("QuantizedConv2D") for kind in kinds) == 32
    assert f"price   {price}" in told


def test_a_byte_a_weight_and_as_much_work(exported, checkpoint, tmp_path, capsys):
    plain = tmp_path / "float32.pb"
    assert run(export_pb, "--checkpoint", checkpoint, "--pb_path", plain) == 0
    works = []
    for path in (exported, plain):
        describing.main([str(path)])
        told = capsys.readouterr().out
        works.append(next(line for line in told.splitlines() if line.startswith("work ")))
    assert works[0] == works[1]
    # Each weight of the residual blocks has one byte instead of four.
    constants = [node for node in read_graph_def(exported).node if node.op == "Const"]
    values = [node.attr["value"].tensor for node in constants]
    kernels = [value for value in values if value.dtype == tf.qint8.as_datatype_enum]
    whole = sum(len(kernel.tensor_content) for kernel in kernels)
    saved = plain.stat().st_size - exported.stat().st_size
    assert whole > 1e6
    assert abs(saved - 3 * whole) < 0.1 * whole


def test_the_same_images_make_the_same_bytes(exported, checkpoint, calibration, tmp_path):
    again = tmp_path / "again.pb"
    asked = ["--checkpoint", checkpoint, "--pb_path", again, "--precision", "int8"]
    assert run(export_pb, *asked, "--calibration", calibration) == 0
    assert again.read_bytes() == exported.read_bytes()


def test_every_batch_and_four_threads_give_the_same(exported):
    """The kernel of a sum writes over what it adds."""
    with closing(load_embedder(exported)) as embed:
        prepared = np.stack(embed.prepare(IMAGES))

        def embedded(batch):
            chosen = prepared[:batch]
            return embed.session.run(embed.result, {embed.input: chosen})

        everything = embedded(33)
        for batch in (1, 2, 8, 32):
            np.testing.assert_allclose(embedded(batch), everything[:batch], rtol=0, atol=1e-5)
        with ThreadPoolExecutor(4) as pool:
            for batch, got in zip([1, 8, 33] * 8, pool.map(embedded, [1, 8, 33] * 8), strict=True):
                np.testing.assert_allclose(got, everything[:batch], rtol=0, atol=1e-5)


VARIANTS = [
    ({"pool": "max"}, "uint8", []),
    ({"variant": "lwplw"}, "jpeg", ["--keep_float", "2"]),
    ({"variant": "fastreid-v1.0"}, "float32", ["--input_size", "100x50"]),
    ({"variant": "luperson"}, "uint8", ["--int8_bound", "0.995"]),
]


@pytest.mark.parametrize(("network", "given", "flags"), VARIANTS)
def test_every_network_and_form(network, given, flags, calibration, tmp_path):
    checkpoint = write_random(tmp_path / "model", **with_variant(network))
    pb = tmp_path / "x.pb"
    asked = ["--checkpoint", checkpoint, "--pb_path", pb, "--precision", "int8", "--input", given]
    assert run(export_pb_with_pre_post, *asked, "--calibration", calibration, *flags) == 0
    images = IMAGES[:6]
    if "--input_size" in flags:
        images = [cv2.resize(image, (50, 100)) for image in images]
    with closing(load_embedder(checkpoint)) as source, closing(load_embedder(pb)) as made:
        expected, got = source(images), made(images)
    assert (expected * got).sum(axis=1).min() > 0.99
    described = metadata_of(read_graph_def(pb).node)["int8"]
    assert len(described["float"]) == (2 if "--keep_float" in flags else 0)
    if given != "jpeg":  # one served model is enough, and servers take no graph of one size
        return
    served = tmp_path / "served"
    assert run(export_tf_serving_with_pre_post, "--pb_path", pb, "--export_path", served) == 0
    with closing(load_embedder(served)) as embed:
        np.testing.assert_allclose(embed(images), got, rtol=0, atol=1e-5)


WRONG = [
    (["--precision", "int8", "--winograd"], "--winograd: not with --precision int8"),
    (["--calibration", "."], "--calibration: only with --precision int8"),
    (["--keep_float", "2", "--int8_bound", "0.9"], "--keep_float, --int8_bound: only with"),
    (["--precision", "int8", "--int8_bound", "99"], "99.0: must lie between -1 and 1"),
    (["--precision", "int8", "--int8_bound", "nan"], "'nan' is not a number"),
    (["--precision", "int8", "--keep_float", "-1"], "-1: must lie between 0 and"),
    (["--precision", "int8", "--calibration", "nowhere"], "nowhere"),
    (["--precision", "int8", "--calibration_images", "0"], "0: must lie between 1 and 256"),
    (["--precision", "int8", "--calibration_images", "257"], "257: must lie between 1 and 256"),
]


@pytest.mark.parametrize(("flags", "problem"), WRONG)
def test_wrong_input_is_one_line(flags, problem, checkpoint, tmp_path, capsys):
    pb = tmp_path / "x.pb"
    asked = ["--checkpoint", checkpoint, "--pb_path", pb]
    assert problem in refused(capsys, export_pb, *asked, *flags)
    assert not pb.exists()


def test_at_least_one_convolution_is_of_integers(checkpoint, calibration, tmp_path, capsys):
    pb = tmp_path / "x.pb"
    asked = ["--checkpoint", checkpoint, "--pb_path", pb, "--precision", "int8"]
    flags = ["--calibration", calibration, "--keep_float", "32"]
    told = refused(capsys, export_pb, *asked, *flags)
    assert "--keep_float 32: this network has 32 convolutions, so none" in told
    assert list(tmp_path.iterdir()) == []


def test_below_the_bound_nothing_is_kept(checkpoint, calibration, tmp_path, capsys):
    pb = tmp_path / "x.pb"
    asked = ["--checkpoint", checkpoint, "--pb_path", pb, "--precision", "int8"]
    flags = ["--calibration", calibration, "--int8_bound", "0.9999999"]
    assert run(export_pb, *asked, *flags) == 1
    assert "less than 1; nothing was written; try more --calibration" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_nan_is_refused(calibration, tmp_path, capsys):
    prefix = write_random(tmp_path / "model")
    with tf.Graph().as_default() as graph:
        options = checkpoints.find(prefix).options
        inference_network(tf.zeros([1, 96, 32, 3]), options, classifiers=True)
        variables = tf.global_variables()
        saver = saving.new_saver(variables)
    with new_session(graph, rewrite=False) as session:
        checkpoints.restore(session, checkpoints.find(prefix), variables)
        broken = next(v for v in variables if v.op.name == "p1/layer4/0/conv1/weight")
        broken.load(np.full(broken.shape, np.nan, np.float32), session)
        (tmp_path / "nan").mkdir()
        broken_prefix = tmp_path / "nan" / "model"
        saving.save(session, saver, broken_prefix, checkpoints.describe(options))
    asked = ["--checkpoint", broken_prefix, "--pb_path", tmp_path / "x.pb", "--precision", "int8"]
    assert run(export_pb, *asked, "--calibration", calibration) == 1
    assert "NaN or infinity" in capsys.readouterr().err
    assert not (tmp_path / "x.pb").exists()


LOADED = """
import sys
from mgn.inference import integers, load_embedder
from mgn.system import cli
def main(arguments):
    load_embedder(arguments[0]).close()
    load_embedder(arguments[0]).close()
    print(integers.integer_kernels())
sys.exit(cli.run(main))
"""


@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, 0, "warning: int8: this processor has no AVX-512"),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, 2, "needs oneDNN's integer convolutions"),
    ],
)
def test_other_machines_are_told(exported, changed, status, told):
    """oneDNN can be kept from what this processor has."""
    command = [sys.executable, "-c", LOADED, str(exported)]
    environment = os.environ | changed
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert done.stderr.count(told) == 1
    assert "Traceback" not in done.stderr
    if not status:
        assert done.stdout.split() == [integers.SATURATING]


def test_the_price_is_in_the_file_as_json(exported):
    text = json.dumps(metadata_of(read_graph_def(exported).node)["int8"])
    assert json.loads(text)["calibration"]
