"""doc/outputs.md: each line of its table of errors is what the function or script prints."""

import errno
import json
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import refused, run

import train
from mgn import client
from mgn.config import TrainConfig
from mgn.config.threshold import Threshold
from mgn.conversion import to_tensorflow
from mgn.data import probe
from mgn.data.decoding import read_image
from mgn.data.formats.table import recognise
from mgn.data.records import image_files
from mgn.deploy import packages, source
from mgn.evaluation import featurefile
from mgn.inference.exported import METADATA
from mgn.inference.graph import IMAGE_TENSOR, PRE_POST
from mgn.system import errors, files
from mgn.system.errors import MgnError
from mgn.training import distribution, start
from mgn.training.cluster import Cluster
from mgn.training.collapse import Collapse
from mgn.training.trainer import Trainer
from mgn.training.watch import Health
from mgn.weights.coverage import Coverage
from mgn.weights.families import FAMILIES

PAGE = Path(__file__).parents[1] / "doc" / "outputs.md"
_PLACE = re.compile(
    r"DIR|FILE|IMAGE|LAYOUT|RECIPE|PREFIX|PART\b|FAMILY|HOST:PORT|PACKAGE|FLAG|\bN\b|\.\.\."
)


def lines_of_table():
    """The first cells of the table, without their backticks."""
    text = PAGE.read_text(encoding="utf-8").split("## Error lines")[1]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def error_of(function, *arguments):
    """What a function raises, as it is printed."""
    with pytest.raises(MgnError) as raised:
        function(*arguments)
    return " ".join(str(raised.value).split())


@pytest.fixture
def here(tmp_path, monkeypatch, capsys, caplog):
    """A folder, and what the provokers use of pytest."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    return SimpleNamespace(folder=tmp_path, patch=monkeypatch, capsys=capsys, caplog=caplog)


def train_refuses(here, *arguments):
    return refused(here.capsys, train, *arguments).removeprefix("error: ")


PROVOKERS = {  # a part of a line in the table -> function that provokes it
    "no such file or folder": lambda here: train_refuses(here, "--dataset", here.folder / "gone"),
    "no data set in it": lambda here: train_refuses(here, "--dataset", here.folder),
    "exists: choose another name": lambda here: error_of(files.refuse_existing, here.folder, False),
    "is not installed": lambda _: error_of(packages.needed, "of_this_name_there_is_none"),
    "FLAG: only with FLAG": lambda here: train_refuses(here, "--fresh_classifier"),
}


def provokes(part):
    """Mark a function that returns the line which has `part` in the table."""

    def mark(function):
        PROVOKERS[part] = function
        return function

    return mark


@pytest.mark.parametrize("line", lines_of_table())
def test_a_line_is_printed_as_the_table_has_it(line, here):
    (function,) = [function for part, function in PROVOKERS.items() if part in line]
    pattern = ".*".join(map(re.escape, _PLACE.split(line)))
    printed = function(here)
    print(printed)
    assert re.fullmatch(pattern, printed), printed


def test_every_provoker_has_its_line():
    lines = lines_of_table()
    assert len(lines) >= 15
    for part in PROVOKERS:
        assert sum(part in line for line in lines) == 1, part


@provokes("fits the layouts")
def _two_layouts(here):
    (here.folder / "query").mkdir()
    (here.folder / "query" / "0001_c1s1_000001_00.jpg").touch()
    (here.folder / "query.csv").touch()
    return error_of(recognise, here.folder)


@provokes("not an image in a format")
def _text(here):
    (here.folder / "a.jpg").write_text("no image")
    return error_of(read_image, here.folder / "a.jpg")


@provokes("cut off or damaged")
def _cut_off(here):
    whole = here.folder / "a.png"
    probe.write(whole)
    whole.write_bytes(whole.read_bytes()[:-200])
    return error_of(read_image, whole)


@provokes("expects pretrained weights")
def _untrained(here):
    assert run(train, "--dataset", here.folder, "--train_dir", here.folder / "run") == 2
    return here.capsys.readouterr().err.splitlines()[0]


@provokes("the folder is not empty")
def _not_empty(here):
    (here.folder / "notes.txt").touch()
    return train_refuses(here, "--train_dir", here.folder)


@provokes("FILE already; name another folder")
def _results_there(here):
    (here.folder / "metrics.json").touch()
    return error_of(files.refuse_names, here.folder, ("metrics.json",), False)


@provokes("another process is using")
def _in_use(here):
    def twice():
        with files.locked(here.folder), files.locked(here.folder):
            pass

    return error_of(twice)


@provokes("--resume: PREFIX was trained with")
def _other_identities(here):
    found = SimpleNamespace(prefix=here.folder / "x", options=SimpleNamespace(num_classes=9))
    split = SimpleNamespace(persons=np.array([3, 4, 4]))
    return error_of(start.check_goes_on, found, TrainConfig(), split)


@provokes("out of memory")
def _out_of_memory(_here):
    def take(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    trainer = SimpleNamespace(step=7, _stepper=SimpleNamespace(take=take))
    asked = SimpleNamespace(signal_number=None)
    return error_of(Trainer._take_step, trainer, asked, False, False)


@provokes("PART is nan")
def _not_finite(here):
    figures = {"cross_entropy": float("nan"), "triplet": 1.0, "grad_norm": 1.0, "loss_scale": 1.0}
    return error_of(Health(here.folder).check, 4, figures, [f"{i}.jpg" for i in range(8)])


@provokes("embeddings have become alike")
def _collapsed(here):
    alarm = Collapse(TrainConfig(), 10, 5)
    figures = {"cross_entropy": 1.0, "triplet_weight": 1.0, "hardest_negative": 0.01}
    for step in range(1, 100):
        alarm.after_step(step, SimpleNamespace(figures=figures), False)
    (record,) = here.caplog.records
    return record.getMessage()


@provokes("the disk is full")
def _full(here):
    return str(files.not_written(here.folder / "x", OSError(errno.ENOSPC, "full")))


@provokes("not a complete FAMILY checkpoint")
def _missing(here):
    empty = ({}, ["fc.weight"], [], [], [], {}, [], [], {})
    coverage = Coverage(FAMILIES[0], "pytorch", *empty)
    given = SimpleNamespace(path=here.folder / "model.pt", coverage=coverage)
    return error_of(to_tensorflow.convert, given, None)


@provokes("--features FILE: made by another model")
def _features(here):
    names = here.folder / "images"
    names.mkdir()
    probe.write(names / "0001_c1s1_000001_00.png")
    split = image_files(names)
    row = np.ones((1, 4), np.float32)
    path = here.folder / "features.npz"
    made = featurefile.Embedded(split, split, row, row)
    featurefile.save_features(path, made, (split, split), "abc")
    return error_of(featurefile.load_features, path, split, split, "of another")


@provokes("--threshold FILE: made for another model")
def _threshold(here):
    own = np.eye(1, 2048, dtype=np.float32)[0]
    threshold = Threshold(0.5, here.folder, model="abc", probe=probe.as_text(own))
    return error_of(probe.check_model, threshold, "of another", lambda: -own)


@provokes("has pre- and postprocessing")
def _not_plain(here):
    tf.placeholder(tf.float32, name=IMAGE_TENSOR)
    tf.constant(json.dumps({"form": PRE_POST, "precision": "float32"}), name=METADATA)
    path = here.folder / "x.pb"
    path.write_bytes(tf.get_default_graph().as_graph_def().SerializeToString())
    return error_of(source.read, path)


@provokes("no answer within")
def _no_server(here):
    image = here.folder / "a.png"
    probe.write(image)
    with socket.socket() as free:  # bound, and nobody listens
        free.bind(("localhost", 0))
        server = f"localhost:{free.getsockname()[1]}"
        assert run(client, "--server", server, "--timeout", 0.5, image) == 1
    return here.capsys.readouterr().err.splitlines()[-1].removeprefix("error: ")


@provokes("TF_CONFIG: ")
def _port_taken(here):
    def taken(**_):
        raise RuntimeError("Could not start gRPC server")

    here.patch.setattr(tf.distribute.experimental, "MultiWorkerMirroredStrategy", taken)
    cluster = Cluster({"worker": ["localhost:1", "localhost:2"]}, "worker", 0)
    return error_of(distribution._worker, cluster, tf.ConfigProto())


@provokes("libGL.so.1 is missing")
def _no_library(_here):
    said = "libGL.so.1: cannot open shared object file: No such file or directory"
    return errors.import_advice(ImportError(said))
