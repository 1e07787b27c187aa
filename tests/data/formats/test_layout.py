"""Lists of names and identities; names that tell a layout."""

import re

import pytest

from mgn.data.formats import layout
from mgn.system.errors import InputError

from .sets import make


def test_names_with_blanks_and_empty_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\ufeffa b.jpg 3\n\n  c.jpg 0  \r\n")
    found = [(name, identity) for _, name, identity in layout.numbered_lines(path, "")]
    assert found == [("a b.jpg", 3), ("c.jpg", 0)]
    path.write_text("a.jpg -1\n")
    with pytest.raises(InputError, match=r"line 1: 'a.jpg -1': must be"):
        list(layout.numbered_lines(path, ""))


def test_most_of_the_first_names_must_fit(tmp_path):
    name = re.compile(r"[0-9]\.png")
    assert not layout.looks_like(tmp_path, name) and not layout.looks_like(tmp_path / "no", name)
    make(tmp_path, "1.png", "2.png", "notes.txt", ".3.png")
    assert layout.looks_like(tmp_path, name)
    make(tmp_path, "x.png")
    assert layout.looks_like(tmp_path, name)
    make(tmp_path, "y.png")
    assert not layout.looks_like(tmp_path, name)
