"""Evaluation, conversion and export end to end on the small set, and run wrong on purpose."""

import errno
import json
import os
import re
import shutil
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
from conftest import mean_colour, refused, relative, run, save_torch, seeded

import convert_pytorch_weights
import evaluate
import export_pb
import export_pb_with_pre_post
import export_tf_serving_model
import export_tf_serving_with_pre_post
import train
from mgn.config import RECIPES
from mgn.config.dataset import DataSet
from mgn.config.settings import RunSettings, write_config
from mgn.data.decoding import read_image
from mgn.data.records import read_split
from mgn.evaluation import embedding, scoring, sheets
from mgn.inference import load_embedder

QUICK = ["--recipe", "scratch", "--batch_ids", "4", "--batch_images", "2"]
QUICK += ["--optimizer", "adam", "--average_decay", "0"]  # of which a checkpoint holds less


@pytest.mark.usefixtures("shallow_here", "nothing_drawn")
def test_evaluate_and_all_four_exports_agree(shallow_checkpoint, dataset, tmp_path, capsys):
    pb, pre_post = tmp_path / "mgn.pb", tmp_path / "pre_post.pb"
    source, served = ("--checkpoint", shallow_checkpoint, "--pb_path"), tmp_path / "served"
    assert run(export_pb, *source, pb) == 0
    assert run(export_pb_with_pre_post, *source, pre_post, "--input", "uint8") == 0
    assert run(export_tf_serving_model, "--pb_path", pb, "--export_path", tmp_path / "plain") == 0
    assert run(export_tf_serving_with_pre_post, "--pb_path", pre_post, "--export_path", served) == 0
    results = []
    # each file was compared with its source when it was made; here every second one is scored
    for i, model in enumerate((shallow_checkpoint, pb, served)):
        output = tmp_path / f"evaluation{i}"
        asked = ["--dataset", dataset, "--model", model, "--output_dir", output, "--rerank"]
        assert run(evaluate, *asked) == 0
        results.append(json.loads((output / "metrics.json").read_text()))
        assert re.search(rf"^mAP +{results[-1]['mAP']:.4f} ", capsys.readouterr().out, re.MULTILINE)
    for result in results[1:]:
        for name in ("mAP", "mAP_official", "mINP", "rank@1", "rank@10"):
            assert result[name] == pytest.approx(results[0][name], abs=1e-3)
            assert result["reranked"][name] == pytest.approx(results[0]["reranked"][name], abs=1e-3)


@pytest.mark.usefixtures("shallow_here")
def test_lists_of_images_and_kept_features(
    shallow_checkpoint, converted, dataset, lists, tmp_path, capsys
):
    """Scores of a CSV data set, of its features in a file, and of features for what they are not
    of."""
    features = tmp_path / "features.npz"
    model = ["--model", shallow_checkpoint, "--features", features]
    results = []
    for i, arguments in enumerate(
        (
            ["--dataset", lists, *model],
            [
                "--query",
                dataset / "query",
                "--gallery",
                lists / "gallery.csv",
                "--features",
                features,
            ],
            ["--dataset", dataset, *model],
        )
    ):
        output = tmp_path / str(i)
        assert run(evaluate, *arguments, "--output_dir", output) == 0
        results.append(json.loads((output / "metrics.json").read_text()))
        assert (output / "heads.png").exists() == ("--model" in arguments)
        assert (output / "report.html").stat().st_size > 10_000
    assert len({result["mAP"] for result in results}) == 1 and results[0]["queries"] == 8
    with closing(load_embedder(shallow_checkpoint)) as embed:
        both = embed([read_image(dataset / "query" / "0009_c1s1_000000_00.jpg")], flip=True)[0]
    assert (
        relative(np.load(features)["query_features"][0], both) < 1e-5
    )  # the flip test is on by default
    for arguments, expected in (
        (
            ["--dataset", dataset, "--model", converted / "seathiefwang", "--features", features],
            "made by another model",
        ),
        (
            ["--query", dataset / "query", "--gallery", dataset / "query", "--features", features],
            "other gallery",
        ),
        (["--dataset", dataset, "--features", lists / "query.csv"], "not a complete feature file"),
        (["--dataset", dataset, "--features", tmp_path / "none"], "required: --model"),
        (["--dataset", dataset, "--features", features, "--no_flip"], "made with the mirror image"),
        (["--query", dataset / "query", *model], "--query and --gallery go together"),
        (["--dataset", dataset, *model, "--output_dir", tmp_path / "0"], "has cmc.png already"),
    ):
        assert expected in refused(capsys, evaluate, *arguments)


@pytest.fixture(scope="module")
def features(dataset, tmp_path_factory):
    """Embeddings of the small set in a file, for evaluations that need no network."""
    path = tmp_path_factory.mktemp("features") / "features.npz"
    splits = read_split(dataset, "query"), read_split(dataset, "gallery")
    embedded = embedding.embed_query_and_gallery(mean_colour, *splits)
    embedding.save_features(path, embedded, splits, "mean colour")
    return path


def test_scores_are_in_a_folder_of_their_own_before_anything_is_drawn(
    dataset, features, tmp_path, capsys, monkeypatch
):
    """Another evaluation that starts meanwhile takes the next folder, and a drawing may fail."""
    monkeypatch.chdir(tmp_path)
    arguments = ["--dataset", dataset, "--features", features]
    score = scoring.score
    started = []

    def two_at_once(*a):
        if not started:
            started.append("soon")
            started.append(run(evaluate, *arguments))
        return score(*a)

    seen = []

    def no_sheet(_rows, _title, path, _read):
        seen.append(sorted(p.name for p in path.parent.parent.iterdir()))
        raise RuntimeError("no ink")

    monkeypatch.setattr(scoring, "score", two_at_once)
    monkeypatch.setattr(sheets, "draw_sheet", no_sheet)
    assert run(evaluate, *arguments) == 1
    out, err = capsys.readouterr()
    assert started[1] == 1 and seen[0][1:] == ["metrics.json"]  # and the folder drawn into
    for line, number in zip(re.findall("written: .*", out), (2, 1), strict=True):
        folder = Path(f"runs/evaluation-{number}")
        names = ["metrics.json", "cmc.png", "distances.png", "roc.png", "report.html"]
        assert line == f"written: {', '.join(str(folder / name) for name in names)}"
        assert sorted(p.name for p in folder.iterdir()) == sorted(names)
        assert "mAP" in json.loads((folder / "metrics.json").read_text())
        failed = "could not be drawn: worst-*.png (no ink), sample-*.png (no ink); the scores are"
        assert f"error: {failed} in {folder}/metrics.json\n" in err


def test_a_place_that_takes_no_results_is_told_before_the_work(
    dataset, features, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("gone.npz").symlink_to("nowhere/x.npz")
    arguments = ["--dataset", dataset, "--features", features]
    model = ["--dataset", dataset, "--model", dataset]
    monkeypatch.setattr(embedding, "load_or_embed", None)
    for wrong, words in (
        ([*arguments, "--output_dir", "file"], "file/metrics.json: a part of this path is a file"),
        ([*arguments, "--output_dir", "x" * 256], "the name is too long"),
        ([*model, "--features", "file/x.npz"], "file/x.npz: a part of this path is a file"),
        ([*model, "--features", "gone.npz"], "gone.npz exists"),
    ):
        assert words in refused(capsys, evaluate, *wrong)
    assert not Path("runs").exists()


def test_a_runs_own_data_set_is_scored(dataset, features, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = DataSet(dataset, "market1501")
    write_config(tmp_path, RunSettings(RECIPES["demo"], (own,)))
    asked = []
    monkeypatch.setattr(embedding, "list_splits", lambda *a: asked.append(a) or sys.exit(3))
    for arguments, expected in (
        (["--model", tmp_path], (own, None, None)),
        (["--model", tmp_path, "--dataset", "."], (DataSet(Path()), None, None)),
        (["--model", tmp_path, "--query", dataset, "--gallery", "."], (None, dataset, Path())),
        (["--features", features], (None, None, None)),
    ):
        assert run(evaluate, *arguments) == 3
        assert asked.pop() == expected
        told = f"data set: {dataset}, the run's own; --dataset names another\n"
        assert capsys.readouterr().err == (told if expected[0] == own else "")


@pytest.mark.usefixtures("shallow_here")
def test_scores_are_there_when_the_embeddings_cannot_be_kept(
    shallow_checkpoint, dataset, tmp_path, capsys, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "kept.npz")

    monkeypatch.setattr(embedding, "save_features", full)
    out, kept = tmp_path / "out", tmp_path / "kept.npz"
    arguments = ["--model", shallow_checkpoint, "--features", kept, "--output_dir", out]
    assert run(evaluate, "--dataset", dataset, *arguments) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: kept.npz: ") and "disk is full" in last
    assert {"metrics.json", "cmc.png", "report.html"} <= {path.name for path in out.iterdir()}


@pytest.mark.usefixtures("shallow_here")
def test_damaged_images_and_the_mirror_image_are_left_out_only_when_asked(
    shallow_checkpoint, dataset, tmp_path, capsys
):
    root, features = shutil.copytree(dataset, tmp_path / "data"), tmp_path / "features.npz"
    damaged = root / "query" / "0010_c1s1_000000_00.jpg"
    damaged.write_bytes(b"")
    arguments = ["--dataset", root, "--model", shallow_checkpoint, "--output_dir", tmp_path / "out"]
    assert "0010_c1s1_000000_00.jpg: empty file; repair or remove it" in refused(
        capsys, evaluate, *arguments
    )
    assert not (tmp_path / "out").exists()
    assert run(evaluate, *arguments, "--skip_unreadable", "--no_flip", "--features", features) == 0
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["skipped"] == [str(damaged)] and stored["queries"] == 7
    with closing(load_embedder(shallow_checkpoint)) as embed:
        first = read_image(root / "query" / "0009_c1s1_000000_00.jpg")
        alone, both = embed([first], flip=False)[0], embed([first])[0]
    assert relative(np.load(features)["query_features"][0], alone) < 1e-5 < relative(both, alone)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A small MGN of 10 classes and the whole backbone, through the script."""
    folder = tmp_path_factory.mktemp("converted")
    for keys, classes in (("seathiefwang", 10), ("torchvision_resnet50", None)):
        with size_of(keys):
            save_torch(folder / f"{keys}.pt", seeded(keys, classes))
            arguments = "--pt_model_path", folder / f"{keys}.pt", "--checkpoint", folder / keys
            assert run(convert_pytorch_weights, *arguments) == 0
    return folder


def size_of(keys):
    """The network that these weights are of: one of the two is whole."""
    return shallow.patched_with_torch() if keys == "seathiefwang" else nullcontext()


def test_training_starts_from_converted_weights(converted, dataset, tmp_path, caplog):
    caplog.set_level("INFO")
    shutil.copytree(dataset / "bounding_box_train", tmp_path / "data" / "bounding_box_train")
    start = ["--max_steps", 1, "--learning_rate", 1e-12, "--weight_decay", 0]
    for name, kept, fresh in (
        ("torchvision_resnet50", 515, []),
        ("seathiefwang", 205, []),  # 10 classes there, 8 here: the classifiers start anew
    ):
        train_dir = tmp_path / name
        arguments = [
            "--init_checkpoint",
            converted / name,
            "--train_dir",
            train_dir,
            *start,
            *fresh,
        ]
        with size_of(name):
            assert run(train, "--dataset", tmp_path / "data", *QUICK, *arguments) == 0
        given = tf.train.load_checkpoint(str(converted / name))
        made = tf.train.load_checkpoint(str(train_dir / "model.ckpt-1"))
        shapes = made.get_variable_to_shape_map()
        stored = given.get_variable_to_shape_map()
        weights = [n for n in stored if n.endswith("/weight") and n in shapes]
        same = [
            n
            for n in weights
            if shapes[n] == stored[n]
            and np.allclose(made.get_tensor(n), given.get_tensor(n), atol=1e-9)
        ]
        others = {n.split("/")[0] for n in weights if n not in same}
        assert len([n for n in stored if n.split("/")[0] not in others]) == kept
        assert others <= {f"fc_id_2048_{i}" for i in range(3)} | {
            f"fc_id_256_{i}" for i in ("1_0", "1_1", "2_0", "2_1", "2_2")
        }
    assert "the classifiers start from scratch: 10 classes there, 8 identities here" in caplog.text


def test_starting_points_that_do_not_fit(converted, dataset, tmp_path, capsys):
    arguments = ["--dataset", dataset, *QUICK, "--init_checkpoint", converted / "seathiefwang"]
    line = refused(capsys, train, *arguments, "--train_dir", tmp_path / "a", "--pool", "max")
    assert "has pool avg; add --pool avg" in line
    line = refused(
        capsys, train, "--dataset", dataset, *QUICK, "--init_checkpoint", tmp_path / "none"
    )
    assert "no such file, folder or checkpoint" in line
    assert not (tmp_path / "a").exists()  # so that the remedy works with the same command


def test_wrong_flags_to_the_others(small_checkpoint, converted, dataset, tmp_path, capsys):
    pb = tmp_path / "mgn.pb"
    pb.write_text("hello")
    (tmp_path / "metrics.json").write_text("scores of another day")
    served = ["--export_path", tmp_path / "served"]
    score = "--dataset", dataset, "--model", small_checkpoint
    torch_file = converted / "seathiefwang.pt"
    for script, arguments, expected in (
        (evaluate, ["--dataset", dataset, "--model", pb], "mgn.pb: not a frozen graph"),
        (
            evaluate,
            ["--dataset", dataset, "--model", tmp_path / "none"],
            "no such file, folder or checkpoint",
        ),
        (evaluate, [*score, "--pool", "max"], "was made with pool avg"),
        (evaluate, ["--dataset", tmp_path, "--model", small_checkpoint], "no data set in it"),
        (evaluate, ["--dataset", dataset], "required: --model"),
        (evaluate, ["--model", small_checkpoint, "--output_dir", tmp_path], "has metrics.json"),
        (export_pb, ["--checkpoint", small_checkpoint, "--pb_path", pb], "mgn.pb exists"),
        (export_pb, ["--checkpont", pb, "--pb_path", pb], "--checkpoint in place of --checkpont?"),
        (evaluate, [*score, "--", "x"], "x (see"),
        (
            export_pb,
            ["--checkpoint", small_checkpoint, "--pb_path", tmp_path / "mgn.txt"],
            "must end in .pb",
        ),
        (
            export_pb,
            ["--checkpoint", tmp_path, "--pb_path", tmp_path / "x.pb"],
            "no complete checkpoint",
        ),
        (
            export_pb_with_pre_post,
            ["--checkpoint", small_checkpoint, "--pb_path", tmp_path / "x.pb", "--input", "jpg"],
            "--input",
        ),
        *(
            (
                export_pb_with_pre_post,
                ["--checkpoint", small_checkpoint, "--pb_path", tmp_path / "x.pb", *flags],
                "--input_size",
            )
            for flags in (
                ["--input_size", "128"],
                ["--input_size", "0x64"],
                ["--input_size", "128x-1"],
                ["--input_size", "128x64", "--input", "jpeg"],
            )
        ),
        (
            export_pb,
            ["--checkpoint", converted / "torchvision_resnet50", "--pb_path", tmp_path / "x.pb"],
            "holds only a backbone",
        ),
        (export_tf_serving_model, ["--pb_path", pb, *served], "not a frozen graph"),
        (export_tf_serving_model, ["--pb_path", tmp_path / "none.pb", *served], "no such file"),
        (
            export_tf_serving_with_pre_post,
            ["--pb_path", pb, *served, "--version", "0"],
            "--version",
        ),
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
