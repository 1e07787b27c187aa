"""Outputs appear whole or not at all."""

import errno
import os
import sys
from pathlib import Path

import pytest

from mgn.system.errors import InputError
from mgn.system.files import (
    atomic_folder,
    atomic_write,
    check_can_be_made,
    check_is_text,
    is_unused,
    locked,
    next_free,
    not_written,
    output_folder,
    read_json,
    refuse_existing,
    refuse_names,
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


@pytest.mark.parametrize("name", ["..", ".", "a/.."])
def test_a_folder_above_is_no_name_for_an_output(tmp_path, monkeypatch, name):
    """What is made would have been put together in the folder that the user is in."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="name a file to write"), atomic_write(name, overwrite):
            raise AssertionError("not reached")
    assert not list((tmp_path / "a").iterdir())


def test_next_free(tmp_path):
    assert next_free(tmp_path, "demo").name == "demo-1"
    (tmp_path / "demo-1").mkdir()
    assert next_free(tmp_path, "demo").name == "demo-2"

    (tmp_path / "demo-2").symlink_to("nowhere")
    assert next_free(tmp_path, "demo").name == "demo-3"


def test_a_folder_is_claimed_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with output_folder(None, "a") as first, output_folder(None, "a") as second:
        assert (first, second) == (Path("runs/a-1"), Path("runs/a-2")) and second.is_dir()
        (first / "result").touch()
    assert list(Path("runs").iterdir()) == [first]  # the unused one is gone
    with pytest.raises(ZeroDivisionError), output_folder(None, "b") as third:
        (third / ".lock").touch()
        raise ZeroDivisionError
    assert not third.exists()
    with output_folder(Path("mine"), "a") as given:
        assert given == Path("mine") and not given.exists()


def test_a_claim_that_another_process_was_faster_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make = Path.mkdir

    def slow(self, *arguments, **options):
        if self.name == "a-1":
            make(self, *arguments, **options)
        make(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", slow)
    with output_folder(None, "a") as claimed:
        assert claimed.name == "a-2"


def test_names_that_the_system_does_not_take_are_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("loop").symlink_to("loop")
    long, deep = "x" * 256, "/".join(["x" * 100] * 50)
    for path, words in (
        (long, "shorter"),
        (f"new/{long}/a", "shorter"),
        (deep, "shorter"),
        ("/".join(["x" * 100] * 40), "shorter"),  # or what is made in it would be too long
        ("file/a", "is a file, not a folder"),
        ("loop/a", "leads to itself"),
    ):
        for check in (check_can_be_made, lambda path: refuse_existing(path, overwrite=True)):
            with pytest.raises(InputError, match=words):
                check(Path(path))
        with pytest.raises(InputError, match=words):
            refuse_names(Path(path), ["a-*.png"], overwrite=True)
    for path in ("new/deep/a", "file", "x" * 255, "/".join(["x" * 100] * 37), "..", "/"):
        check_can_be_made(Path(path))
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path / "closed")
    (tmp_path / "closed").mkdir()
    with pytest.raises(InputError, match=r"out: the folder .*closed is not writable; name a"):
        check_can_be_made(tmp_path / "closed" / "new" / "out")
    with pytest.raises(InputError, match="is not valid UTF-8"):
        check_is_text(Path("a\udcff/b"))
    check_is_text(Path("人/é"))


def test_the_longest_name_can_be_written(tmp_path):
    """The temporary name is no longer."""
    path = tmp_path / ("x" * 255)
    with atomic_write(path) as temporary:
        temporary.write_text("a")
    assert path.read_text() == "a"


def test_a_failed_write_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space") as raised, atomic_write(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space")
    assert raised.value.filename == str(tmp_path / "a")


def test_without_locks_it_goes_on_without_one(tmp_path, monkeypatch):
    """As on Windows, where Python has no `fcntl`."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(tmp_path), locked(tmp_path):
        pass


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
    with pytest.raises(InputError, match=r"has page-1\.txt already"), atomic_folder(folder, names):
        raise AssertionError("begins in spite of it")
    with pytest.raises(ZeroDivisionError), atomic_folder(folder, names, overwrite=True):
        raise ZeroDivisionError
    assert (folder / "page-2.txt").read_text() == "old"
    with atomic_folder(folder, names, overwrite=True) as making:
        (making / "page-1.txt").write_text("new")
    with (
        pytest.raises(InputError, match=r"has last\.txt already"),
        atomic_folder(folder, ["last.txt"]) as making,
    ):
        (making / "last.txt").touch()
        (folder / "last.txt").touch()  # by another process
    (folder / "last.txt").unlink()
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
        (errno.EXDEV, "x: could not be written ([Errno 18] Invalid cross-device link)"),
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
        pytest.raises(InputError, match="another process is using this folder"),
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
