"""TF_CONFIG: what is taken, and that everything else is refused, never ignored."""

import json

import pytest

from mgn.system.errors import InputError
from mgn.training.cluster import VARIABLE, from_environment

TWO = ["a:1", "b:2"]


def cluster_of(monkeypatch, config):
    text = config if isinstance(config, str) else json.dumps(config)
    monkeypatch.setenv(VARIABLE, text)
    return from_environment()


def task(kind, index):
    return {"type": kind, "index": index}


def given(kind, index, **cluster):
    """A TF_CONFIG of these tasks."""
    return {"cluster": cluster, "task": task(kind, index)}


@pytest.mark.parametrize(
    ("config", "worker", "addresses"),
    [
        (given("worker", 1, worker=TWO), 1, "a:1 b:2"),
        (given("worker", "1", worker=TWO), 1, "a:1 b:2"),
        (given("chief", 0, worker=TWO, chief=["c:3"]), 0, "c:3 a:1 b:2"),
        (given("worker", 1, chief=["c:3"], worker=TWO), 2, "c:3 a:1 b:2"),
        (given("master", 0, master=["c:3"], worker=TWO), 0, "c:3 a:1 b:2"),
        (given("chief", 0, master=["c:3"], worker=TWO), 0, "c:3 a:1 b:2"),
        (given("worker", 0, master=["c:3"], worker=["a:1"]), 1, "c:3 a:1"),
    ],
)
def test_the_workers_in_their_order(monkeypatch, config, worker, addresses):
    found = cluster_of(monkeypatch, config)
    assert (found.worker, " ".join(found.addresses)) == (worker, addresses)
    assert "master" not in found.tasks and found.kind in ("chief", "worker")


@pytest.mark.parametrize(
    "config",
    [
        "",
        "  ",
        "{}",
        {"cluster": {}},
        given("worker", 0, worker=["a:1"]),
        given("chief", 0, chief=["a:1"]),
        given("master", 0, master=["a:1"]),
        {"cluster": {"worker": ["a:1"]}},
    ],
)
def test_alone(monkeypatch, config):
    assert cluster_of(monkeypatch, config) is None


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ({"cluster": [1]}, '"cluster" is not an object'),
        (given("worker", 0, worker=TWO, ps=["c:3"]), '"ps"'),
        (given("worker", 0, worker=TWO, evaluator=["c:3"]), "evaluator"),
        (given("workers", 0, workers=TWO), '"workers"'),
        (given("evaluator", 0, worker=TWO), "evaluator 0, is not one of"),
        ({"cluster": {"worker": TWO}}, '"task" does not say'),
        ({"cluster": {"worker": TWO}, "task": [1]}, '"task" does not say'),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker"}}, "worker None, is not one of"),
        ({"cluster": {"worker": TWO}, "task": {"index": 0}}, "None 0, is not one of"),
        (given("worker", 2, worker=TWO), "worker 2, is not one of"),
        (given("worker", "\u0661", worker=TWO), "is not one of"),  # a 1 of another script
        (given("worker", -1, worker=TWO), "worker -1, is not one of"),
        (given("worker", 1.5, worker=TWO), "worker 1.5, is not one of"),
        (given("worker", True, worker=TWO), "worker True, is not one of"),
        (given(["worker"], 0, worker=TWO), "is not one of"),
        ({"task": task("worker", 0)}, "worker 0, is not one of"),
        ({"cluster": {"worker": {"0": "a:1"}}, "task": task("worker", 0)}, 'list of "HOST:PORT"'),
        (given("worker", 0, worker="a:1"), 'list of "HOST:PORT"'),
        (given("worker", 0, worker=[1, 2]), 'list of "HOST:PORT"'),
        (given("worker", 0, worker=["a:1", "a:1"]), "twice"),
        (given("chief", 0, chief=TWO), "more than one chief"),
        (given("chief", 0, chief=["a:1"], master=["b:2"]), "older word"),
    ],
)
def test_what_is_not_understood_is_refused(monkeypatch, config, problem):
    with pytest.raises(InputError, match=r"^TF_CONFIG: ") as refused:
        cluster_of(monkeypatch, config)
    assert problem in str(refused.value) and "\n" not in str(refused.value)
