"""`convert_pytorch_weights.py` as users run it: what it prints, leaves behind and refuses."""

import errno
import json
import os
import resource

import cv2
import numpy as np
import pytest
import shallow
import torch
from conftest import REFERENCE, refused, run, save_torch, seeded
from seeded import read_keys

import convert_pytorch_weights as script
from mgn.network import HEADS
from mgn.system import errors
from mgn.weights import checkpoints
from mgn.weights.families import to_tf_layout
from mgn.weights.naming import mgn_pytorch_key

SMALL = "--height", 96, "--width", 32  # where the size of images is not the point


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "x.pt"
    save_torch(path, seeded("seathiefwang", 10))
    return path


@pytest.fixture(scope="module")
def shallow_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "shallow.pt"
    with shallow.patched_with_torch():
        save_torch(path, seeded("seathiefwang", 10))
    assert path.stat().st_size > 10_000_000
    return path


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_there_and_back(torch_file, tmp_path, capsys):
    made, back = tmp_path / "made", tmp_path / "back.pt"
    assert run(script, "--pt_model_path", torch_file, "--checkpoint", made, *SMALL) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{torch_file}: MGN-pytorch"
    assert any(
        line.startswith("f0_p2") and "reduction_3.* fc_id_256_1_0.*" in line for line in lines
    )
    assert (
        "10 classes (sorted ids), relu heads, avg pooling (the authors', as the file"
        in "\n".join(lines)
    )
    assert "reduction order: pytorch (not verified; --verify IMAGES judges it by images)" in lines
    assert [line.split()[0] for line in lines[-10:-2]] == [head.name for head in HEADS]
    assert all(float(value) <= 1e-5 for line in lines[-10:-2] for value in line.split()[1:])
    assert lines[-1] == f"{made}: evaluate, export or train from it"
    assert run(script, "--to_pytorch", "--checkpoint", made, "--pt_model_path", back) == 0
    assert "682 tensors as MGN-pytorch names them, equal bit for bit" in capsys.readouterr().out
    first, second = (torch.load(path, weights_only=True) for path in (torch_file, back))
    assert all(torch.equal(first[key], second[key]) for key in first) and len(first) == len(second)


def test_a_dry_run_writes_nothing_and_json_has_it_all(torch_file, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    white = np.full((64, 32, 3), 255, np.uint8)
    assert cv2.imwrite(str(tmp_path / "images" / "x.png"), white)
    arguments = ["--checkpoint", tmp_path / "made", "--dry_run", "--json", *SMALL]
    arguments += ["--verify", tmp_path / "images"]
    assert run(script, "--pt_model_path", torch_file, *arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["family"], told["kind"], told["written"]) == ("MGN-pytorch", "mgn", None)
    assert told["options"] == {
        "num_classes": 10,
        "pool": "avg",
        "reduction": "relu",
        "height": 96,
        "width": 32,
    }
    values = sum(v.size for v in seeded("seathiefwang", 10).values() if v.dtype == np.float32)
    assert told["totals"] == {"tensors": 571, "values": values, "tensors_of_the_file": 571}
    assert len(told["tensors"]) == 571
    assert told["tensors"]["reduction_3/0/weight"] == {
        "key": "reduction_3.0.weight",
        "shape": [256, 2048, 1, 1],
    }
    assert told["evidence"]["order"] is None and set(told["evidence"]["distances"]) == {
        "pytorch",
        "mgn-reid",
    }
    assert max(found["logits"] for found in told["differences"].values()) <= 1e-5
    assert len(told["notes"]["passed over, counters of batches"]) == 111
    assert listing(tmp_path) == ["images"]


@pytest.mark.usefixtures("shallow_conversion")
def test_one_of_two_networks_is_converted_and_recorded(tmp_path, capsys):
    """The weights of the bare file bit for bit, and what lies beside them in the report."""
    arrays = {k: torch.from_numpy(np.array(v)) for k, v in seeded("seathiefwang", 10).items()}
    both = {"n_averaged": torch.tensor(3), "criterion.centers": torch.zeros(2, 3)}
    for key, value in arrays.items():
        both[f"_orig_mod.{key}"] = value
    torch.save({"teacher": dict.fromkeys(arrays, torch.zeros(1)), "ema": both}, tmp_path / "x.pt")
    arguments = ["--pt_model_path", tmp_path / "x.pt", "--checkpoint", tmp_path / "made", *SMALL]
    assert "teacher, ema._orig_mod; choose one" in refused(capsys, script, *arguments)
    assert run(script, *arguments, "--key", "ema") == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'x.pt'}, ema: MGN-pytorch\n")
    assert json.loads((tmp_path / "made.json").read_text())["source"]["key"] == "ema"
    for name, value in checkpoints.read(tmp_path / "made", ["p2/layer4/0/conv1/weight"]).items():
        expected = seeded("seathiefwang", 10)[mgn_pytorch_key(name)]
        assert value.tobytes() == to_tf_layout(expected).tobytes()
    torch.save(both, tmp_path / "y.pt")
    assert run(script, "--pt_model_path", tmp_path / "y.pt", "--dry_run", "--json", *SMALL) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["key"] is None
    assert told["notes"]["passed over, a counter of averaged weights"] == ["n_averaged"]
    assert told["notes"]["passed over, of a loss"] == ["criterion.centers"]


@pytest.mark.usefixtures("shallow_conversion")
def test_weights_that_do_not_cover_the_network_end_in_1(tmp_path, capsys):
    arrays = dict(seeded("seathiefwang", 10))
    del arrays["p3.1.0.bn3.weight"]
    save_torch(tmp_path / "x.pt", {**arrays, "center.weight": np.zeros((2, 3), np.float32)})
    arguments = "--pt_model_path", tmp_path / "x.pt", "--checkpoint", tmp_path / "x", *SMALL
    assert run(script, *arguments) == 1
    done = capsys.readouterr()
    assert (
        "missing: 1 (p3.1.0.bn3.weight)" in done.out and "left over: 1 (center.weight)" in done.out
    )
    line = done.err.strip().splitlines()[-1]
    assert line.startswith("error: ") and "p3.1.0.bn3.weight" in line and "center.weight" in line
    assert line.endswith("--allow_missing PATTERN and --allow_extra PATTERN")
    assert run(script, *arguments, "--json", "--allow_extra", "center.*") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["notes"]["missing"] == ["p3.1.0.bn3.weight"] and "1 missing" in told["error"]
    assert listing(tmp_path) == ["x.pt"]
    allowed = "--allow_extra", "center.*", "--allow_missing", "p3.1.0.bn3.*", "--dry_run"
    assert run(script, *arguments, *allowed) == 0
    out = capsys.readouterr().out
    assert "without classifiers: 1 (p3.1.0.bn3.weight)" in out
    assert "left over, as allowed: 1 (center.weight)" in out
    assert out.splitlines()[-1] == "dry run: nothing was written" and listing(tmp_path) == ["x.pt"]


def test_wrong_flags(torch_file, small_checkpoint, tmp_path, capsys):
    (tmp_path / "there.pt").write_text("mine")
    (tmp_path / "there.json").write_text("mine")
    (tmp_path / "x.pt").write_text("mine")
    pt, back = ("--pt_model_path", torch_file), ("--to_pytorch", "--checkpoint", small_checkpoint)
    for arguments, expected in (
        (pt, "required: --checkpoint"),
        (("--pt_model_path", tmp_path / "none", "--dry_run"), "none: no such file"),
        ((*pt, "--checkpoint", tmp_path / "there"), "there.json exists"),
        ((*pt, "--checkpoint", tmp_path / "x.pt"), "x.pt: a checkpoint whose name ends in .pt"),
        ((*pt, "--checkpoint", tmp_path / "mgn.index"), "ends in .index would be taken for such"),
        ((*pt, "--dry_run", "--key", "teacher"), "--key teacher: "),
        (
            (*back, "--pt_model_path", tmp_path / "y.pt", "--key", "x"),
            "--key: not with --to_pytorch",
        ),
        ((*pt, "--dry_run", "--verify", tmp_path / "none"), "--verify"),
        ((*pt, "--dry_run", "--reduction_order", "caffe"), "--reduction_order"),
        ((*pt, "--dry_run", "--height", "100"), "--height 100: must be a multiple of 96"),
        ((*pt, "--dry_run", "--verify"), "argument --verify: expected one argument"),
        (
            ("--pt_model_path", small_checkpoint, "--dry_run"),
            "is a checkpoint of this toolkit; --to_pytorch",
        ),
        ((*back, "--pt_model_path", tmp_path / "there.pt"), "there.pt exists"),
        (
            (*back, "--pt_model_path", tmp_path / "y.pt", "--verify", tmp_path, "--json"),
            "--verify, --json: not with",
        ),
        (
            (*back, "--pt_model_path", tmp_path / "y.pt", "--stem_padding", "0"),
            "--stem_padding: not with --to_pytorch",
        ),
        ((*back, "--pt_model_path", tmp_path / "y.pt", "--pool", "max"), "was made with pool avg"),
        (
            (
                "--to_pytorch",
                "--checkpoint",
                tmp_path / "none",
                "--pt_model_path",
                tmp_path / "y.pt",
            ),
            "--checkpoint: none: no such file",
        ),
    ):
        line = refused(capsys, script, *arguments).replace(f"{tmp_path}/", "")
        assert expected in line, line
    assert listing(tmp_path) == ["there.json", "there.pt", "x.pt"]
    assert (tmp_path / "there.pt").read_text() == (tmp_path / "there.json").read_text() == "mine"


def test_sources_and_folders_are_never_replaced(torch_file, small_checkpoint, tmp_path, capsys):
    for suffix in (".index", ".json", ".data-00000-of-00001"):
        os.link(f"{small_checkpoint}{suffix}", tmp_path / f"m{suffix}")
    (tmp_path / "q.json").mkdir()
    (tmp_path / "q.json" / "precious").write_text("mine")
    own = "--to_pytorch", "--checkpoint", tmp_path / "m", "--overwrite", "--pt_model_path"
    assert "is a file of the checkpoint itself" in refused(
        capsys, script, *own, tmp_path / "m.index"
    )
    forward = "--pt_model_path", torch_file, "--overwrite", "--checkpoint", tmp_path / "q"
    assert "q.json exists" in refused(capsys, script, *forward)
    assert (tmp_path / "q.json" / "precious").read_text() == "mine"
    assert checkpoints.find(tmp_path / "m").options.num_classes == 10


@pytest.mark.usefixtures("shallow_conversion")
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("back", [False, True])
def test_a_full_disk_is_called_that_and_leaves_nothing(
    shallow_file, shallow_checkpoint, tmp_path, capsys, monkeypatch, back, full
):
    """A limit on the size of files stands for the disk: writing ends in the middle.

    What a full disk says is asked of the system, so the limit's own words can be taken for it.
    """
    if full:
        monkeypatch.setitem(errors.MACHINE, errno.EFBIG, errors.MACHINE[errno.ENOSPC])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = ["--pt_model_path", shallow_file, "--checkpoint", tmp_path / "made", *SMALL]
    if back:
        arguments = [
            "--to_pytorch",
            "--pt_model_path",
            tmp_path / "x.pt",
            "--checkpoint",
            shallow_checkpoint,
        ]
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, limits[1]))
    try:
        status = run(script, *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    name = "x.pt" if back else "made"
    said = (
        "could not be written: the disk is full; free some space" if full else "may not be so large"
    )
    assert status == 1 and line.startswith("error: ") and f"{name}: could not be written" in line, (
        line
    )
    assert said in line and "Graph execution" not in line and "unexpected pos" not in line, line
    assert listing(tmp_path) == []


def test_wrong_files_are_one_line_and_with_json_an_object(tmp_path, capsys):
    """Small files of every wrong kind; each also tells scripts the reason."""
    zeros = {key: torch.zeros(()).expand(v.shape) for key, v in seeded("seathiefwang", 10).items()}
    listed = read_keys(REFERENCE / "keys_torchvision_resnet50.txt")
    single = {f"backbone.{key}": torch.zeros(()).expand(shape) for key, shape in listed}
    single |= {"heads.pool_layer.p": torch.ones(1), "backbone.NL_2.0.g.weight": torch.ones(1)}
    wrong = {
        "text": (b"hello, world", "it looks like a text file", {"looks_like"}),
        "bytes": (b"\x01\x02\x03", "not a readable PyTorch checkpoint: of no known format", {}),
        "web": (b"<html>", "it looks like a web page", {"looks_like"}),
        "empty": ({}, "no weights in it", {}),
        "pickled": (torch.nn.Linear(2, 2), "save it again with torch.save(model.state_dict()", {}),
        "vgg": ({"features.0.weight": torch.zeros(2)}, "it looks like a VGG", {"looks_like"}),
        "sbs": (single, "one head on a whole ResNet-50", {"other_network"}),
        "mixed": (
            {**zeros, "backbone.0.weight": torch.zeros(1)},
            "has keys of two families",
            {"families"},
        ),
        "two": ({"student": zeros, "teacher": zeros}, "such as --key student", {"networks"}),
    }
    for name, (content, said, more) in wrong.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            torch.save(content, tmp_path / name)
        arguments = "--pt_model_path", tmp_path / name, "--checkpoint", tmp_path / "made"
        assert said in refused(capsys, script, *arguments), name
        assert run(script, *arguments, "--json") == 2
        done = capsys.readouterr()
        told = json.loads(done.out)
        assert done.err.strip().splitlines()[-1] == "error: " + " ".join(told["error"].split())
        assert set(told) == {"file", "error", "written", *more} and told["written"] is None, name
    terms = {d["term"].split()[0] for d in told_of(capsys, tmp_path / "sbs")["other_network"]}
    assert terms == {"one", "GeM", "non-local"}
    truncated = (tmp_path / "sbs").read_bytes()[:5000]
    (tmp_path / "cut").write_bytes(truncated)
    assert "truncated or damaged" in told_of(capsys, tmp_path / "cut")["error"]
    assert "no such file" in told_of(capsys, tmp_path / "none")["error"]
    assert listing(tmp_path) == sorted([*wrong, "cut"])


def told_of(capsys, path):
    assert run(script, "--pt_model_path", path, "--dry_run", "--json") == 2
    return json.loads(capsys.readouterr().out)


def test_wrong_shapes_and_a_wrong_order_are_in_the_json(tmp_path, capsys):
    tensors = {
        key: torch.zeros(()).expand(v.shape) for key, v in seeded("seathiefwang", 10).items()
    }
    torch.save({**tensors, "p1.1.0.conv1.weight": torch.zeros(512, 1023, 1, 1)}, tmp_path / "x.pt")
    assert run(script, "--pt_model_path", tmp_path / "x.pt", "--dry_run", "--json", *SMALL) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["notes"]["of another shape"] == [
        "p1.1.0.conv1.weight (512, 1023, 1, 1) instead of (512, 1024, 1, 1)"
    ]
    assert "x.pt: 1 weights of another shape" in told["error"]
    assert told["totals"]["tensors"] == 571
