"""File names of Market-1501: digits and endings, by hand."""

import pytest

from mgn.data.names import fits, parse_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0002_c1s1_000451_03.jpg", (2, 1)),
        ("1501_c6s4_001902_01.PNG", (1501, 6)),
        ("0000_c4s6_018191_01.bmp", (0, 4)),
        ("-1_c5s2_089113_01.jpg.jpg", (-1, 5)),
        ("0107_c12s1_000001_00.JPEG", (107, 12)),
        ("0002_c1s1_000451_03.webp", (2, 1)),
        ("0002_c1_7.TIFF", (2, 1)),
        ("0002_c1_7.jpg.png", (2, 1)),
        ("0002_c1s1_000451_03 (1).jfif", (2, 1)),
        ("0002_c1s1_000451_03.heic", None),
        ("0002_c1s1_000451_03.jpg~", None),
        ("٣_c1s1_000451_03.jpg", None),  # digits of another script
        ("0002_c²_000451_03.jpg", None),
        ("0002_c1_000451_03.t\u0131ff", None),
        ("Thumbs.db", None),
        ("c1s1_000451_03.jpg", None),
        ("x0002_c1s1_000451_03.jpg", None),
    ],
)
def test_names(name, expected):
    assert parse_name(name) == expected


def test_what_fits_is_a_file_or_a_link_to_nowhere(tmp_path):
    file, folder, link, misnamed = (
        tmp_path / name for name in ("1_c1_.jpg", "2_c1_.jpg", "3_c1_.jpg", "4.jpg")
    )
    file.touch()
    folder.mkdir()
    link.symlink_to("nowhere")
    misnamed.touch()
    assert [fits(path) for path in (file, folder, link, misnamed)] == [True, False, True, False]
