"""`config.json`: enough to go on, and to repeat a run."""

import json

import pytest

import evaluate
import train
from mgn.config import RECIPES
from mgn.config.dataset import DataSet
from mgn.config.settings import (
    BEST,
    CONFIG,
    DEMO_SET,
    RunSettings,
    dataset_to_score,
    new_run,
    read_config,
    write_config,
)
from mgn.system.errors import InputError


@pytest.fixture
def stored(tmp_path):
    """What a run began with, everything given, and its file."""
    began = RunSettings(
        RECIPES["strong"], (DataSet(tmp_path / "set"),), str(tmp_path / "start"), True, 2
    )
    write_config(tmp_path, began)
    return began, tmp_path / CONFIG


def test_what_is_written_is_read(stored):
    began, path = stored
    assert read_config(path) == began


def test_several_data_sets_are_written_as_a_list(tmp_path):
    began = RunSettings(RECIPES["strong"], (DataSet(tmp_path / "a"), DataSet(tmp_path / "b")))
    write_config(tmp_path, began)
    stored = json.loads((tmp_path / CONFIG).read_text())
    assert stored["dataset"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert read_config(tmp_path / CONFIG) == began
    for wrong in ([], [1], None):
        (tmp_path / CONFIG).write_text(json.dumps({**stored, "dataset": wrong}))
        with pytest.raises(InputError, match='the key "dataset" is missing'):
            read_config(tmp_path / CONFIG)


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, RunSettings(RECIPES["demo"], ("runs/demo_set",), "pretrained/resnet50"))
    read = read_config(tmp_path / CONFIG)
    assert read.datasets == (DataSet(tmp_path / "runs" / "demo_set"),)
    assert read.init_checkpoint == str(tmp_path / "pretrained" / "resnet50")


def test_a_run_is_repeated_with_its_data_set_and_start(stored, tmp_path):
    began, path = stored
    again, _ = new_run(train.parse(["--config", str(path), "--train_dir", str(tmp_path / "again")]))
    assert again == began


def test_flags_that_change_nothing_are_told(tmp_path, capsys):
    new = ["--dataset", str(tmp_path), "--train_dir", str(tmp_path / "new")]
    new_run(train.parse([*new, "--gamma", "0.2", "--nesterov", "true", "--margin", "1"]))
    assert capsys.readouterr().err == "note: --nesterov has no effect without --optimizer sgd\n"
    new_run(train.parse([*new, "--gamma", "0.2", "--schedule", "cosine"]))
    assert capsys.readouterr().err == "note: --gamma has no effect without --schedule step\n"


def test_flags_go_before_the_file(stored, tmp_path):
    began, path = stored
    (tmp_path / "other").mkdir()
    arguments = ["--config", path, "--dataset", tmp_path / "other", "--seed", "7"]
    again, folder = new_run(train.parse([str(part) for part in arguments]))
    assert (again.datasets, again.config.seed) == ((DataSet(tmp_path / "other"),), 7)
    assert again.init_checkpoint == began.init_checkpoint
    assert folder.name.startswith("strong-")  # the recipe that is repeated, not the default one


def test_a_file_from_before_a_field_was_there_still_resumes(stored):
    began, path = stored
    values = json.loads(path.read_text())
    del values["fresh_classifier"], values["average_decay"], values["replicas"]
    path.write_text(json.dumps(values))
    read = read_config(path)
    assert not read.fresh_classifier and read.replicas is None and read.config.average_decay == 0
    assert read.config.schedule == began.config.schedule


def test_a_field_that_nobody_knows_is_refused_with_the_files_name(stored):
    _, path = stored
    path.write_text(json.dumps({**json.loads(path.read_text()), "margins": 1}))
    with pytest.raises(InputError, match=r"config\.json: unknown configuration field: margins"):
        read_config(path)


def own_data_set(model):
    return dataset_to_score(model, None, vars(evaluate.parse(["--model", "."])))


def test_a_run_is_scored_on_its_own_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run, own = tmp_path / "run", tmp_path / "set"
    (run / BEST).mkdir(parents=True)
    own.mkdir()
    chosen = DataSet(own, "folders", cameras=("front", "back"))
    write_config(run, RunSettings(RECIPES["demo"], (chosen,)))
    for model in (run, run / "model.ckpt-5", run / BEST, run / BEST / "model.ckpt-5"):
        assert own_data_set(str(model)) == chosen
        assert capsys.readouterr().err.startswith(f"data set: {own}, ")
    for model in (None, str(run / "mgn.pb"), str(own / "mgn"), str(own)):  # of no run
        assert own_data_set(model) is None
    own.rmdir()
    with pytest.raises(InputError, match=f"{own} no longer exists; name the data set"):
        own_data_set("run")
    write_config(run, RunSettings(RECIPES["demo"], (DEMO_SET,)))
    assert own_data_set("run") is None  # it is drawn again
    write_config(run, RunSettings(RECIPES["demo"], (own, tmp_path / "b")))
    with pytest.raises(InputError, match=f"choose one: --dataset {own} or --dataset {tmp_path}/b"):
        own_data_set("run")
    (run / CONFIG).write_text('{"architectures": ["BertModel"]}')  # another program's
    assert own_data_set("run") is None
    assert capsys.readouterr().err == ""


def test_the_runs_data_set_is_scored_as_it_was_trained_on(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    more = tmp_path / "more"
    more.mkdir()
    run = str(tmp_path)
    write_config(
        tmp_path, RunSettings(RECIPES["demo"], (DataSet(tmp_path / "set", "viper", more, split=3),))
    )

    def scored(name, *flags):
        flags = evaluate.parse(["--model", run, "--dataset", str(tmp_path / name), *flags])
        return dataset_to_score(run, flags.dataset, vars(flags))

    assert scored("link") == DataSet(tmp_path / "link", "viper", more, split=3)
    assert (
        capsys.readouterr().err
        == f"data set: {tmp_path}/link, the run's own, read in the same way\n"
    )
    assert scored("set", "--split", "1").split == 1
    told = "set, split 1; the run used split 3: identities of its training may be scored\n"
    assert capsys.readouterr().err.endswith(told)
    assert scored("set", "--format", "folders") == DataSet(tmp_path / "set", "folders", more)
    assert "split 0; the run used split 3" in capsys.readouterr().err
    assert scored("set", "--format", "auto") == DataSet(tmp_path / "set", "viper", more, split=3)
    assert scored("more") == DataSet(more)  # another one
    (tmp_path / CONFIG).write_text('{"dataset": "set", "dataset_options": [{"split": "x"}]}')
    with pytest.raises(InputError, match=r"config.json: dataset_options: split 'x'"):
        scored("set")


def test_a_folder_that_takes_no_run_is_told_at_once(tmp_path):
    (tmp_path / "file").touch()
    for name, words in (
        ("file/run", "is a file, not a folder"),
        ("x" * 256, "name is too long"),
        ("a\udcff", "is not valid UTF-8"),
    ):
        with pytest.raises(InputError, match=words):
            new_run(train.parse(["--train_dir", str(tmp_path / name)]))
