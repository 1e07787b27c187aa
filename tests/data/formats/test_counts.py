"""Which published data set figures are like, and what differs."""

import copy

import pytest

from mgn import doctor
from mgn.data.formats import counts
from mgn.system import cli

from .sets import msmt17


def published(name, variant=0):
    """The figures of a published set, as a reader would find them."""
    return copy.deepcopy(counts.PUBLISHED[name][variant].figures)


def test_a_few_images_are_missing(tmp_path):
    found = published("msmt17")
    (tmp_path / "mask_train_v2").mkdir()
    assert counts.compare(tmp_path, "msmt17", found) == ("MSMT17 V2", found, [])
    found["train"]["images"] = 32_600
    title, _, differing = counts.compare(tmp_path, "msmt17", found)
    assert title == "MSMT17 V2"
    assert differing == ["32,621 training images expected, 32,600 found"]
    (tmp_path / "mask_train_v2").rename(tmp_path / "train")
    assert counts.compare(tmp_path, "msmt17", found)[0] == "MSMT17 V1"


@pytest.mark.parametrize("variant", [0, 1])
def test_variants_are_told_by_name_or_figures(tmp_path, variant):
    found = published("cuhk03-np", variant)
    title = ("CUHK03-NP labeled", "CUHK03-NP detected")
    assert counts.compare(tmp_path, "cuhk03-np", found)[::2] == (title[variant], [])
    (tmp_path / "labeled").mkdir()
    differing = counts.compare(tmp_path / "labeled", "cuhk03-np", found)[2]
    wrong = "7,368 training images expected, 7,365 found"
    assert differing[:1] == ([wrong] if variant else [])


def test_own_data_in_a_common_layout_is_like_nothing(tmp_path):
    few = {"train": {"images": 9, "identities": 3, "cameras": 6, "junk": 0}}
    assert counts.compare(tmp_path, "market1501", few) == ("", {}, [])
    assert counts.compare(tmp_path, "folders", few) == ("", {}, [])


def test_the_doctor_says_it(tmp_path, capsys):
    assert cli.run(doctor.main, [str(msmt17(tmp_path))]) == 1  # its images are empty files
    report = capsys.readouterr().out
    assert (
        "warning: looks like MSMT17 V2: 32,621 training images expected, 3 found; 1,041" in report
    )
    assert "ok: no identities in training and test" in report
