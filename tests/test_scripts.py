"""Each script end to end on the small set, and run wrong on purpose."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import refused, run, save_torch, seeded

import convert_pytorch_weights
import evaluate
import export_pb
import export_pb_with_pre_post
import export_tf_serving_model
import export_tf_serving_with_pre_post
import train
from mgn import checkpoints
from mgn.data import FOLDERS, read_split

ROOT = Path(__file__).parent.parent
QUICK = ["--recipe", "scratch", "--batch_ids", "4", "--batch_images", "2"]


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
    }
    assert all(set(line) == names for line in lines(trained))
    assert [(line["step"], line["epoch"]) for line in lines(trained)] == [
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 1),
        (5, 2),
    ]
    assert all(np.isfinite(line["total"]) and line["images_per_second"] > 0 for line in lines(trained))
    assert checkpoints.steps_in(trained) == [0, 3, 5]
    assert tf.train.latest_checkpoint(str(trained)) == str(
        trained / "model.ckpt-5"
    )  # as TF1 users look for it
    (events,) = trained.glob("events.out.tfevents.*")
    tags = {v.tag for event in tf.train.summary_iterator(str(events)) for v in event.summary.value}
    assert tags == names - {"step"}
    report = (trained / "results.txt").read_text().splitlines()
    assert report[0] == "untrained network" and report[-2].startswith("untrained: mAP ")
    assert report[-1].startswith("trained: mAP ") and "rank@10" in report[-1]


def test_evaluate_and_all_four_exports_agree(trained, dataset, tmp_path, capsys):
    pb, pre_post = tmp_path / "mgn.pb", tmp_path / "pre_post.pb"
    assert run(export_pb, "--checkpoint", trained, "--pb_path", pb) == 0
    assert (
        run(export_pb_with_pre_post, "--checkpoint", trained, "--pb_path", pre_post, "--input", "uint8") == 0
    )
    assert run(export_tf_serving_model, "--pb_path", pb, "--export_path", tmp_path / "plain") == 0
    assert (
        run(export_tf_serving_with_pre_post, "--pb_path", pre_post, "--export_path", tmp_path / "served") == 0
    )
    results = []
    # test_export.py compares each file with its source; here every second one is scored
    for i, model in enumerate((trained, pb, tmp_path / "served")):
        output = tmp_path / f"evaluation{i}"
        assert run(evaluate, "--dataset", dataset, "--model", model, "--output_dir", output, "--rerank") == 0
        results.append(json.loads((output / "metrics.json").read_text()))
        assert re.search(rf"^mAP +{results[-1]['mAP']:.4f} ", capsys.readouterr().out, re.MULTILINE)
    for result in results[1:]:
        for name in ("mAP", "mAP_official", "mINP", "rank@1", "rank@10"):
            assert result[name] == pytest.approx(results[0][name], abs=1e-3)
            assert result["reranked"][name] == pytest.approx(results[0]["reranked"][name], abs=1e-3)


@pytest.fixture(scope="module")
def lists(dataset, tmp_path_factory):
    """The small data set as CSV lists of pictures that lie elsewhere."""
    folder = tmp_path_factory.mktemp("lists")
    for split in FOLDERS:
        rows = [f"{r.path},{r.person},{r.camera}" for r in read_split(dataset, split).records]
        (folder / f"{split}.csv").write_text("\n".join(["path,person,camera", *rows]), encoding="utf-8")
    return folder


def test_lists_of_pictures_and_kept_features(trained, dataset, lists, tmp_path, capsys):
    """Scores of a CSV data set, of its features in a file, and of features for what they are not of."""
    features = tmp_path / "features.npz"
    model = ["--model", trained, "--features", features]
    results = []
    for i, arguments in enumerate(
        (
            ["--dataset", lists, *model],
            ["--query", dataset / "query", "--gallery", lists / "gallery.csv", "--features", features],
            ["--dataset", dataset, *model],
        )
    ):
        output = tmp_path / str(i)
        assert run(evaluate, *arguments, "--output_dir", output) == 0
        results.append(json.loads((output / "metrics.json").read_text()))
        assert (output / "heads.png").exists() == ("--model" in arguments)
        assert (output / "report.html").stat().st_size > 10_000
    assert len({result["mAP"] for result in results}) == 1 and results[0]["queries"] == 8
    other = checkpoints.find(trained / "model.ckpt-3").prefix
    for arguments, expected in (
        (["--dataset", dataset, "--model", other, "--features", features], "made by another model"),
        (
            ["--query", dataset / "query", "--gallery", dataset / "query", "--features", features],
            "other gallery",
        ),
        (["--dataset", dataset, "--features", lists / "query.csv"], "not a whole feature file"),
        (["--dataset", dataset, "--features", tmp_path / "none"], "required: --model"),
        (["--dataset", dataset, *model, "--no_flip"], "made by another model"),
        (["--query", dataset / "query", *model], "--query and --gallery go together"),
        (["--dataset", dataset, *model, "--output_dir", tmp_path / "0"], "metrics.json exists"),
    ):
        assert expected in refused(capsys, evaluate, *arguments)


def test_resume_goes_on_where_the_run_stopped(trained, lists, tmp_path, capsys, monkeypatch):
    """Killed after step 3, resumed: the same as the uninterrupted run, up to the noise of threads.

    Its data set has become CSV lists meanwhile, of the same pictures.
    """
    train_dir = shutil.copytree(trained, tmp_path / "copy")
    checkpoints.delete(train_dir / "model.ckpt-5")
    (train_dir / ".model.ckpt-5.abc").mkdir()  # what a killed save leaves
    with (train_dir / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 6, "cross')
    assert "began with 4" in refused(capsys, train, "--train_dir", train_dir, "--resume", "--batch_ids", 8)
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
    assert run(train, *arguments, "--optimizer", "sgd", "--learning_rate", 1e6) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"^error: step \d+: \w+ is (nan|inf); start again with a lower --learning_rate", line)
    assert checkpoints.steps_in(tmp_path / "run") == [0]


def test_resume_with_another_data_set_is_refused(trained, dataset, tmp_path, capsys):
    root = shutil.copytree(dataset, tmp_path / "copy")
    for path in (root / "bounding_box_train").glob("0008_*"):
        path.rename(path.with_name(path.name.replace("0008", "0080")))  # as many people, but others
    line = refused(capsys, train, "--train_dir", trained, "--resume", "--dataset", root, "--max_steps", 9)
    assert "trained with other pictures than this data set's 48" in line
    for path in (root / "bounding_box_train").glob("0080_*"):
        path.unlink()
    line = refused(capsys, train, "--train_dir", trained, "--resume", "--dataset", root, "--max_steps", 9)
    assert "8 classes, this data set has 7" in line


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(dataset, tmp_path, number, status):
    command = [sys.executable, "train.py", "--dataset", dataset, "--train_dir", tmp_path / "run", *QUICK]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == status
    steps = len(lines(tmp_path / "run"))
    assert checkpoints.newest(tmp_path / "run").name == f"model.ckpt-{steps}"
    assert f"stopped at step {steps} after saving" in error.strip().splitlines()[-1]
    assert "--resume" in error and "Traceback" not in error


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """MGN of 10 classes and a backbone, through the script."""
    folder = tmp_path_factory.mktemp("converted")
    for keys, classes in (("seathiefwang", 10), ("torchvision_resnet50", None)):
        save_torch(folder / f"{keys}.pt", seeded(keys, classes))
        arguments = "--pt_model_path", folder / f"{keys}.pt", "--checkpoint", folder / keys
        assert run(convert_pytorch_weights, *arguments) == 0
    return folder


def test_training_starts_from_converted_weights(converted, dataset, tmp_path):
    start = ["--max_steps", 1, "--learning_rate", 1e-12, "--weight_decay", 0]
    for name, kept, fresh in (
        ("torchvision_resnet50", 515, []),
        ("seathiefwang", 555, ["--fresh_classifier"]),
    ):
        train_dir = tmp_path / name
        arguments = ["--init_checkpoint", converted / name, "--train_dir", train_dir, *start, *fresh]
        assert run(train, "--dataset", dataset, *QUICK, *arguments) == 0
        given = tf.train.load_checkpoint(str(converted / name))
        made = tf.train.load_checkpoint(str(train_dir / "model.ckpt-1"))
        shapes = made.get_variable_to_shape_map()
        stored = given.get_variable_to_shape_map()
        weights = [n for n in stored if n.endswith("/weight") and n in shapes]
        same = [
            n
            for n in weights
            if shapes[n] == stored[n] and np.allclose(made.get_tensor(n), given.get_tensor(n), atol=1e-9)
        ]
        others = {n.split("/")[0] for n in weights if n not in same}
        assert len([n for n in stored if n.split("/")[0] not in others]) == kept
        assert others <= {f"fc_id_2048_{i}" for i in range(3)} | {
            f"fc_id_256_{i}" for i in ("1_0", "1_1", "2_0", "2_1", "2_2")
        }


def test_starting_points_that_do_not_fit(converted, dataset, tmp_path, capsys):
    arguments = ["--dataset", dataset, *QUICK, "--init_checkpoint", converted / "seathiefwang"]
    line = refused(capsys, train, *arguments, "--train_dir", tmp_path / "a")
    assert "has 10 classes, this data set 8: add --fresh_classifier" in line
    line = refused(capsys, train, *arguments, "--train_dir", tmp_path / "b", "--pool", "max")
    assert "has pool avg: add --pool avg" in line
    line = refused(capsys, train, "--dataset", dataset, *QUICK, "--init_checkpoint", tmp_path / "none")
    assert "no such file, folder or checkpoint" in line
    assert not (tmp_path / "a").exists()  # so that the remedy works with the same command


def test_wrong_flags_to_train(tmp_path, trained, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for arguments, expected in (
        (["--dataset", "nowhere"], "nowhere: no such file or folder"),
        (["--dataset", "empty"], "bounding_box_train: no such folder"),
        (["--recipe", "magic"], "argument --recipe: invalid choice: 'magic'"),
        (["--height", "100"], "--height 100: must be a multiple of 96"),
        (["--width", "20"], "--width 20: must be a multiple of 32"),
        (["--batch_id", "4"], "unrecognized arguments: --batch_id"),
        (["--train_dir", trained], "is not empty: add --resume"),
        (["--resume"], "name the run with --train_dir"),
        (["--resume", "--train_dir", "empty"], "config.json is not there"),
        (["--precision", "float64"], "argument --precision"),
        (["--milestones", "4,x"], "argument --milestones: '4,x' is not a list"),
        (["--fresh_classifier"], "goes with --init_checkpoint"),
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


def test_an_unreadable_training_picture_is_named(dataset, tmp_path, capsys):
    root = shutil.copytree(dataset, tmp_path / "copy")
    (root / "bounding_box_train" / "0003_c1s1_000001_00.jpg").write_bytes(b"\xff\xd8 cut off")
    arguments = ["--dataset", root, "--train_dir", tmp_path / "run", *QUICK, "--batch_images", 6]
    assert "0003_c1s1_000001_00.jpg: not a whole JPEG" in refused(capsys, train, *arguments)


def test_wrong_flags_to_the_others(trained, dataset, tmp_path, capsys, converted):
    pb = tmp_path / "mgn.pb"
    pb.write_text("hello")
    (tmp_path / "metrics.json").write_text("scores of another day")
    served = ["--export_path", tmp_path / "served"]
    torch_file = converted / "seathiefwang.pt"
    for script, arguments, expected in (
        (evaluate, ["--dataset", dataset, "--model", pb], "mgn.pb: not a frozen graph"),
        (
            evaluate,
            ["--dataset", dataset, "--model", tmp_path / "none"],
            "no such file, folder or checkpoint",
        ),
        (evaluate, ["--dataset", dataset, "--model", trained, "--pool", "max"], "was made with pool avg"),
        (evaluate, ["--dataset", tmp_path, "--model", trained], "query: no such folder"),
        (evaluate, ["--dataset", dataset], "required: --model"),
        (evaluate, ["--model", trained, "--output_dir", tmp_path], "metrics.json exists"),
        (export_pb, ["--checkpoint", trained, "--pb_path", pb], "mgn.pb exists"),
        (export_pb, ["--checkpoint", trained, "--pb_path", tmp_path / "mgn.txt"], "must end in .pb"),
        (export_pb, ["--checkpoint", tmp_path, "--pb_path", tmp_path / "x.pb"], "no complete checkpoint"),
        (
            export_pb_with_pre_post,
            ["--checkpoint", trained, "--pb_path", tmp_path / "x.pb", "--input", "jpg"],
            "--input",
        ),
        (
            export_pb,
            ["--checkpoint", converted / "torchvision_resnet50", "--pb_path", tmp_path / "x.pb"],
            "backbone only",
        ),
        (export_tf_serving_model, ["--pb_path", pb, *served], "not a frozen graph"),
        (export_tf_serving_model, ["--pb_path", tmp_path / "none.pb", *served], "no such file"),
        (export_tf_serving_with_pre_post, ["--pb_path", pb, *served, "--version", "0"], "--version"),
        (
            convert_pytorch_weights,
            ["--pt_model_path", torch_file, "--checkpoint", converted / "seathiefwang"],
            "exists",
        ),
        (
            convert_pytorch_weights,
            ["--pt_model_path", pb, "--checkpoint", tmp_path / "x"],
            "not a readable PyTorch",
        ),
    ):
        assert expected in refused(capsys, script, *arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "mgn.pb"]


def test_weights_that_do_not_cover_the_network_end_in_1(tmp_path, capsys):
    arrays = dict(seeded("seathiefwang", 10))
    del arrays["p3.1.2.bn3.weight"]
    save_torch(tmp_path / "x.pt", arrays)
    assert (
        run(convert_pytorch_weights, "--pt_model_path", tmp_path / "x.pt", "--checkpoint", tmp_path / "x")
        == 1
    )
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and "p3.1.2.bn3.weight" in line
