"""Checkpoints: found, described, strict, whole or absent."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.inference import load_embedder
from mgn.inference.embedder import session_of_checkpoint
from mgn.network import mgn
from mgn.system.errors import CheckError, InputError
from mgn.system.session import new_session
from mgn.weights import checkpoints, saving
from mgn.weights.variables import variable_shapes

pytestmark = pytest.mark.usefixtures("shallow_network")
DATA = ".data-00000-of-00001"


def copy(prefix, folder, name, suffixes=(".index", DATA, ".json")):
    for suffix in suffixes:
        shutil.copy(f"{prefix}{suffix}", folder / f"{name}{suffix}")
    return folder / name


@pytest.fixture
def tiny(tmp_path):
    """Save a one-variable checkpoint; returns a function of (name, value)."""
    variable = tf.get_variable("a", initializer=tf.constant(0.0))
    saver = saving.new_saver([variable])
    session = tf.Session()

    def save(name, value, overwrite=False):
        session.run(variable.initializer, {variable.initializer.inputs[1]: value})
        saving.save(session, saver, tmp_path / name, {"value": value}, overwrite)

    save.session, save.variable = session, variable
    return save


def test_the_newest_complete_checkpoint_of_a_folder(tiny, tmp_path):
    assert checkpoints.newest(tmp_path) is None
    for step in (9, 100, 20):
        tiny(f"model.ckpt-{step}", step)
    assert checkpoints.newest(tmp_path).name == "model.ckpt-100"
    (tmp_path / f"model.ckpt-100{DATA}").unlink()  # a save was killed, or a copy cut off
    assert checkpoints.newest(tmp_path).name == "model.ckpt-20"
    for stranger in ("model.ckpt-best.index", "model.ckpt-500-old.index"):
        (tmp_path / stranger).touch()
    assert checkpoints.steps_in(tmp_path) == [9, 20, 100]


def test_save_and_restore(tiny, tmp_path):
    tiny("x", 3.5)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"x{DATA}", "x.index", "x.json"]
    tiny.session.run(tiny.variable.initializer)
    found = checkpoints.Checkpoint(tmp_path / "x", "mgn", NetworkOptions(2))
    checkpoints.restore(tiny.session, found, [tiny.variable])
    assert tiny.session.run(tiny.variable) == 3.5


def test_an_existing_checkpoint_is_kept_unless_told(tiny, tmp_path):
    tiny("x", 1.0)
    with pytest.raises(InputError, match="exists"):
        tiny("x", 2.0)
    assert json.loads((tmp_path / "x.json").read_text()) == {"value": 1.0}
    tiny("x", 2.0, overwrite=True)
    assert json.loads((tmp_path / "x.json").read_text()) == {"value": 2.0}


@pytest.mark.parametrize("moment", range(6))
def test_a_failed_rename_leaves_what_was_there(tiny, tmp_path, monkeypatch, moment):
    tiny("x", 1.0)
    rename, done = Path.replace, []

    def failing(self, target):
        done.append(self)
        if len(done) == moment + 1:
            raise OSError("power cut")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="power cut"):
        tiny("x", 2.0, overwrite=True)
    monkeypatch.undo()
    kept = json.loads((tmp_path / "x.json").read_text())["value"]
    tiny.session.run(tiny.variable.initializer)
    found = checkpoints.Checkpoint(tmp_path / "x", "mgn", NetworkOptions(2))
    checkpoints.restore(tiny.session, found, [tiny.variable])
    assert tiny.session.run(tiny.variable) == kept == 1.0
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"x{DATA}", "x.index", "x.json"]


def test_other_programs_files_are_not_replaced(tiny, tmp_path):
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(InputError, match=r"config\.json exists"):
        tiny("config", 1.0)
    assert (tmp_path / "config.json").read_text() == "mine"
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        tiny("folder", 1.0)
    with pytest.raises(InputError, match=r"any of \* \? \[ \]"):
        tiny("a[1]", 1.0)
    for name in ("mgn.pb", "mgn.index", "mgn.json", "mgn.META", "mgn.data-00000-of-00001", "m.pth"):
        with pytest.raises(InputError, match=r"ends in \..* would be .* leave the ending out"):
            tiny(name, 1.0)
    tiny("model.ckpt", 1.0)
    tiny("mgn.v2", 1.0)
    (tmp_path / "x.pt").write_text("mine")
    with pytest.raises(
        InputError, match=r"x\.pt: is a file, which a checkpoint of that name would hide"
    ):
        tiny("x.pt", 1.0, overwrite=True)


def test_a_failed_write_leaves_what_was_there(tiny, tmp_path, monkeypatch):
    tiny("x", 1.0)

    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.Saver, "save", full)
    with pytest.raises(CheckError, match="could not be written: the disk is full; free some space"):
        tiny("x", 2.0, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"x{DATA}", "x.index", "x.json"]
    assert json.loads((tmp_path / "x.json").read_text()) == {"value": 1.0}


def test_without_json_the_pooling_must_be_said(small_checkpoint, tmp_path):
    prefix = copy(small_checkpoint, tmp_path, "bare", (".index",))
    os.link(f"{small_checkpoint}{DATA}", f"{prefix}{DATA}")
    with pytest.raises(InputError, match="add --pool"):
        checkpoints.find(prefix)
    found = checkpoints.find(prefix, pool="max", height=96, width=32)
    assert found.options == NetworkOptions(10, "max", "relu", 96, 32)
    image = [np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)]
    same = load_embedder(prefix, pool="avg", height=96, width=32)(image)
    assert np.array_equal(same, load_embedder(small_checkpoint)(image))


def test_without_json_a_variant_must_be_named(tmp_path, monkeypatch):
    """Its pooling alone would leave the rest MGN-pytorch's: a wrong network, without a word."""
    options = NetworkOptions(0, **VARIANTS["luperson"])
    (tmp_path / "x.index").touch()
    monkeypatch.setattr(checkpoints, "stored_shapes", lambda _: variable_shapes(options))
    for given in ({}, {"pool": "gem"}):
        with pytest.raises(InputError, match=r"gem, batch norm .* mean of images; add --variant"):
            checkpoints.find(tmp_path / "x", **given)
    assert checkpoints.find(tmp_path / "x", variant="luperson").options == options
    with pytest.raises(InputError, match="add --variant"):  # one more option is not all of them
        checkpoints.find(tmp_path / "x", pool="gem", stem_padding=1)
    with pytest.raises(InputError, match="as given: pool avg, but its weights have gem"):
        checkpoints.find(tmp_path / "x", variant="mgn-pytorch")


def test_without_json_a_name_of_two_networks_is_not_enough(tmp_path, monkeypatch):
    shapes = variable_shapes(NetworkOptions(0, **VARIANTS["fastreid-v1.0"]))
    (tmp_path / "x.index").touch()
    monkeypatch.setattr(checkpoints, "stored_shapes", lambda _: shapes)
    with pytest.raises(InputError, match="stands for both; add --stem_padding 0 or 1"):
        checkpoints.find(tmp_path / "x", variant="fastreid-v1.0")
    for padding in (0, 1):
        found = checkpoints.find(tmp_path / "x", variant="fastreid-v1.0", stem_padding=padding)
        assert found.options.stem_padding == padding and not found.averaged


def test_without_json_a_changed_variant_is_said_by_its_flags(tmp_path, monkeypatch):
    """`train.py --ibn true`: no published network, and so no name stands for it."""
    options = NetworkOptions(0, ibn=True, p1_stride=1, reduction="plain", mean=(1.0, 2.0, 3.0))
    (tmp_path / "x.index").touch()
    monkeypatch.setattr(checkpoints, "stored_shapes", lambda _: variable_shapes(options))
    untold = {"p1_stride": 1, "reduction": "plain", "mean": (1.0, 2.0, 3.0)}
    with pytest.raises(InputError, match=r"have true; add --ibn true, if it was trained so$"):
        checkpoints.find(tmp_path / "x", variant="mgn-pytorch", **untold)
    with pytest.raises(InputError, match=r"IBN-a tell neither .*; add --variant"):
        checkpoints.find(tmp_path / "x", pool="avg", ibn=True, p1_stride=1)
    found = checkpoints.find(tmp_path / "x", variant="mgn-pytorch", ibn=True, **untold)
    assert found.options == options
    with pytest.raises(InputError, match=r"extra_bn true, but .* have false; add --extra_bn false"):
        checkpoints.find(tmp_path / "x", variant="mgn-pytorch", ibn=True, extra_bn=True)


def test_without_json_averages_are_the_network(tmp_path, monkeypatch):
    shapes = variable_shapes(NetworkOptions(0))
    both = {**shapes, **{f"{name}/average": shape for name, shape in shapes.items()}}
    (tmp_path / "x.index").touch()
    monkeypatch.setattr(checkpoints, "stored_shapes", lambda _: both)
    found = checkpoints.find(tmp_path / "x", pool="avg")
    assert found.averaged and found.name_of("p1/a") == "p1/a/average"


def test_a_contradiction_is_refused(small_checkpoint):
    with pytest.raises(InputError, match=r"--pool max: .* was made with pool avg"):
        checkpoints.find(small_checkpoint, pool="max")


@pytest.mark.parametrize(
    ("name", "value", "held"), [("num_classes", 0, 10), ("reduction", "prelu", "relu")]
)
def test_a_json_that_is_not_these_weights(small_checkpoint, tmp_path, name, value, held):
    """With 0 classes, the way back to PyTorch would leave out the classifiers without a word."""
    prefix = copy(small_checkpoint, tmp_path, "x", (".index", ".json"))
    described = json.loads((tmp_path / "x.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps(described | {name: value}))
    with pytest.raises(InputError, match=rf"x\.json: {name} {value}, but its weights have {held}"):
        checkpoints.find(prefix)


def test_the_only_checkpoint_of_a_folder_is_found(small_checkpoint, tmp_path):
    """A run's by its step; any other where it is the only one; else they are listed."""
    copy(small_checkpoint, tmp_path, "mgn", (".index", ".json"))
    assert checkpoints.find(tmp_path).prefix == tmp_path / "mgn"
    (tmp_path / "other.index").touch()
    with pytest.raises(InputError, match=r"in this folder; name one of mgn, other$"):
        checkpoints.find(tmp_path)


@pytest.mark.parametrize("folder", ["runs [2]", "what?", "a*"])
def test_a_path_that_tensorflow_takes_for_a_pattern_is_called_that(
    small_checkpoint, tmp_path, folder
):
    (tmp_path / folder).mkdir()
    prefix = copy(small_checkpoint, tmp_path / folder, "model.ckpt-1", (".index", ".json"))
    Path(f"{prefix}{DATA}").symlink_to(f"{small_checkpoint}{DATA}")
    for path in (prefix, prefix.parent):
        with pytest.raises(InputError, match=r"cannot read .* any of \* \? \[ \] in it; rename"):
            load_embedder(path)


def test_not_a_checkpoint(tmp_path, tiny):
    with pytest.raises(InputError, match=r"no complete checkpoint model.ckpt-STEP"):
        checkpoints.find(tmp_path)
    with pytest.raises(InputError, match=r"not a checkpoint \(no nothing.index"):
        checkpoints.find(tmp_path / "nothing")
    (tmp_path / "text.index").write_text("hello")
    with pytest.raises(InputError, match="not a readable TensorFlow checkpoint"):
        checkpoints.find(tmp_path / "text", pool="avg")
    tiny("other", 1.0)
    (tmp_path / "other.json").unlink()
    with pytest.raises(InputError, match="of another network"):
        checkpoints.find(tmp_path / "other", pool="avg")


def test_another_class_count_and_damage_are_named(small_checkpoint, tmp_path):
    found = checkpoints.find(small_checkpoint)
    with new_session(tf.get_default_graph(), rewrite=False) as session:
        mgn(tf.placeholder(tf.float32, [None, 96, 32, 3]), 11, False)
        with pytest.raises(
            InputError, match=r"fc_id_2048_0/weight \[256, 10\] instead of \[256, 11\]"
        ):
            checkpoints.restore(session, found, tf.global_variables())
    other = found._replace(options=NetworkOptions(10, "avg", "prelu", 96, 32))
    with pytest.raises(InputError, match=r"8 variables missing, such as reduction_0/2/weight"):
        session_of_checkpoint(other)
    damaged = copy(small_checkpoint, tmp_path, "damaged")
    with Path(f"{damaged}{DATA}").open("r+b") as stream:
        stream.truncate(1_000_000)
    with pytest.raises(InputError, match="damaged checkpoint"):
        session_of_checkpoint(checkpoints.find(damaged))
