"""`train.py` end to end on the small set: what it leaves, resuming, signals, wrong input."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
from benchmarks import options
from conftest import refused, run

import train
from mgn.config.settings import CONFIG, read_config, write_config
from mgn.system.files import locked
from mgn.weights import checkpoints, saving

pytestmark = pytest.mark.usefixtures("shallow_network")
ROOT = Path(__file__).parent.parent
QUICK = ["--recipe", "scratch", "--batch_ids", "4", "--batch_images", "2"]
QUICK += ["--optimizer", "adam", "--average_decay", "0"]  # of which a checkpoint holds less


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A run of five steps."""
    train_dir = tmp_path_factory.mktemp("run") / "trained"
    options = ["--max_steps", 5, "--save_every", 3, "--evaluate_untrained", "true"]
    assert run(train, "--dataset", dataset, "--train_dir", train_dir, *QUICK, *options) == 0
    return train_dir


def lines(train_dir):
    return [json.loads(line) for line in (train_dir / "metrics.jsonl").read_text().splitlines()]


def test_what_a_run_leaves_behind(trained, dataset):
    config = json.loads((trained / "config.json").read_text())
    assert (config["recipe"], config["batch_ids"], config["max_steps"]) == ("scratch", 4, 5)
    assert config["dataset"] == str(dataset)
    names = {
        "step",
        "epoch",
        "cross_entropy",
        "triplet",
        "total",
        "grad_norm",
        "learning_rate",
        "images_per_second",
        "loss_scale",
        "triplet_weight",
        "active",
        "hardest_positive",
        "hardest_negative",
    }
    assert all(set(line) == names for line in lines(trained))
    assert [(line["step"], line["epoch"]) for line in lines(trained)] == [
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 1),
        (5, 2),
    ]
    assert all(
        np.isfinite(line["total"]) and line["images_per_second"] > 0 for line in lines(trained)
    )
    assert checkpoints.steps_in(trained) == [0, 3, 5]
    assert tf.train.latest_checkpoint(str(trained)) == str(
        trained / "model.ckpt-5"
    )  # as TF1 users look for it
    (events,) = trained.glob("events.out.tfevents.*")
    tags = {v.tag for event in tf.train.summary_iterator(str(events)) for v in event.summary.value}
    assert tags == {*names, "augmented batch"} - {"step"}
    curves = cv2.imread(str(trained / "curves.png"))
    assert curves.shape[0] > 300 and curves.std() > 10  # something is drawn
    report = (trained / "results.txt").read_text().splitlines()
    assert report[0] == "untrained network" and report[-2].startswith("untrained: mAP ")
    assert report[-1].startswith("trained: mAP ") and "rank@10" in report[-1]


def test_resume_goes_on_where_the_run_stopped(trained, lists, tmp_path, capsys, monkeypatch):
    """Killed after step 3, resumed: the same as the uninterrupted run, up to the noise of threads.

    Its data set has become CSV lists meanwhile, of the same images.
    """
    train_dir = shutil.copytree(trained, tmp_path / "copy")
    saving.delete(train_dir / "model.ckpt-5")
    (train_dir / ".model.ckpt-5.abc").mkdir()  # what a killed save leaves
    with (train_dir / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 6, "cross')
    changed = ["--batch_ids", 8, "--seed", 4, "--eval_every", 50]
    line = refused(capsys, train, "--train_dir", train_dir, "--resume", *changed)
    assert "--batch_ids 8: the run began with 4; --seed 4: the run began with 0" in line
    assert "leave --batch_ids and --seed out" in line
    monkeypatch.chdir(tmp_path)
    assert run(train, "--train_dir", "copy", "--resume", "--max_steps", 6, "--dataset", lists) == 0
    assert [line["step"] for line in lines(train_dir)] == [1, 2, 3, 4, 5, 6]
    assert lines(train_dir)[:3] == lines(trained)[:3]
    for expected, got in zip(lines(trained)[3:], lines(train_dir)[3:5], strict=True):
        for name in ("cross_entropy", "triplet", "total", "grad_norm", "learning_rate"):
            assert got[name] == pytest.approx(expected[name], rel=1e-2), (name, got["step"])
    assert checkpoints.steps_in(train_dir) == [0, 3, 6]
    assert Path(tf.train.latest_checkpoint("copy")).resolve() == train_dir / "model.ckpt-6"
    assert json.loads((train_dir / "config.json").read_text())["max_steps"] == 6
    assert not list(train_dir.glob(".model.ckpt*"))
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("trained: mAP ") and "rank@10" in last


def test_a_loss_that_is_not_finite_ends_the_run(dataset, tmp_path, capsys):
    arguments = ["--dataset", dataset, "--train_dir", tmp_path / "run", *QUICK, "--max_steps", 20]
    arguments += [
        "--save_every",
        1,
        "--keep_checkpoints",
        1,
    ]  # what was saved last went wrong already
    assert run(train, *arguments, "--optimizer", "sgd", "--learning_rate", 1e6) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    found = re.search(
        r"^error: step (\d+): \w+ is (nan|inf), in the batch of .*.*jpg, .* and others", line
    )
    step, folder = int(found[1]), tmp_path / "run"
    assert f"--learning_rate, if needed from {folder}/model.ckpt-{step - 1}, which is older" in line
    assert f"; model.ckpt-{step} has the weights that led to it" in line
    assert len((tmp_path / "run" / "bad_batch.txt").read_text().split()) == 8
    assert checkpoints.steps_in(folder) == [step - 1, step]


def test_killed_before_its_first_checkpoint_a_run_starts_anew(trained, dataset, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, read_config(trained / CONFIG)._replace(datasets=(tmp_path / "set",)))
    folder_of_train = "bounding_box_train"  # alone: there is nothing to score
    shutil.copytree(dataset / folder_of_train, tmp_path / "set" / folder_of_train)
    (folder / ".model.ckpt-0.abc").mkdir()
    with locked(folder):
        line = refused(capsys, train, "--train_dir", folder, "--resume", "--max_steps", 1)
    assert "another process is using this folder" in line
    (folder / "metrics.jsonl").write_text("{}")  # of a run whose checkpoints somebody removed
    line = refused(capsys, train, "--train_dir", folder, "--resume", "--max_steps", 1)
    assert "no complete checkpoint to resume from" in line
    (folder / "metrics.jsonl").unlink()
    assert run(train, "--train_dir", folder, "--resume", "--max_steps", 1) == 0
    assert not list(folder.glob(".model.ckpt-*"))
    assert lines(folder)[0]["total"] == pytest.approx(lines(trained)[0]["total"], rel=1e-5)


def test_resume_with_another_data_set_is_refused(trained, dataset, tmp_path, capsys):
    root = shutil.copytree(dataset, tmp_path / "copy")
    for path in (root / "bounding_box_train").glob("0008_*"):
        path.rename(
            path.with_name(path.name.replace("0008", "0080"))
        )  # as many identities, but others
    line = refused(
        capsys, train, "--train_dir", trained, "--resume", "--dataset", root, "--max_steps", 9
    )
    assert "trained with other images than this data set's 48" in line
    for path in (root / "bounding_box_train").glob("0080_*"):
        path.unlink()
    line = refused(
        capsys, train, "--train_dir", trained, "--resume", "--dataset", root, "--max_steps", 9
    )
    assert "8 classes, this data set has 7" in line


def test_resume_with_a_replaced_image_of_the_same_size_is_refused(
    trained, dataset, tmp_path, capsys
):
    root = shutil.copytree(dataset, tmp_path / "copy")
    image = root / "bounding_box_train" / "0003_c2s1_000001_00.jpg"
    contents = bytearray(image.read_bytes())
    contents[15] += 1  # of its density: still whole
    image.write_bytes(contents)
    resumed = ["--resume", "--dataset", root, "--max_steps", 9]
    line = refused(capsys, train, "--train_dir", trained, *resumed)
    assert "trained with other images than this data set's 48" in line
    # A run of before contents were recorded knows names and sizes, and says so.
    copy = shutil.copytree(trained, tmp_path / "older")
    description = json.loads((copy / "model.ckpt-5.json").read_text())
    digest = hashlib.sha256()
    for path in sorted((root / "bounding_box_train").glob("*.jpg")):
        person, camera = int(path.name[:4]), int(path.name[6])
        digest.update(f"{path.name} {path.stat().st_size} {person} {camera}\n".encode())
    description["training_set"] = digest.hexdigest()
    (copy / "model.ckpt-5.json").write_text(json.dumps(description))
    assert run(train, "--train_dir", copy, *resumed[:-1], 6) == 0
    assert "48 images are compared by name and size alone" in capsys.readouterr().err


def test_a_run_on_two_data_sets_is_scored_on_each_and_resumes(dataset, tmp_path, capsys):
    other = options.tiny_set(tmp_path / "other", 1)
    folder = tmp_path / "run"
    both = ["--dataset", dataset, "--dataset", other]
    begun = [*both, "--train_dir", folder, *QUICK, "--eval_every", 1]
    assert run(train, *begun, "--max_steps", 1) == 0
    swapped = ["--dataset", other, "--dataset", dataset]
    resumed = ["--train_dir", folder, "--resume", "--max_steps", 2]
    assert "was trained with other images" in refused(capsys, train, *resumed, *swapped)
    assert "13 classes" in refused(capsys, train, *resumed, "--dataset", dataset)
    assert run(train, *resumed) == 0
    scored = [line for line in lines(folder) if "mAP" in line]
    assert [line["step"] for line in scored] == [1, 2]
    names = dataset.name, "other"
    for line in scored:
        for score in ("mAP", "rank@1"):
            each = [line[f"{score} {name}"] for name in names]
            assert line[score] == pytest.approx(sum(each) / 2)
    written = (folder / "results.txt").read_text().splitlines()
    for name in names:
        assert f"trained network, on {name}" in written
        (told,) = [line for line in written if line.startswith(f"trained, on {name}: ")]
        assert f"mAP {scored[-1][f'mAP {name}']:.4f} " in told


def test_a_signal_saves_and_says_how_to_go_on(dataset, tmp_path):
    """In a process of its own; `training/test_run.py` sends both signals within one."""
    command = [*shallow.COMMAND, "--dataset", dataset, "--train_dir", tmp_path / "run", *QUICK]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 143
    steps = len(lines(tmp_path / "run"))
    assert checkpoints.newest(tmp_path / "run").name == f"model.ckpt-{steps}"
    assert f"stopped at step {steps} after saving" in error.strip().splitlines()[-1]
    assert "--resume" in error and "Traceback" not in error


def test_wrong_flags_to_train(tmp_path, dataset, trained, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for arguments, expected in (
        (["--dataset", "nowhere"], "nowhere: no such file or folder"),
        (["--dataset", "empty"], "empty: no data set in it; --dataset must name a folder"),
        (["--recipe", "magic"], "argument --recipe: invalid choice: 'magic'"),
        (["--height", "100"], "--height 100: must be a multiple of 96"),
        (["--width", "20"], "--width 20: must be a multiple of 32"),
        (["--batch_id", "4"], "--batch_id 4; did you mean --batch_ids in place of --batch_id?"),
        (["--train-dir=x"], "did you mean --train_dir in place of --train-dir?"),
        (["--zzz", "x"], "unrecognized arguments: --zzz x (see"),
        (["--train_dir", trained], "the folder is not empty; add --resume"),
        (["--resume"], "only with --train_dir"),
        (["--resume", "--train_dir", "empty"], "config.json: no such file"),
        (["--precision", "float64"], "argument --precision"),
        (["--milestones", "4,x"], "argument --milestones: '4,x' is not a list"),
        (["--fresh_classifier"], "only with --init_checkpoint"),
        (["--config", trained / "config.json", "--recipe", "demo"], "--recipe: not with --config"),
        (["--config", trained / "metrics.jsonl"], "metrics.jsonl: not a readable JSON file"),
        (
            ["--resume", "--train_dir", trained, "--config", trained / "config.json"],
            "--config: not with --resume",
        ),
        (["--freeze_layers", "p1,layer4"], "--freeze_layers layer4: choose from backbone"),
        (["--dataset", dataset, "--dataset", dataset / "."], "given twice"),
        (["--early_stop", "3"], "--early_stop 3: only with --eval_every"),
        (
            ["--schedule", "cosine", "--cosine_start", "500"],
            "--cosine_start 500: must be less than --epochs",
        ),
    ):
        assert expected in refused(capsys, train, *arguments)
    assert sorted(os.listdir(tmp_path)) == ["empty"]  # noqa: PTH208


def test_a_recipe_for_pretrained_weights_says_so_without_them(tmp_path, capsys):
    assert run(train, "--recipe", "paper", "--dataset", tmp_path) == 2  # no data there
    warning = capsys.readouterr().err
    assert "recipe paper expects pretrained weights" in warning
    assert "convert_pytorch_weights.py --pt_model_path" in warning
    assert run(train, "--recipe", "scratch", "--dataset", tmp_path) == 2
    assert "expects pretrained" not in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["bounding_box_train", "query", "bounding_box_test"])
def test_an_unreadable_image_is_named_before_training(dataset, tmp_path, capsys, folder):
    root = shutil.copytree(dataset, tmp_path / "copy")
    broken = sorted((root / folder).glob("*.jpg"))[-1]
    broken.write_bytes(b"\xff\xd8 cut off")
    arguments = ["--dataset", root, "--train_dir", tmp_path / "run", *QUICK]
    assert f"{broken.name}: not an image in a format" in refused(capsys, train, *arguments)
    assert not (tmp_path / "run").exists()
