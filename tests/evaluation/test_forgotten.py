"""The log of what was forgotten: read again, cut off, damaged."""

import json

import pytest

from mgn.data.records import Record
from mgn.evaluation.forgotten import BEFORE, IDENTITY, IMAGE, Log, Rule, log_place
from mgn.system.errors import InputError

SECOND = 10**9


def test_rules_cover_what_they_name():
    image = Record("/a/b.jpg", 12, 1)
    for rule, expected in (
        (Rule(IDENTITY, 12), True),
        (Rule(IDENTITY, 1), False),
        (Rule(IMAGE, "/a/b.jpg"), True),
        (Rule(IMAGE, "b.jpg"), True),
        (Rule(IMAGE, "/b.jpg"), False),
        (Rule(BEFORE, 6 * SECOND), True),
        (Rule(BEFORE, 5 * SECOND), False),
    ):
        assert rule.covers(image, 5 * SECOND) == expected
    assert str(Rule(BEFORE, 5 * SECOND)) == "images from before 1970-01-01T00:00:05Z"


def test_a_log_is_read_again(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    log = Log(path)
    assert not log.covers(Record("/a/b.jpg", 12, 1), 0) and not path.exists()
    log.begin(Rule(IDENTITY, 12))
    log.done(Rule(IDENTITY, 12), 3)
    log.begin(Rule(BEFORE, 5 * SECOND))
    with path.open("ab") as stream:
        stream.write(b'{"state": "begun", "kind": "ima')  # killed
    log = Log(path)
    assert log.unfinished() == [Rule(BEFORE, 5 * SECOND)]
    assert log.when(Rule(BEFORE, 5 * SECOND)) is None
    assert log.when(Rule(IDENTITY, 12)) == json.loads(path.read_text().splitlines()[1])["at"]
    assert json.loads(path.read_text().splitlines()[1])["images"] == 3
    log.done(Rule(BEFORE, 5 * SECOND), 0)
    log = Log(path)
    assert not log.unfinished()
    for record, changed, expected in (
        (Record("/a/b.jpg", 12, 1), 9 * SECOND, True),
        (Record("/a/b.jpg", 13, 1), 9 * SECOND, False),
        (Record("/a/b.jpg", 13, 1), 4 * SECOND, True),
    ):
        assert log.covers(record, changed) == expected


def test_another_file_is_refused_and_stays(tmp_path):
    path = tmp_path / "notes.txt"
    for text in ("milk\nbread\n", "milk", '{"a": 1}', '{"state": "begun"}\n', "\n"):
        path.write_text(text)
        with pytest.raises(
            InputError, match=r"notes.txt: line 1 is not one of a store; name another"
        ):
            Log(path)
        assert path.read_text() == text


def test_where_a_log_is():
    assert str(log_place("a/g.db")) == "a/g.db/forgotten.jsonl"
    assert str(log_place("http://host:1/door")) == "runs/forgotten-host-1-door.jsonl"
    assert str(log_place("http://host")) == "runs/forgotten-host-default.jsonl"
