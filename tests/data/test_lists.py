"""CSV lists, line by line."""

import pytest

from mgn.data.lists import read_list
from mgn.system.errors import InputError


def write_list(path, text, images=("a/x.jpg", "y.png")):
    for name in images:
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).touch()
    path.write_text(text, encoding="utf-8")
    return path


def test_spaces_around_a_number_and_zeros_before_it_are_no_part_of_it(tmp_path):
    path = write_list(tmp_path / "query.csv", "path,person,camera\ny.png, 0007 , 1\ny.png,-1,0\n")
    assert [numbers for _, numbers in read_list(path)] == [(7, 1), (-1, 0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,person\nx,1\n", "no column path and no camera"),
        ("", "no column path and no person and no camera"),
        (
            "path,person,camera\ny.png,anna,1\n",
            "line 2: person 'anna', camera '1': must be whole numbers",
        ),
        ("path,person,camera\ny.png,1\n", "line 2: person '1', camera None"),
        ("path,person,camera\ny.png,1,1\nz.png,1,1\n", "line 3: .*z.png: no such image"),
        ("path,person,camera\ny.png,-2,1\n", "line 2: person -2, camera 1: must be from -1"),
        (
            "path,person,camera\ny.png,12345678901234567890123,1\n",
            "line 2: person 123456.*: must be from -1 to",
        ),
        # Python's int takes these: persons 1_12 and 11_2 would be one.
        ("path,person,camera\ny.png,1_12,1\n", "line 2: person '1_12', camera '1': must be whole"),
        ("path,person,camera\ny.png,٣,1\n", "line 2: person '٣'"),
        ("path,person,camera\ny.png,+1,1\n", r"line 2: person '\+1'"),
        ("path,person,camera\ny.png,1,1.0\n", r"line 2: person '1', camera '1\.0'"),
        ("path,person,camera\ny.png,1,\n", "line 2: person '1', camera ''"),
        ("path,person,camera\ny.png,1,²\n", "line 2: person '1', camera '²'"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected):
        list(read_list(write_list(tmp_path / "query.csv", text)))


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "query.csv").write_bytes(b"path,person,camera\n\xff\xfe\x00")
    with pytest.raises(InputError, match="save it as UTF-8"):
        list(read_list(tmp_path / "query.csv"))
