"""Flags of a data set, and how `config.json` keeps them."""

import json
from pathlib import Path

import pytest

import train
from mgn.config import RECIPES
from mgn.config.dataset import DataSet
from mgn.config.settings import CONFIG, RunSettings, new_run, read_config, resumed_run, write_config
from mgn.system.errors import InputError


@pytest.fixture
def folders(tmp_path):
    for name in ("a", "b", "more"):
        (tmp_path / name).mkdir()
    return tmp_path


def datasets(folders, *arguments, number=2):
    sets = [("--dataset", str(folders / name)) for name in ("a", "b")[:number]]
    flags = [*sum(sets, ()), "--train_dir", str(folders / "new"), *arguments]
    return new_run(train.parse(flags))[0].datasets


def test_once_for_all_or_once_for_each(folders):
    assert datasets(folders) == (DataSet(folders / "a"), DataSet(folders / "b"))
    for found in datasets(folders, "--format", "grid", "--split", "3"):
        assert (found.format, found.split) == ("grid", 3)
    found = datasets(folders, "--format", "msmt17", "--format", "auto", "--cameras", "x, y")
    assert [dataset.format for dataset in found] == ["msmt17", None]
    assert found[0].cameras == ("x", "y")
    with pytest.raises(InputError, match="--format: given 3 times for 2 data sets"):
        datasets(folders, *["--format", "grid"] * 3)
    found = datasets(folders, "--split", "auto", "--split", "1", "--distractors", "auto")
    assert [(d.split, d.distractors) for d in found] == [(None, None), (1, None)]
    with pytest.raises(InputError, match="--split: only with --dataset"):
        datasets(folders, "--split", "1", number=0)


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--format", "market", "invalid choice: 'market'"),
        ("--cameras", "front,,back", "not a list of different names"),
        ("--cameras", "front,Front", "not a list of different names"),
        ("--split", "1_0", "'1_0' is not a whole number from 0"),
        ("--split", "-1", "'-1' is not a whole number from 0"),
        ("--distractors", "nowhere", "nowhere: no such file or folder"),
    ],
)
def test_bad_values(folders, capsys, flag, value, expected):
    with pytest.raises(SystemExit):
        datasets(folders, flag, value)
    assert expected in capsys.readouterr().err


def test_config_json_keeps_how_data_is_read(folders):
    began = DataSet(folders / "a", "folders", folders / "more", ("x", "y"), None)
    other = DataSet(folders / "b", "viper", split=2)
    settings = RunSettings(RECIPES["demo"], (began, other))
    write_config(folders, settings)
    assert read_config(folders / CONFIG).datasets == (began, other)
    # A resumed run reads a data set that has moved as it did before, unless told otherwise.
    moved = ["--dataset", str(folders / "b"), "--dataset", str(folders / "more")]
    flags = ["--resume", "--train_dir", str(folders)]
    found = resumed_run(train.parse([*flags, *moved]))[0].datasets
    assert [(Path(d).name, d.format, d.split) for d in found] == [
        ("b", "folders", None),
        ("more", "viper", 2),
    ]
    found = resumed_run(train.parse([*flags, *moved, "--format", "csv"]))[0].datasets
    assert [dataset.format for dataset in found] == ["csv", "csv"]
    assert resumed_run(train.parse(flags))[0].datasets == (began, other)
    # One flag changes one thing; another layout may not take the split.
    found = resumed_run(train.parse([*flags, *moved, "--format", "auto", "--format", "viper"]))
    assert found[0].datasets[1] == DataSet(folders / "more", "viper", split=2)
    found = resumed_run(train.parse([*flags, *moved, "--format", "viper", "--format", "grid"]))
    assert found[0].datasets[1] == DataSet(folders / "more", "grid")
    # A repeated run keeps how its own data set is read, and recognises another.
    new = ["--config", str(folders / CONFIG), "--dataset", str(folders / "a" / ".." / "a")]
    assert new_run(train.parse(new))[0].datasets[0].cameras == ("x", "y")
    new = ["--config", str(folders / CONFIG), "--dataset", str(folders / "more")]
    assert new_run(train.parse(new))[0].datasets == (DataSet(folders / "more"),)


@pytest.mark.parametrize(
    "wrong",
    [
        *([{"format": "market"}], [{}, {}], 3, [3], [{"format": ["csv"]}], [{"distractors": 3}]),
        *(
            [{"cameras": 3}],
            [{"cameras": [1, 2]}],
            [{"cameras": "front"}],
            [{"cameras": ["a", "A"]}],
        ),
        *([{"split": "x"}], [{"split": -3}], [{"split": 1.5}], [{"split": True}]),
    ],
)
def test_a_file_that_was_changed_by_hand(folders, wrong):
    write_config(folders, RunSettings(RECIPES["demo"], (DataSet(folders / "a"),)))
    values = json.loads((folders / CONFIG).read_text())
    (folders / CONFIG).write_text(json.dumps({**values, "dataset_options": wrong}))
    with pytest.raises(InputError, match=r"config\.json: dataset_options"):
        read_config(folders / CONFIG)
    del values["dataset_options"]  # a run of an older version
    (folders / CONFIG).write_text(json.dumps(values))
    assert read_config(folders / CONFIG).datasets == (DataSet(folders / "a"),)
