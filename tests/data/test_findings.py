"""A report as text, by hand, and as JSON."""

import json

from mgn.data.findings import OK, PROBLEM, WARNING, Finding, Report, look_for
from mgn.data.suspects import Suspect

REPORT = Report(
    dataset="data",
    figures={"train": {"images": 12345, "identities": 2}},
    expected={"train": {"images": 12936}},
    looks_like="Market-1501",
    sizes={"smallest": (1, 2), "largest": (30, 40)},
    findings=(
        look_for(PROBLEM, "unreadable images", [f"{i}.jpg" for i in range(1, 1235)], "mend them"),
        look_for(WARNING, "files with other names", [], "rename them"),
        Finding(WARNING, "no training split"),
        Finding(OK, "query images in the gallery", 1, "ignored", ("a = b",)),
    ),
    suspects={"camera 1": [Suspect("a.jpg", "person 1")]},
)
TEXT = """\
data

                   train Market-1501       query Market-1501     gallery Market-1501
images            12,345      12,936           -           -           -           -
identities             2           -           -           -           -           -
cameras                -           -           -           -           -           -
junk                   -           -           -           -           -           -
distractors            -           -           -           -           -           -
other files            -           -           -           -           -           -

height x width: smallest 1x2, largest 30x40

problem: 1,234 unreadable images; mend them
    1.jpg
    2.jpg
    3.jpg
    4.jpg
    5.jpg
ok: no files with other names
warning: no training split
ok: 1 query images in the gallery; ignored
    a = b

1 problems, 1 warnings"""


def test_text():
    assert REPORT.text() == TEXT


def test_json_has_everything():
    values = json.loads(json.dumps(REPORT.values()))
    assert (values["problems"], values["warnings"]) == (1, 1)
    assert values["sizes"]["largest"] == [30, 40]
    assert values["suspects"] == {"camera 1": [{"path": "a.jpg", "note": "person 1"}]}
    assert values["expected"] == {"train": {"images": 12936}}
    first, second, third, _ = values["findings"]
    assert first["count"] == len(first["examples"]) == 1234
    assert second == {
        "level": "ok",
        "what": "files with other names",
        "count": 0,
        "advice": "",
        "examples": [],
    }
    assert third["count"] is None
