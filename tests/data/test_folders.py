"""Folders of images: what is walked, and what the rest is called."""

from collections import Counter
from pathlib import Path

import pytest

from mgn.data import folders


def test_every_folder_is_entered_once_and_none_that_is_hidden(tmp_path):
    root = tmp_path / ".hidden-root-is-named-by-the-user"
    for name in ("b/x.jpg", "a/y.jpg", "a/deep/z.jpg", "w.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in ("@eaDir", ".thumbnails", "__MACOSX", ".git"):
        (root / "a" / name).mkdir()
        (root / "a" / name / "w.jpg").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "o.jpg").touch()
    (root / "c").symlink_to(tmp_path / "other")
    (root / "d").symlink_to(tmp_path / "other")  # once is enough
    (root / "b" / "up").symlink_to("..")
    (root / "b" / "self").symlink_to("self")
    (tmp_path / "other" / "root").symlink_to(root)
    found = [path.relative_to(root).as_posix() for path in folders.walk(root)]
    hidden = ["a/.git", "a/.thumbnails", "a/@eaDir", "a/__MACOSX"]
    assert found == [*hidden, "a/deep/z.jpg", "a/y.jpg", "b/self", "b/x.jpg", "c/o.jpg", "w.jpg"]


def test_what_is_left_out_is_called_by_its_kind(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    for name in ("a.TXT", "b.txt", ".DS_Store", "Thumbs.db", "README", "c.heic"):
        (tmp_path / name).touch()
    kinds = Counter(folders.kind_of(path) for path in tmp_path.iterdir())
    assert kinds == {".txt": 2, "hidden": 2, "folders": 1, "without extension": 1, ".heic": 1}
    told = "2 .txt, 2 hidden, 1 .heic, 1 folders, 1 without extension"
    assert folders.kinds_text(kinds) == told
    many = Counter({f".{n:03}": 1 for n in range(10)}) + Counter({".txt": 1234})
    assert folders.kinds_text(many).startswith("1,234 .txt, 1 .000, ")
    assert folders.kinds_text(many).endswith(", 1 .004, 5 of other kinds")
    assert folders.kinds_text(Counter()) == ""


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    for name in ("a/x.jpg", "b/y.jpg", "c/z.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    iterdir = Path.iterdir

    def forbidding(path):
        if path.name == "a":
            raise PermissionError
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", forbidding)
    found = folders.images_under(tmp_path, forbidden=True)
    assert found == ([tmp_path / "b" / "y.jpg"], [tmp_path / "a", tmp_path / "c" / "z.txt"])
    with pytest.raises(PermissionError):
        folders.images_under(tmp_path)
    monkeypatch.setattr(folders.os, "access", lambda *_: False)
    assert folders.kind_of(tmp_path / "a") == "folders without permission"
