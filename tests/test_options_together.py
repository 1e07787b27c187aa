"""Options with each other, through the scripts: a sample of `benchmarks/options.py`.

To save minutes the network is small (`shallow.py`): what options do to each other does not depend
on its size. The benchmark has the whole network, and all pairs.
"""

import functools
import json
import shutil

import pytest
from benchmarks import options, options_deploy


def graphs(row):
    """How many a row builds, about: a graph takes seconds."""
    return row["replicas"] * row["datasets"] * (1 + row["freeze_steps"])


def some_rows():
    """Eight of few graphs: four of one, one with XLA, and two replicas, two data sets, freezing."""
    rows = options.covering(options.TRAIN)
    with_xla = [row for row in rows if row["xla"] == "true"]
    without = sorted((row for row in rows if row["xla"] == "false"), key=graphs)
    more = [row for row in without if graphs(row) > 1]
    several = [
        next(row for row in more if row[name] == value)
        for name, value in (("replicas", 2), ("datasets", 2), ("freeze_steps", 1))
    ]
    return [*without[:4], *several, min(with_xla, key=graphs)]


ROWS = some_rows()
pytestmark = pytest.mark.usefixtures("shallow_network")


@pytest.fixture(scope="module")
def tiny_sets(tmp_path_factory):
    return options.tiny_sets(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def models(tiny_sets, tmp_path_factory):
    """Files of one run, by kind."""
    folder = tmp_path_factory.mktemp("models")
    row = {**ROWS[0], "average_decay": 0.9}
    assert not options.train_row(row, tiny_sets, folder / "run")
    found = {"run": folder / "run", "checkpoint": folder / "run" / f"model.ckpt-{options.STEPS}"}
    for form in options.FREEZE["form"]:
        found[form] = folder / f"{form}.pb"
        assert not options.freeze_row(options.whole_row(form), found["run"], found[form])
    yield found
    shutil.rmtree(folder)


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_train(row, tiny_sets, tmp_path):
    assert not options.train_row(row, tiny_sets, tmp_path / "run")
    shutil.rmtree(tmp_path / "run")


@pytest.mark.usefixtures("nothing_drawn")
@pytest.mark.parametrize("row", options.covering(options.FREEZE)[1:8:2], ids=range(4))
def test_freeze(row, models, tmp_path):
    assert not options.freeze_row(row, models["run"], tmp_path / "made.pb")


@pytest.mark.parametrize("number", range(6))
def test_evaluate(number, tiny_sets, models, tmp_path, request):
    """The first two with their pictures."""
    if number >= 2:
        request.getfixturevalue("nothing_drawn")
    row = options.covering(options.EVALUATE)[number]
    assert not options.evaluate_row(row, tiny_sets[0], models, tmp_path)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A plain export of each variant, made once."""
    folder = tmp_path_factory.mktemp("exports")
    return functools.cache(
        lambda variant: options_deploy.untrained(variant, folder / f"{variant}.pb")
    )


@pytest.mark.parametrize("target", options_deploy.DEPLOY["target"])
def test_deploy(target, exports, tmp_path):
    """The first row of each."""
    rows = options.covering(options_deploy.DEPLOY)
    row = next(row for row in rows if row["target"] == target)
    assert not options_deploy.deploy_row(row, exports(row["variant"]), tmp_path)


@pytest.mark.usefixtures("nothing_drawn")
def test_one_data_set_in_three_layouts_has_the_same_scores(tiny_sets, models, tmp_path):
    row = dict.fromkeys(options.EVALUATE, False) | {"model": "run", "lists": "dataset"}
    scores = []
    for layout in options.LAYOUTS:
        (tmp_path / layout).mkdir()
        chosen = {**row, "layout": layout, "distractors": True, "single_gallery_shot": True}
        assert not options.evaluate_row(chosen, tiny_sets[0], models, tmp_path / layout)
        told = json.loads((tmp_path / layout / "results" / "metrics.json").read_text())
        scores.append({name: told[name] for name in ("mAP", "mINP", "rank@1", "queries")})
    assert scores[0] == scores[1] == scores[2] and scores[0]["queries"] > 0


def test_a_covering_set_has_every_pair():
    """Counted by brute force; and with two values for each of seven options it stays small."""
    letters = dict.fromkeys("abcdefg", ("x", "y"))
    rows = options.covering(letters)
    for one in letters:
        for other in letters:
            if one < other:
                assert len({(row[one], row[other]) for row in rows}) == 4
    assert len(rows) <= 9


def test_a_row_that_fails_says_why(tiny_sets, tmp_path):
    wrong = {**ROWS[0], "learning_rate": "nan"}
    assert options.train_row(wrong, tiny_sets, tmp_path / "run").startswith(
        "exit status 2: error: "
    )
