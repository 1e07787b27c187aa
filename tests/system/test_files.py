"""Outputs appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from mgn.system.errors import InputError
from mgn.system.files import (
    atomic_folder,
    atomic_write,
    is_unused,
    locked,
    next_free,
    not_written,
    read_json,
    write_json,
)


def test_a_failed_body_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_refused_and_kept(tmp_path):
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(InputError, match="--overwrite"), atomic_write(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old"
    with atomic_write(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "1"
    for text in ("old", "new"):
        with atomic_write(target, overwrite=True) as temporary:
            temporary.mkdir()
            (temporary / text).touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    target = tmp_path / "1"
    target.mkdir()
    (target / "old").touch()
    rename = Path.replace

    def failing(self, other):
        if self.name == "1" and self != target:
            raise OSError("disk error")
        return rename(self, other)

    monkeypatch.setattr(Path, "replace", failing)
    with (
        pytest.raises(OSError, match="disk error"),
        atomic_write(target, overwrite=True) as temporary,
    ):
        temporary.mkdir()
    assert [p.name for p in target.iterdir()] == ["old"]
    with (
        pytest.raises(InputError, match="a folder a file"),
        atomic_write(target, overwrite=True) as temporary,
    ):
        temporary.touch()
    assert [p.name for p in target.iterdir()] == ["old"]


def test_something_that_appears_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "a"
    with pytest.raises(InputError), atomic_write(target) as temporary:
        temporary.write_text("mine")
        target.write_text("another's")
    assert target.read_text() == "another's"


def test_next_free(tmp_path):
    assert next_free(tmp_path, "demo").name == "demo-1"
    (tmp_path / "demo-1").mkdir()
    assert next_free(tmp_path, "demo").name == "demo-2"


def test_json(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    assert read_json(tmp_path / "a.json") == {"b": 1}
    for text in ("[1]", "{"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match=r"bad\.json"):
            read_json(tmp_path / "bad.json")


def test_a_folder_is_filled_as_a_whole_or_not_at_all(tmp_path):
    folder, names = tmp_path / "out", ("page-*.txt", "last.txt")
    with pytest.raises(ZeroDivisionError), atomic_folder(folder, names) as making:
        (making / "last.txt").touch()
        raise ZeroDivisionError
    assert not folder.exists()
    with atomic_folder(folder, names) as making:
        for name in ("page-1.txt", "page-2.txt", "last.txt"):
            (making / name).write_text("old")
    (folder / "other.txt").write_text("somebody else's")
    with pytest.raises(InputError, match=r"page-1\.txt exists"), atomic_folder(folder, names):
        raise AssertionError("begins in spite of it")
    with pytest.raises(ZeroDivisionError), atomic_folder(folder, names, overwrite=True):
        raise ZeroDivisionError
    assert (folder / "page-2.txt").read_text() == "old"
    with atomic_folder(folder, names, overwrite=True) as making:
        (making / "page-1.txt").write_text("new")
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == {"page-1.txt": "new", "other.txt": "somebody else's"}  # nothing stale stays
    with (
        pytest.raises(InputError, match="is a file, not a folder"),
        atomic_folder(folder / "other.txt", names),
    ):
        pass


def test_why_an_output_could_not_be_written():
    """A full disk is found below what a library made of it; all else as the system says it."""
    for code, said in (
        (errno.ENOSPC, "x: could not be written: the disk is full; free some space"),
        (errno.EFBIG, "x: could not be written ([Errno 27] File too large)"),
    ):
        inner = OSError(code, os.strerror(code))
        wrapped = RuntimeError("unexpected pos 64 vs 0")
        wrapped.__context__ = inner
        for error in (inner, wrapped):
            assert str(not_written("x", error)) == said
    in_a_graph = (
        "Graph execution error:\n\nDetected at node\nNode: 'save'\n"
        "x.tempstate1; Disk on fire\n\t [[more]]"
    )
    told = not_written("x", RuntimeError(in_a_graph))
    assert str(told) == "x: could not be written (x.tempstate1; Disk on fire)"


def test_a_folder_is_held_by_one(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(InputError, match="another process is at work"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):  # freed in the end
        assert is_unused(tmp_path)


def test_what_a_killed_process_left_does_not_count(tmp_path):
    assert is_unused(tmp_path / "new") and is_unused(tmp_path)
    (tmp_path / ".model.ckpt-0.abc").mkdir()
    assert is_unused(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert is_unused(tmp_path, ["config.json"])
    assert not is_unused(tmp_path) and not is_unused(tmp_path / "config.json")
