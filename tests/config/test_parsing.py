"""Flags from the fields of a dataclass: their numbers are digits."""

import pytest
from conftest import refused

import train
from mgn import doctor

WRONG = [
    ("--batch_ids", "1_6", "'1_6' is not a whole number"),
    ("--batch_ids", "٣", "'٣' is not a whole number"),
    ("--batch_ids", "4.0", "'4.0' is not a whole number"),
    ("--learning_rate", "1_0.5", "'1_0.5' is not a number"),
    ("--learning_rate", "nan", "'nan' is not a number"),
    ("--margin", "1_2", "'1_2' is neither a number nor none"),
    ("--milestones", "40,6_0", "'40,6_0' is not a list such as 40,60"),
    ("--max_steps", "²", "'²' is not a whole number above 0"),
    ("--max_steps", "٣", "'٣' is not a whole number above 0"),
    ("--replicas", "+2", "'+2' is not a whole number above 0"),
]


@pytest.mark.parametrize(("flag", "text", "expected"), WRONG)
def test_numbers_that_only_python_takes_are_refused(capsys, flag, text, expected):
    with pytest.raises(SystemExit):
        train.parse(["--recipe", "scratch", flag, text])
    assert capsys.readouterr().err.startswith(f"error: argument {flag}: {expected}")


def test_numbers_as_people_write_them(capsys):
    given = [
        "--batch_ids",
        "08",
        "--learning_rate",
        "2e-4",
        "--margin",
        "none",
        "--max_steps",
        "12",
    ]
    flags = train.parse([*given, "--milestones", "40, 60"])
    names = ("batch_ids", "learning_rate", "margin", "max_steps", "milestones")
    assert [flags[name] for name in names] == [8, 0.0002, None, 12, (40, 60)]
    assert "--batch_images" in refused(capsys, doctor, ".", "--batch_images", "٤")
