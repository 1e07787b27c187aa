"""The model card, against the files that it is made from."""

import json
import re

import pytest
from conftest import refused, run

import evaluate

pytestmark = pytest.mark.usefixtures("shallow_network")


def card_of(folder):
    return (folder / "model_card.md").read_text(encoding="utf-8")


def rows_of(text, first):
    """Rows of the table whose head begins with a word: {first cell: others}."""
    lines = text.split(f"| {first} |")[1].splitlines()[2:]
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0]] = cells[1:]
    return rows


@pytest.fixture(scope="module")
def scored(small_checkpoint, dataset, tmp_path_factory):
    """An evaluation with a card, re-ranking and a threshold."""
    folder = tmp_path_factory.mktemp("card") / "scores"
    given = "--model", small_checkpoint, "--dataset", dataset, "--output_dir", folder
    promise = "--max_false_matches", 0.5, "--confidence", 0.6
    assert run(evaluate, *given, "--card", "--rerank", *promise) == 0
    return folder


def test_scores_are_those_of_the_metrics(scored):
    metrics = json.loads((scored / "metrics.json").read_text())
    rows = rows_of(card_of(scored), "score")
    for name, (plain, reranked) in rows.items():
        assert float(plain) == pytest.approx(metrics[name], abs=5e-5)
        assert float(reranked) == pytest.approx(metrics["reranked"][name], abs=5e-5)
    assert list(rows)[:4] == ["mAP", "mAP_official", "mINP", "rank@1"]


def test_thresholds_are_those_of_the_file(scored):
    claimed = json.loads((scored / "threshold.json").read_text())
    told = card_of(scored)
    assert "With confidence 0.6, at most 0.5 of strangers" in told
    distance = claimed["pair"]["distance"]
    assert ("two images none" if distance is None else f"two images {distance:.4f}") in told


def test_the_block_for_the_hub_is_whole(scored):
    block = re.match(r"---\n(.*?)\n---\n", card_of(scored), re.DOTALL)[1]
    lines = block.splitlines()
    assert lines[0] == "library_name: tensorflow" and "- person-re-identification" in lines
    metrics = json.loads((scored / "metrics.json").read_text())
    values = re.findall(r'type: "(\S+)"\n\s+value: (\S+)', block)
    assert {name for name, _ in values} >= {"mAP", "rank@1"}
    for name, value in values:
        assert float(value) == pytest.approx(metrics[name], abs=1e-6)


@pytest.mark.usefixtures("nothing_drawn")
def test_what_is_not_known_is_said(scored, small_graphs, dataset, tmp_path, capsys):
    assert "Not known here: no `config.json`" in card_of(scored)  # of a checkpoint without a run
    given = "--model", small_graphs("plain"), "--dataset", dataset, "--card", "--no_flip"
    assert run(evaluate, *given, "--output_dir", tmp_path / "a") == 0
    told = card_of(tmp_path / "a")
    assert "2048 numbers an image" in told and "without the mirror image" in told
    assert "No threshold with a guarantee" in told
    assert "model_card.md; add a licence" in capsys.readouterr().out
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model_card.md").write_text("mine")
    assert "has model_card.md already" in refused(
        capsys, evaluate, *given, "--output_dir", tmp_path / "b"
    )
    assert card_of(tmp_path / "b") == "mine"


@pytest.mark.usefixtures("nothing_drawn")
def test_a_runs_own_options_are_there(small_checkpoint, dataset, tmp_path):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    for file in small_checkpoint.parent.glob(f"{small_checkpoint.name}*"):
        (run_folder / file.name).write_bytes(file.read_bytes())
    values = {"recipe": "strong", "dataset": ["a/market", "b/duke"], "batch_ids": 16, "seed": 3}
    (run_folder / "config.json").write_text(json.dumps(values))
    given = "--model", run_folder / small_checkpoint.name, "--dataset", dataset, "--card"
    assert run(evaluate, *given, "--output_dir", tmp_path / "scores") == 0
    rows = rows_of(card_of(tmp_path / "scores"), "option")
    assert rows["data set"] == ["market, duke"] and rows["recipe"] == ["strong"]
    assert rows["batch_ids"] == ["16"] and rows["started from"] == ["nothing"]
