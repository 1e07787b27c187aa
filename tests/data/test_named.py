"""Folders and lists as files."""

import io
from pathlib import Path

import pytest

from mgn.data.named import files_named
from mgn.system.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Two images, one below, and what is none."""
    (tmp_path / "sub").mkdir()
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "sub/c.webp"):
        (tmp_path / name).touch()
    return tmp_path


def names(found, folder):
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folder_is_every_image_under_it(folder, capsys):
    assert names(files_named([folder]), folder) == ["a.PNG", "b.jpg", "sub/c.webp"]
    assert capsys.readouterr().err == f"{folder}: left out: 1 .txt, 1 hidden\n"


def test_files_are_taken_as_named_and_in_order(folder):
    paths = [folder / "notes.txt", folder / "sub", folder / "b.jpg", folder / "b.jpg"]
    expected = ["notes.txt", "sub/c.webp", "b.jpg", "b.jpg"]
    assert names(files_named(paths), folder) == expected


def test_a_list_is_relative_to_itself(folder):
    listed = folder / "sub" / "list"
    listed.write_bytes("\ufeffc.webp\r\n\n../b.jpg\nnot there.jpg".encode())
    found = files_named([folder / "a.PNG"], [str(listed)])
    assert found == [
        folder / "a.PNG",
        folder / "sub" / "c.webp",
        folder / "sub" / "../b.jpg",
        folder / "sub" / "not there.jpg",
    ]


def test_a_csv_list_is_that_of_a_data_set(folder):
    listed = folder / "sub" / "list.csv"
    listed.write_text("path,person,camera\n../b.jpg,1,2\nc.webp,3,4\n")
    found = files_named([], [str(listed)])
    assert found == [folder / "sub" / "../b.jpg", folder / "sub" / "c.webp"]
    listed.write_text("path,person,camera\nnone.jpg,1,2\n")
    with pytest.raises(InputError, match=r"line 2: .*no such image"):
        files_named([], [str(listed)])


def test_the_standard_input_is_relative_to_the_working_folder(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("x/y.jpg\n/z.jpg\n"))
    assert files_named([], ["-"]) == [Path("x/y.jpg"), Path("/z.jpg")]


def test_lists_that_are_none(folder):
    (folder / "empty").mkdir()
    (folder / "binary").write_bytes(b"\xff\xd8\xff")
    (folder / "nothing").write_text("\n\n")
    for paths, lists, problem in (
        ([folder / "empty"], [], "empty: no image in it"),
        ([], [str(folder / "none")], "none: cannot be read"),
        ([], [str(folder)], "cannot be read"),
        ([], [str(folder / "binary")], "not text in UTF-8"),
        ([], [str(folder / "nothing")], "names no file"),
    ):
        with pytest.raises(InputError, match=problem):
            files_named(paths, lists)
