"""Ranked sheets: the nearest by brute force, every kind of answer by hand, the image read back."""

import cv2
import numpy as np
import pytest

from mgn.data.records import Record
from mgn.evaluation import sheets
from mgn.evaluation.sheets import IGNORED, RIGHT, UNKNOWN, WRONG, Row
from mgn.metrics import distances as distances_module
from mgn.system.errors import InputError

GREEN, RED, GREY, DARK = (14, 124, 74), (205, 43, 49), (110, 117, 124), (31, 41, 55)


def brute_force(query, gallery, count):
    """Differences of all pairs in float64, sorted by (distance, index)."""
    squares = ((query.astype(float)[:, None] - gallery.astype(float)) ** 2).sum(axis=2)
    order = [
        sorted(range(len(gallery)), key=lambda i, row=row: (row[i], i))[:count] for row in squares
    ]
    return np.array(order), np.sqrt(np.take_along_axis(squares, np.array(order), axis=1))


def check_nearest(query, gallery, count):
    indices, distances = distances_module.nearest(query, gallery, count)
    expected = brute_force(query, gallery, count)
    assert (indices.dtype, distances.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-6, atol=0)


@pytest.fixture(params=[1, 3, 7, 64, 2048])
def block(request, monkeypatch):
    monkeypatch.setattr(distances_module, "_BLOCK", request.param)


@pytest.mark.usefixtures("block")
def test_nearest_is_brute_force():
    rng = np.random.default_rng(0)
    query, gallery = (
        rng.normal(size=(5, 24)).astype(np.float32),
        rng.normal(size=(64, 24)).astype(np.float32),
    )
    for count in (1, 10, 64, 100):  # 100: more than there are, so all
        check_nearest(query, gallery, count)
    assert distances_module.nearest(query, gallery, 100)[0].shape == (5, 64)


@pytest.mark.usefixtures("block")
def test_ties_rank_by_index_and_copies_are_at_distance_0():
    rng = np.random.default_rng(1)
    gallery = rng.integers(-1, 2, (60, 4)).astype(
        np.float32
    )  # 81 points that differ, so most are shared
    check_nearest(gallery[:20], gallery, 12)
    real = rng.normal(size=(6, 512)).astype(
        np.float32
    )  # equal rows whose matrix products may not be equal
    gallery = real[rng.integers(0, 6, 50)]
    check_nearest(real, gallery, 20)
    indices, distances = distances_module.nearest(gallery[:1], gallery, 50)
    copies = np.flatnonzero((gallery == gallery[0]).all(axis=1))
    np.testing.assert_array_equal(indices[0, : len(copies)], copies)
    assert (distances[0, : len(copies)] == 0).all() and (distances[0, len(copies) :] > 0).all()
    check_nearest(
        np.ones((2, 8), np.float32), np.ones((30, 8), np.float32), 5
    )  # a collapsed network


@pytest.mark.usefixtures("block")
def test_near_copies_far_from_the_origin_keep_their_order():
    rng = np.random.default_rng(2)
    gallery = 1e4 + rng.permutation(40)[:, None] * np.full(
        16, 1e-9
    )  # float64: 1e-9 is 550 units in the last
    gallery[0] = 0  # far from all others, whose order is below the rounding of a matrix product
    for count in (1, 5, 40):
        check_nearest(gallery[:3], gallery, count)


def test_a_memory_mapped_gallery_is_read_in_place(tmp_path):
    gallery = np.random.default_rng(3).normal(size=(30, 8)).astype(np.float32)
    np.save(tmp_path / "g.npy", gallery)
    check_nearest(gallery[:4], np.load(tmp_path / "g.npy", mmap_mode="r"), 10)


@pytest.mark.parametrize(
    ("query", "entry", "expected"),
    [
        ((25, 1), (25, 2), RIGHT),
        ((25, 1), (25, 1), IGNORED),  # the same person by the same camera
        ((25, 1), (26, 1), WRONG),
        ((25, 1), (26, 2), WRONG),
        ((25, 1), (-1, 1), IGNORED),  # junk
        ((25, 1), (-1, 2), IGNORED),
        ((25, 1), (0, 1), WRONG),  # a distractor
        ((0, 1), (0, 2), WRONG),  # is nobody's match, not even another's
        ((-1, 1), (-1, 2), IGNORED),
        ((-2, -2), (25, 1), UNKNOWN),
        ((25, 1), (-2, -2), UNKNOWN),
    ],
)
def test_verdict(query, entry, expected):
    assert sheets.verdict(Record("q", *query), Record("e", *entry)) == expected


def paint(path):
    """A reader of made-up files: a name like 30x60_200_10_0 is the size (W x H) and the colour
    (RGB)."""
    if path == "missing":
        raise InputError("missing: cannot be read")
    size, *colour = path.split("_")
    width, height = map(int, size.split("x"))
    return np.full((height, width, 3), [int(c) for c in colour], np.uint8)


def box(image, colour):
    """Top, bottom, left and right (inclusive) of the pixels of a colour, which must fill a
    rectangle."""
    ys, xs = np.nonzero((image == colour).all(axis=2))
    edges = ys.min(), ys.max(), xs.min(), xs.max()
    assert len(ys) == (edges[1] - edges[0] + 1) * (edges[3] - edges[2] + 1)
    return edges


def read_back(path):
    return cv2.imread(str(path))[:, :, ::-1]


def test_every_image_is_at_its_place_in_a_frame_of_its_colour(tmp_path):
    rows = [
        Row(
            Record("64x128_10_20_30", 25, 1),
            0.123,
            [
                (Record("64x128_40_50_60", 25, 2), 0.1),
                (Record("32x64_70_80_90", 26, 2), 0.2),
                (Record("128x256_90_10_150", 25, 1), 0.3),
                (Record("64x128_20_200_220", -1, 3), 0.4),
                (Record("64x128_240_220_10", 0, 3), 0.5),
            ],
        ),
        Row(Record("64x128_11_21_31", 30, 3), 0.5, [(Record("64x128_41_51_61", 30, 1), 0.713)]),
    ]
    sheets.draw_sheet(rows, "two queries", tmp_path / "sheet.png", paint)
    drawn = read_back(tmp_path / "sheet.png")
    expected = [[DARK, GREEN, RED, GREY, GREY, RED], [DARK, GREEN]]
    places = []
    for row, frames in zip(rows, expected, strict=True):
        for record, frame in zip(
            [row.query, *(entry for entry, _ in row.entries)], frames, strict=True
        ):
            top, bottom, left, right = box(drawn, [int(c) for c in record.path.split("_")[1:]])
            assert (bottom - top + 1, right - left + 1) == (
                192,
                96,
            )  # all are 1 : 2, and fill their cells
            for depth in (1, 4):  # pixels outside of the image
                assert (
                    drawn[top - depth : bottom + depth + 1, [left - depth, right + depth]] == frame
                ).all()
                assert (
                    drawn[[top - depth, bottom + depth], left - depth : right + depth + 1] == frame
                ).all()
            assert (drawn[top - 5, left - 5 : right + 6] == 255).all()
            assert (drawn[top - 5 : bottom + 6, [left - 5, right + 5]] == 255).all()
            places.append((top, left))
    tops, lefts = np.transpose(places)
    assert len(set(tops[:6])) == 1 and len(set(tops[6:])) == 1 and tops[6] - tops[0] > 230
    assert (np.diff(lefts[:6]) > 100).all() and len(set(np.diff(lefts[1:6]))) == 1
    assert (lefts[:2] == lefts[6:]).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("300x100", (32, 96)),
        ("50x200", (192, 48)),
        ("7x7", (96, 96)),
        ("4000x3", (1, 96)),
        ("1x999", (192, 1)),
    ],
)
def test_images_are_not_distorted(tmp_path, size, expected):
    row = Row(Record("64x128_1_2_3", 1, 1), 1.0, [(Record(f"{size}_200_100_50", 1, 2), 0.5)])
    sheets.draw_sheet([row], "", tmp_path / "sheet.png", paint)
    drawn = read_back(tmp_path / "sheet.png")
    top, bottom, left, right = box(drawn, (200, 100, 50))
    assert (bottom - top + 1, right - left + 1) == expected
    cell = box(drawn, (1, 2, 3))  # the query's, which fills it and is level with it
    assert abs((top + bottom) - (cell[0] + cell[1])) <= 1
    green = np.nonzero((drawn[cell[0] : cell[1]] == GREEN).all(axis=(0, 2)))[0]
    assert len(green) == 8 and abs((left + right) - (green[0] + green[-1])) <= 1


@pytest.fixture
def texts(monkeypatch):
    """What is written on sheets, in order."""
    written = []

    class Recorder(sheets.Figure):
        def text(self, x, y, s, **style):
            written.append(s)
            return super().text(x, y, s, **style)

    monkeypatch.setattr(sheets, "Figure", Recorder)
    return written


def test_what_is_written(tmp_path, texts, recwarn):
    rows = [
        Row(
            Record("64x128_1_2_3", 25, 1),
            0.1249,
            [
                (Record("64x128_1_1_1", 25, 2), 0.71349),
                (Record("64x128_1_1_1", 26, 12), 1.0),
                (Record("64x128_1_1_1", 25, 1), 0.0),
                (Record("missing", -1, 3), 12.5),
                (Record("64x128_1_1_1", 0, 4), 12.5),
            ],
        ),
        Row(Record("missing", 1, 6), float("nan"), []),
        Row(Record("64x128_1_1_1", 12345, 6), None, []),
    ]
    sheets.draw_sheet(rows, r"$\frac$ of " + "人\udcff", tmp_path / "sheet.png", paint)
    assert texts[0] == r"$\frac$ of ??"  # no mathematics
    assert [text[:5] for text in texts[1:7]] == ["✓", "right", "✗", "wrong", "–", "ignor"]
    assert texts[8:19] == ["query", *(str(n) for n in range(1, 11))]
    first = ["AP 0.12", "", "person 0025  c1", "64x128_1_2_3", "✓", "0.713", "person 0025  c2"]
    first += ["✗", "1.000", "person 0026  c12", "–", "0.000", "person 0025  c1"]
    first += ["unreadable", "–", "12.500", "junk  c3", "✗", "12.500", "distractor  c4"]
    second = ["unreadable", "no match", "", "person 0001  c6", "missing"]
    third = ["", "", "person 12345  c6", "64x128_1_1_1"]
    assert texts[19:] == [*first, *second, *third]
    assert not recwarn.list  # such as of a letter that the font lacks
    assert (read_back(tmp_path / "sheet.png")[:40, :200] != 255).any()  # the title


def test_long_file_names_lose_their_middle(tmp_path, texts):
    folder = "/data/market/query/"
    for name in ("0025_c1s1_002500_00.jpg", "an_uncommonly_long_name_of_a_file_0001.jpg"):
        row = Row(Record(folder + name, 1, 1), 1.0, [])
        sheets.draw_sheet(
            [row], "t", tmp_path / "s.png", lambda path: paint(f"64x128_{len(path)}_1_1")
        )
    assert "0025_c1s1_002500_00.jpg" in texts  # Market-1501's are not
    assert texts[-1] == "an_uncommon…le_0001.jpg"


def test_an_unreadable_image_is_a_grey_box_and_the_others_are_drawn(tmp_path):
    entries = [(Record("missing", 25, 2), 0.1), (Record("64x128_70_80_90", 26, 2), 0.2)]
    sheets.draw_sheet(
        [Row(Record("missing", 25, 1), 0.1, entries)], "t", tmp_path / "sheet.png", paint
    )
    drawn = read_back(tmp_path / "sheet.png")
    top, bottom, left, _ = box(drawn, (70, 80, 90))
    before = drawn[top : bottom + 1, left - 116 : left - 116 + 96]
    assert (
        np.median(before, axis=(0, 1)) == (232, 235, 238)
    ).all() and before.std() > 1  # the word
    assert (drawn[top - 2, left - 116 : left - 116 + 96] == GREEN).all()


def test_many_rows_make_several_sheets(tmp_path, texts):
    def rows(count):
        return [Row(Record(f"64x128_{n}_100_200", 1, 1), 0.5, []) for n in range(count)]

    folder = tmp_path
    paths = sheets.write_sheets(rows(7), "lowest AP", folder, "worst", paint, rows_per_sheet=3)
    assert paths == [folder / f"worst-{n}.png" for n in (1, 2, 3)]
    assert sorted(folder.iterdir()) == paths
    assert [text for text in texts if "AP" in text and "of 3" in text] == [
        f"lowest AP ({n} of 3)" for n in (1, 2, 3)
    ]
    found = []
    for path in paths:
        colours = {tuple(c) for c in np.unique(read_back(path)[:, 24 + 50], axis=0).tolist()}
        found.append([n for n in range(7) if (n, 100, 200) in colours])
    assert found == [[0, 1, 2], [3, 4, 5], [6]]
    heights = [len(read_back(path)) for path in paths]
    assert heights[0] == heights[1] > heights[2]
    texts.clear()
    assert sheets.write_sheets(rows(3), "all", folder, "one", paint, 3) == [folder / "one-1.png"]
    assert "all" in texts and sheets.write_sheets([], "none", folder, "none", paint) == []


def test_more_answers_than_ten_and_a_users_matplotlibrc(tmp_path):
    import matplotlib

    entries = [(Record(f"64x128_{n}_7_7", 2, 1), float(n)) for n in range(14)]
    with matplotlib.rc_context(
        {"savefig.bbox": "tight", "font.family": "cursive", "figure.dpi": 50}
    ):
        sheets.draw_sheet(
            [Row(Record("64x128_9_9_9", 1, 1), 0.0, entries)], "t", tmp_path / "s.png", paint
        )
    drawn = read_back(tmp_path / "s.png")
    lefts = [box(drawn, (n, 7, 7))[2] for n in range(14)]
    assert lefts == sorted(lefts) and drawn.shape[1] - (lefts[-1] + 96) > 24
    assert (drawn[:, -20:] == 255).all()
