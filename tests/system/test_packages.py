"""Packages that only some commands need."""

import sys

import pytest

from mgn.system.errors import InputError
from mgn.system.packages import needed


def test_what_is_there_is_imported():
    assert needed("json.decoder", "a.txt") is sys.modules["json.decoder"]


def test_what_is_not_there_is_named_with_its_file(tmp_path, monkeypatch):
    (tmp_path / "damaged_package.py").write_text("raise ImportError('libx.so.3: no such file')")
    (tmp_path / "half_package.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    for name, expected in (
        ("nowhere", "^nowhere is not installed: pip install -r a.txt$"),
        ("half_package", "^nowhere_to_be_found is not installed: pip install -r a.txt$"),
        (
            "damaged_package",
            r"^damaged_package cannot be imported \(libx.so.3: no such file\): pip",
        ),
    ):
        with pytest.raises(InputError, match=expected):
            needed(name, "a.txt")
