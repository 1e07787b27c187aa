"""Several training sets as one: identities apart, by a brute-force count; overlaps refused."""

import shutil

import pytest

from mgn.data.joining import check_apart, join, names_of
from mgn.data.records import Record, Split, read_split
from mgn.system.errors import InputError


def split(*numbers, junk=0, ignored=0):
    """Of (person, camera) each."""
    records = [Record(f"{i}.jpg", *pair) for i, pair in enumerate(numbers)]
    return Split(tuple(records), junk, ignored)


def test_an_identity_of_one_set_is_none_of_another():
    one = split((2, 1), (7, 6), (7, 1), junk=3)
    other = split((7, 6), (1, 0), (2, 1), ignored=2)
    third = split((7, 6), (7, 1))
    joined = join([one, other, third])
    sources = [*[0] * 3, *[1] * 3, *[2] * 2]
    before = [*one.records, *other.records, *third.records]
    assert [r.path for r in joined.records] == [r.path for r in before]
    for i, first in enumerate(joined.records):
        for j, second in enumerate(joined.records):
            together = sources[i] == sources[j]
            same = together and before[i].person == before[j].person
            assert (first.person == second.person) == same
            same = together and before[i].camera == before[j].camera
            assert (first.camera == second.camera) == same
    assert (joined.junk, joined.ignored) == (3, 2)


def test_one_set_stays_as_it_is(dataset):
    alone = read_split(dataset, "train")
    assert join([alone]) == alone


def test_names_are_folders_or_paths_where_two_are_alike(tmp_path):
    market, duke, copy = tmp_path / "a" / "market", tmp_path / "duke", tmp_path / "b" / "market"
    assert names_of([market, duke]) == ["market", "duke"]
    assert names_of([market, duke, copy]) == [str(market), "duke", str(copy)]


def test_a_set_given_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"--dataset .*market: given twice"):
        names_of(["market", tmp_path / "x" / ".." / "market"])


@pytest.fixture
def images(dataset, tmp_path):
    """Training and gallery images of a set, and of another that shares none with it."""
    ours = {name: read_split(dataset, name).paths for name in ("train", "gallery")}
    theirs = []
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(bytes([i]))
        theirs.append(str(tmp_path / f"{i}.jpg"))
    return ours, theirs


def test_sets_apart_pass_and_what_one_set_repeats_is_its_own(images):
    ours, theirs = images
    twice = [*theirs, theirs[0]]
    check_apart({"a": ours["train"], "b": twice}, {"a": ours["gallery"], "b": twice})


@pytest.mark.parametrize(
    ("kind", "problem"), [("train", "data sets overlap"), ("gallery", "training and test overlap")]
)
def test_an_image_under_another_name_in_the_other_set_is_refused(images, tmp_path, kind, problem):
    ours, theirs = images
    copy = shutil.copy(ours[kind][-1], tmp_path / "0009_c1s1_000001_00.jpg")
    training = {"a": ours["train"], "b": [*theirs, str(copy)]}
    with pytest.raises(InputError, match=problem) as refusal:
        check_apart(training, {"a": ours["gallery"]})
    assert ours[kind][-1] in str(refusal.value) and str(copy) in str(refusal.value)
