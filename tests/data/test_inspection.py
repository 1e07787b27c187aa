"""The data set's doctor: faults are planted into a copy of the small set, and just those found."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mgn import doctor
from mgn.data import inspection
from mgn.data.reading import check_readable
from mgn.system import cli
from mgn.system.errors import InputError

ROOT = Path(__file__).parents[2]
NINTH = "0009_c1s1_000000_00.jpg"
FORBIDDEN = "permission denied; name another file or folder, or change its permissions"
TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


@pytest.fixture
def copy(dataset, tmp_path):
    """The small set, to be spoilt, under a name without "market"."""
    return shutil.copytree(dataset, tmp_path / "copy")


def examine(capsys, *arguments):
    """Run the doctor twice: (exit status, {what: (level, number, examples)}, the report)."""
    capsys.readouterr()
    status = cli.run(doctor.main, [str(argument) for argument in arguments])
    report = capsys.readouterr().out
    assert cli.run(doctor.main, [str(argument) for argument in (*arguments, "--json")]) == status
    told = json.loads(capsys.readouterr().out)
    findings = {}
    for finding in told["findings"]:
        what, examples = finding["what"], finding["examples"]
        findings[what] = finding["level"], finding["count"] or 0, examples
        assert f"\n{finding['level']}: " in report and what in report
        for example in examples[:5]:
            assert f"\n    {example.encode(errors='backslashreplace').decode()}\n" in report
    levels = [level for level, *_ in findings.values()]
    counts = levels.count("problem"), levels.count("warning")
    assert report.splitlines()[-1] == f"{counts[0]} problems, {counts[1]} warnings"
    assert counts == (told["problems"], told["warnings"])
    assert status == (1 if "problem" in levels else 0)
    return status, findings, report


def wrong(findings):
    """{what: (level, number)} of all that is not as it should be."""
    return {what: (level, number) for what, (level, number, _) in findings.items() if level != "ok"}


def refused(capsys, *arguments):
    """Run the doctor where there is nothing to examine; returns its one line."""
    capsys.readouterr()
    try:
        status = cli.run(doctor.main, [str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        status = stop.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    return line


def row(report, title):
    """The cells of one row of the table."""
    (line,) = (line for line in report.splitlines() if line.startswith(f"{title}  "))
    return line[len(title) :].split()


def write_list(path, records):
    """A CSV list of (file, person, camera)."""
    path.write_text("path,person,camera\n" + "".join(f"{f},{p},{c}\n" for f, p, c in records))


def test_a_sound_set(copy, capsys):
    status, findings, report = examine(capsys, copy)
    assert status == 0 and not wrong(findings) and "0 problems, 0 warnings" in report
    assert row(report, "images") == ["48", "8", "25"]
    assert row(report, "identities") == ["8", "4", "4"]  # the distractor is nobody
    assert row(report, "cameras") == ["2", "2", "2"]
    assert row(report, "junk") == ["0", "0", "1"]
    assert row(report, "distractors") == ["0", "0", "1"]
    assert row(report, "other files") == ["1", "1", "1"]
    assert "height x width: smallest 64x32, median 64x32, largest 64x32" in report
    assert "Market-1501" not in report


def unreadable(path):
    """What training says of a file."""
    with pytest.raises(InputError) as refusal:
        check_readable([str(path)])
    return str(refusal.value)


def test_files_that_are_no_images(copy, capsys):
    first, second, third = sorted((copy / TRAIN).glob("*.jpg"))[:3]
    first.write_bytes(first.read_bytes()[:-300])
    second.write_bytes(b"")
    third.write_text("a text")
    spoilt = bytearray((copy / QUERY / NINTH).read_bytes())
    spoilt[20:200] = bytes(180)  # its tables
    (copy / QUERY / NINTH).write_bytes(spoilt)
    # Equal contents are no leak if they are no images: there may be many empty files.
    (copy / GALLERY / NINTH).write_bytes(b"")
    (copy / GALLERY / "-1_c1s1_000001_00.jpg").write_bytes(b"")  # junk: nothing reads it
    status, findings, _ = examine(capsys, copy)
    assert status == 1 and wrong(findings) == {"unreadable images": ("problem", 5)}
    assert findings["unreadable images"][2] == [
        unreadable(path)
        for path in (first, second, third, copy / QUERY / NINTH, copy / GALLERY / NINTH)
    ]
    assert findings["unreadable images"][2][1] == f"{second}: empty file; repair or remove it"


def test_names(copy, capsys):
    for name in (
        "person5.jpg",
        "0001.jpg",
        "0001_c1s1_000001_00.heic",
        "notes.txt",
        "x_c1s1_1.jpg",
    ):
        (copy / TRAIN / name).write_bytes(b"")
    (copy / GALLERY / "0009_c9s1_000001_00.jpg").mkdir()
    (copy / GALLERY / ".DS_Store").write_bytes(b"")
    (copy / QUERY / "._0009_c1s1_000001_00.jpg").write_bytes(b"")
    Path(os.fsdecode(bytes(copy / QUERY) + b"/caf\xe9.jpg")).write_bytes(b"")  # Latin-1, not UTF-8
    status, findings, report = examine(capsys, copy)
    assert status == 0 and wrong(findings) == {"files with other names": ("warning", 7)}
    shown = [Path(line).name for line in findings["files with other names"][2][:5]]
    names = ["0001.jpg", "0001_c1s1_000001_00.heic", "notes.txt", "person5.jpg", "x_c1s1_1.jpg"]
    assert shown == names  # the first five, and the report ends with them
    assert "warning: 7 files with other names; left out, as not named like 0002_" in report
    assert names[-1] in report and "c9s1" not in report
    assert row(report, "other files") == ["6", "3", "3"]
    for name in names:
        (copy / TRAIN / name).unlink()
    assert r"caf\udce9.jpg" in examine(capsys, copy)[2]


def test_identities_and_cameras(copy, capsys):
    for path in (copy / TRAIN).glob("0008_c2*"):
        path.unlink()  # three images are left
    for folder in (QUERY, GALLERY):
        for path in (copy / folder).glob("0012_c2*"):
            path.unlink()
    for path in (copy / GALLERY).glob("0011_c1*"):
        path.unlink()  # the query by camera 2 has lost its match, the one by camera 1 has not
    status, findings, _ = examine(capsys, copy)
    assert status == 0 and wrong(findings) == {
        "training identities under one camera only": ("warning", 1),
        "training identities with fewer than 4 images": ("warning", 1),
        "queries without a match in another camera": ("warning", 2),
        "test identities under one camera only": ("warning", 1),
    }
    assert findings["training identities under one camera only"][2] == ["person 8"]
    assert findings["test identities under one camera only"][2] == ["person 12"]
    lost = findings["queries without a match in another camera"][2]
    assert [Path(line).name[:7] for line in lost] == ["0011_c2", "0012_c1"]
    findings = examine(capsys, copy, "--batch_images", 3)[1]
    assert findings["training identities with fewer than 3 images"] == ("ok", 0, [])
    findings = examine(capsys, copy, "--batch_images", 7)[1]
    assert findings["training identities with fewer than 7 images"][:2] == ("warning", 8)


def test_identities_in_training_and_test(copy, capsys):
    for name in ("0005_c1s1_000007_00.jpg", "0005_c2s1_000007_00.jpg"):
        pixels = np.full((100, 40, 3), len(name) + ord(name[6]), np.uint8)
        cv2.imwrite(str(copy / GALLERY / name), pixels)
    # Person 0 is no identity in training either, and may be somebody.
    shutil.copy(copy / GALLERY / "0000_c1s1_000001_00.jpg", copy / TRAIN)
    status, findings, report = examine(capsys, copy)
    zeros = "training images of identity 0, which Market-1501 uses for distractors"
    assert status == 1 and wrong(findings) == {
        "identities in training and test": ("problem", 1),
        zeros: ("warning", 1),
    }
    assert f"\nwarning: 1 {zeros}; left out; " in report
    assert findings[zeros][2] == [f"{copy}/{TRAIN}/0000_c1s1_000001_00.jpg"]
    assert findings["identities in training and test"][2] == ["person 5"]
    assert "smallest 64x32, median 64x32, largest 100x40" in report
    assert row(report, "junk") == ["1", "0", "1"]


def test_images_in_two_splits(copy, capsys):
    source = copy / TRAIN / "0003_c1s1_000000_00.jpg"
    shutil.copy(source, copy / QUERY / "0009_c1s1_000009_00.jpg")
    shutil.copy(
        copy / TRAIN / "0004_c2s1_000002_00.jpg", copy / GALLERY / "0000_c2s1_000009_00.jpg"
    )
    query = sorted((copy / QUERY).glob("*_000000_00.jpg"))
    shutil.copy(query[0], copy / GALLERY / "0009_c1s1_000008_00.jpg")  # as it is named: ignored
    shutil.copy(query[1], copy / GALLERY / "0009_c1s1_000009_00.jpg")  # by another camera
    shutil.copy(query[2], copy / GALLERY / "0012_c1s1_000009_00.jpg")  # of another person
    # Right once, wrong once: wrong.
    shutil.copy(query[2], copy / GALLERY / "0010_c1s1_000009_00.jpg")
    status, findings, _ = examine(capsys, copy)
    assert status == 1 and wrong(findings) == {
        "training images in query or gallery": ("problem", 2),
        "query images in the gallery under other labels": ("warning", 2),
        "gallery images under two identities": ("problem", 1),
    }
    assert findings["training images in query or gallery"][2] == [
        f"{source} = {copy}/query/0009_c1s1_000009_00.jpg",
        f"{copy}/{TRAIN}/0004_c2s1_000002_00.jpg = {copy}/{GALLERY}/0000_c2s1_000009_00.jpg",
    ]
    same = [f"{query[0]} = {copy}/{GALLERY}/0009_c1s1_000008_00.jpg"]
    assert findings["query images in the gallery"] == ("ok", 1, same)
    assert findings["query images in the gallery under other labels"][2] == [
        f"{query[1]} = {copy}/{GALLERY}/0009_c1s1_000009_00.jpg",
        f"{query[2]} = {copy}/{GALLERY}/0012_c1s1_000009_00.jpg",
    ]


def test_images_twice_in_a_split(copy, capsys):
    """By hand: of three equal files two are copies; of two identities one contradicts the first."""
    for folder, name, others in (
        (TRAIN, "0003_c1s1_000000_00", ("0003_c1s1_000000_00 (1)", "0003_c2s1_000009_00")),
        (QUERY, "0010_c1s1_000000_00", ("0010_c1s1_000000_00 (1)",)),
        (GALLERY, "0009_c1s1_000000_00", ("0009_c1s1_000000_00 copy", "0010_c1s1_000009_00")),
    ):
        for other in others:
            shutil.copy(copy / folder / f"{name}.jpg", copy / folder / f"{other}.jpg")
    (copy / TRAIN / "0001_c1s1_000000_01.jpg").write_bytes(b"")  # two empty files are no copies
    (copy / TRAIN / "0002_c1s1_000000_01.jpg").write_bytes(b"")
    status, findings, report = examine(capsys, copy)
    assert status == 1 and wrong(findings) == {
        "unreadable images": ("problem", 2),
        "copies of training images": ("warning", 2),
        "copies of query images": ("warning", 1),
        "copies of gallery images": ("warning", 1),
        "gallery images under two identities": ("problem", 1),
    }
    assert findings["gallery images under two identities"][2] == [
        f"{copy}/{GALLERY}/0010_c1s1_000009_00.jpg"
        f" = {copy}/{GALLERY}/0009_c1s1_000000_00 copy.jpg (person 10 and person 9)"
    ]
    assert "warning: 1 copies of gallery images; each counts as a further match; " in report


def test_links(copy, capsys):
    """A link that leads somewhere is an image, one that leads nowhere an unreadable one."""
    first, second = sorted((copy / TRAIN).glob("*.jpg"))[:2]
    first.rename(copy / "elsewhere.jpg")
    first.symlink_to("../elsewhere.jpg")
    second.unlink()
    second.symlink_to("../.dvc/cache/51/3f")
    status, findings, report = examine(capsys, copy)
    assert status == 1 and wrong(findings) == {"unreadable images": ("problem", 1)}
    assert findings["unreadable images"][2] == [unreadable(second)]
    assert row(report, "images") == ["48", "8", "25"]
    shutil.rmtree(copy / QUERY)
    (copy / QUERY).symlink_to("nowhere")
    status, findings, report = examine(capsys, copy)
    assert status == 1 and row(report, "images") == ["48", "-", "25"]
    assert f"problem: {copy / QUERY}: a link to nowhere, which does not exist; " in report
    assert "not both query and gallery that can be read: can be trained on" in report
    (copy / "train.csv").write_text("path,person,camera\n")
    assert "choose one with --format" in refused(capsys, copy)
    assert examine(capsys, copy, "--format", "market1501")[2] == report


def test_json(copy, capsys):
    (copy / QUERY / "notes.txt").touch()
    capsys.readouterr()
    assert cli.run(doctor.main, [str(copy), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dataset"] == str(copy) and (told["problems"], told["warnings"]) == (0, 1)
    assert told["sizes"] == {name: [64, 32] for name in ("smallest", "median", "largest")}
    assert (told["looks_like"], told["expected"]) == ("", {})
    assert told["figures"]["gallery"] == {
        "images": 25,
        "identities": 4,
        "cameras": 2,
        "junk": 1,
        "distractors": 1,
        "other files": 1,
    }
    (found,) = (finding for finding in told["findings"] if finding["level"] == "warning")
    assert found.pop("advice").startswith("left out, as not named like 0002_c1s1_")
    notes = [str(copy / QUERY / "notes.txt")]
    assert found == {
        "level": "warning",
        "what": "files with other names",
        "count": 1,
        "examples": notes,
    }


def test_no_query_has_a_match(copy, capsys):
    for folder in (QUERY, GALLERY):
        for path in (copy / folder).glob("*_c2*"):
            path.unlink()
    status, findings, report = examine(capsys, copy)
    assert status == 1
    problem = "evaluation would be meaningless: every query person is seen by one camera only"
    assert f"problem: {problem}" in report
    assert findings["queries without a match in another camera"][:2] == ("warning", 4)
    assert findings["test identities under one camera only"][:2] == ("warning", 4)
    for path in (copy / QUERY).glob("*.jpg"):
        path.rename(path.with_name(path.name.replace("00", "77", 1)))
    assert "meaningless: no query person is in the gallery" in examine(capsys, copy)[2]


def test_one_person_cannot_be_trained_on(copy, capsys):
    for path in (copy / TRAIN).glob("000[2-8]*"):
        path.unlink()
    status, findings, report = examine(capsys, copy)
    assert status == 1 and "problem: training is impossible with one person" in report
    assert len(wrong(findings)) == 1


def test_splits_that_are_missing(copy, capsys):
    aside = (copy / TRAIN).rename(copy / "aside")
    status, findings, report = examine(capsys, copy)
    assert status == 0
    assert list(wrong(findings)) == ["no training split: can be evaluated, not trained on"]
    assert row(report, "images") == ["-", "8", "25"]
    shutil.rmtree(copy / QUERY)
    status, findings, report = examine(capsys, copy)
    assert status == 1 and "problem: no training split, and not both query and gallery" in report
    aside.rename(copy / TRAIN)
    status, findings, _ = examine(capsys, copy)
    assert status == 0
    assert list(wrong(findings)) == ["not both query and gallery: can be trained on, not evaluated"]
    (copy / QUERY).mkdir()  # there and empty is not what anybody wants
    status, _, report = examine(capsys, copy)
    assert status == 1 and f"problem: {copy}/query: no image named like" in report


def test_market_1501_is_compared_with_where_apt(dataset, copy, tmp_path, capsys):
    status, findings, report = examine(capsys, copy.rename(tmp_path / "My-Market"))
    assert status == 0 and row(report, "images") == ["48", "12,936", "8", "3,368", "25", "15,913"]
    assert row(report, "identities") == ["8", "751", "4", "750", "4", "-"]
    assert row(report, "junk") == ["0", "-", "0", "-", "1", "3,819"]
    (what,) = wrong(findings)
    expected = "looks like Market-1501: 12,936 training images expected, 48 found; 751 training id"
    assert what.startswith(expected) and what.count(" expected, ") == 9
    lists = tmp_path / "lists"  # 751 identities, and a name that says nothing
    lists.mkdir()
    image = next((dataset / TRAIN).glob("*.jpg"))
    lines = [(image, person, camera) for person in range(1, 752) for camera in (1, 2)]
    write_list(lists / "train.csv", lines)
    expected = "12,936 training images expected, 1,502 found; 6 training cameras expected, 2 found"
    assert f"warning: looks like Market-1501: {expected}; if" in examine(capsys, lists)[2]
    write_list(lists / "train.csv", [(image, person, person % 6) for person in range(1, 13)])
    assert "Market-1501" not in examine(capsys, lists)[2]  # many sets have six cameras


def test_csv_lists(dataset, tmp_path, capsys):
    images = tmp_path / "all"
    images.mkdir()
    lists = {"train": [], "query": [], "gallery": []}
    for number, (name, folder) in enumerate(zip(lists, (TRAIN, QUERY, GALLERY), strict=True)):
        for path in sorted((dataset / folder).glob("*.jpg")):
            shutil.copy(path, images / f"{number}{path.stem}.image")  # names do not matter here
            person, camera = re.match(r"(-?\d+)_c(\d)", path.name).groups()
            lists[name].append((f"all/{number}{path.stem}.image", person, camera))
        write_list(tmp_path / f"{name}.csv", lists[name])
    status, findings, report = examine(capsys, tmp_path)
    assert status == 0 and not wrong(findings)
    assert row(report, "images") == ["48", "8", "25"]
    assert row(report, "junk") == ["0", "0", "1"]
    assert row(report, "other files") == ["0", "0", "0"]
    (images / "10009_c1s1_000000_00.image").write_bytes(b"")
    write_list(tmp_path / "gallery.csv", [*lists["gallery"], lists["train"][0]])
    status, findings, _ = examine(capsys, tmp_path)
    assert wrong(findings) == {
        "unreadable images": ("problem", 1),
        "identities in training and test": ("problem", 1),
        "training images in query or gallery": ("problem", 1),
        # The person of training that came in.
        "test identities under one camera only": ("warning", 1),
    }
    # The others are examined nevertheless.
    write_list(tmp_path / "gallery.csv", [("nowhere.jpg", 9, 1)])
    status, findings, report = examine(capsys, tmp_path)
    assert status == 1 and "problem: " in report and "gallery.csv, line 2: " in report
    assert row(report, "images") == ["48", "8", "-"]


def test_nothing_to_examine(tmp_path, capsys):
    assert "no such file or folder" in refused(capsys, tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        expected = f"{path}: no data set in it; --dataset must name a folder that has bounding_box"
        assert expected in refused(capsys, path)
    (tmp_path / TRAIN).mkdir()
    assert "bounding_box_train: no image named like" in refused(capsys, tmp_path)
    assert "--batch_images" in refused(capsys, tmp_path, "--batch_images", 0)


def test_nothing_to_examine_as_json(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    told = [str(tmp_path / "set"), "--json", "--output_dir", str(tmp_path / "page")]
    assert cli.run(doctor.main, told) == 2
    out, err = capsys.readouterr()
    values = json.loads(out)
    assert values["dataset"] == told[0] and err == f"error: {values['error']}\n"
    assert json.loads((tmp_path / "page" / "doctor.json").read_text()) == values
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["doctor.json"]


def doctor_without_rights(dataset, place):
    """Run it as whoever may not read a place: the superuser gives up the right to read all."""
    user = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    place.chmod(0)
    command = [*user, sys.executable, "-m", "mgn.doctor", dataset, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    place.chmod(0o700)
    return done


@pytest.mark.parametrize("place", [QUERY, "train.csv", "."])
def test_what_may_not_be_read(copy, place):
    if place == "train.csv":
        (copy / TRAIN).rename(copy / "aside")
        write_list(copy / place, [])
    done = doctor_without_rights(copy, copy / place)
    told = json.loads(done.stdout)
    if place == ".":
        assert done.returncode == 2 and told["error"].endswith(FORBIDDEN)
        return
    assert done.returncode == 1 and (told["problems"], len(told["figures"])) == (1, 2)
    assert f"{copy / place}: {FORBIDDEN}" in [finding["what"] for finding in told["findings"]]


def test_a_split_of_folders_of_people_that_may_not_be_read(tmp_path):
    for i, name in enumerate(("train/bob", "train/eve", "query/bob", "gallery/bob")):
        (tmp_path / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name / f"c{i}.png"), np.full((8, 4, 3), 50 * i, np.uint8))
    done = doctor_without_rights(tmp_path, tmp_path / "query")
    told = [finding["what"] for finding in json.loads(done.stdout)["findings"]]
    assert f"{tmp_path / 'query'}: {FORBIDDEN}" in told


def test_near_copies_of_two_identities(copy, capsys):
    """An image saved again under another number; one of the same number is no finding."""
    first = sorted((copy / TRAIN).glob("*.jpg"))[0]
    image = cv2.imread(str(first))
    other = copy / TRAIN / "0777_c1s1_000000_00.jpg"
    cv2.imwrite(str(other), image, [cv2.IMWRITE_JPEG_QUALITY, 96])
    third = first.with_name(f"{first.name[:4]}_c1s1_777777_00.jpg")
    cv2.imwrite(str(third), image, [cv2.IMWRITE_JPEG_QUALITY, 98])
    _, findings, _ = examine(capsys, copy)
    level, number, examples = findings[inspection.NEAR_COPIES]
    assert (level, number) == ("warning", 2)
    assert {str(first) in example for example in examples} == {True, False}
    assert all(str(other) in example for example in examples)


def test_the_page(copy, tmp_path, capsys):
    dark = copy / GALLERY / "0009_c2s1_777777_00.jpg"
    image = cv2.imread(str(copy / QUERY / NINTH))
    cv2.imwrite(str(dark), image // 8)
    page = tmp_path / "page"
    told = [str(copy), "--output_dir", str(page)]
    assert cli.run(doctor.main, told) == 0
    assert sorted(path.name for path in page.iterdir()) == ["doctor.html", "doctor.json"]
    values = json.loads((page / "doctor.json").read_text())
    titles = ["smallest images", "most blurred images", "darkest images"]
    assert {*values["suspects"]} == {inspection.NEAR_COPIES, *titles, "camera 1", "camera 2"}
    assert values["suspects"]["darkest images"][0]["path"] == str(dark)
    text = (page / "doctor.html").read_text()
    assert text.count("<figure>") == sum(len(found) for found in values["suspects"].values())
    assert "darkest images" in text and "<script" not in text
    before = (page / "doctor.html").stat().st_mtime_ns
    assert "has doctor.html already" in refused(capsys, *told)
    assert (page / "doctor.html").stat().st_mtime_ns == before
    assert cli.run(doctor.main, [*told, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == values


def test_help_is_quick_and_nothing_needs_tensorflow(copy):
    command = [sys.executable, "-X", "importtime", "-m", "mgn.doctor"]
    seconds = []
    for _ in range(3):  # the best of three: another process may have the machine
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - start)
    assert done.stdout.startswith("usage: python -m mgn.doctor ") and min(seconds) < 0.5
    assert not re.search(r"\| +(tensorflow|torch|numpy|cv2)$", done.stderr, re.MULTILINE)
    done = subprocess.run([*command, copy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n0 problems, 0 warnings\n")
    assert not re.search(r"\| +(tensorflow|torch)$", done.stderr, re.MULTILINE)
