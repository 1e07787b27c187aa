"""The file of smaller vectors: what is chosen from it, against plain formulas; and what is none."""

import json

import numpy as np
import pytest

from mgn.metrics import smaller
from mgn.metrics.reduction import Origin, Reductions, choose, read_reductions, write_reductions
from mgn.system.arrays import write_values
from mgn.system.errors import InputError

RNG = np.random.default_rng(0)
FEATURES = smaller.unit(np.float32(RNG.normal(size=(40, 2048)) + 0.5))
SCORES = {"mAP": 0.5, "rank1": 0.25, "recall10": 0.75}


@pytest.fixture
def path(tmp_path):
    origin = Origin("abc", FEATURES[0], True, "a data set", len(FEATURES))
    fitted = smaller.principal_axes(FEATURES)
    heads = {"first": [0], "two": [1, 7]}
    scores = {"float32": SCORES, "PCA 8, float32": {**SCORES, "mAP": 0.4}}
    scores["two, float32"] = {**SCORES, "mAP": 0.3}
    write_reductions(tmp_path / "a.npz", Reductions(origin, fitted, heads, scores))
    return tmp_path / "a.npz"


def test_what_was_written_is_read(path):
    made = read_reductions(path, "here")
    assert made.origin._replace(probe=0) == ("abc", 0, True, "a data set", 40)
    assert np.array_equal(made.origin.probe, FEATURES[0])
    assert made.heads == {"first": [0], "two": [1, 7]} and made.scores["float32"] == SCORES
    assert made.fitted.axes.shape == (39, 2048) and made.fitted.axes.dtype == np.float32
    with pytest.raises(InputError, match="exists"):
        write_reductions(path, made)


@pytest.mark.parametrize("name", ["PCA 8", "PCA 8, float32", " PCA 8"])
def test_axes_by_the_name_of_the_row(path, name):
    made = choose(read_reductions(path, "here"), name, "here")
    assert (made.name, made.size, made.heads) == ("PCA 8", 8, None)
    assert (made.scores["mAP"], made.whole["mAP"]) == (0.4, 0.5)
    stored = {name: array.astype(float) for name, array in np.load(path).items() if array.ndim}
    for row, got in zip(FEATURES, made(FEATURES), strict=True):
        expected = [
            np.dot(row - stored["centre"], stored["axes"][i]) / stored["spread"][i]
            for i in range(8)
        ]
        np.testing.assert_allclose(got, expected / np.linalg.norm(expected), rtol=1e-9)
    assert made(FEATURES).dtype == np.float64


def test_any_number_of_axes_and_only_measured_ones_have_scores(path):
    made = read_reductions(path, "here")
    for size in (1, 39):
        chosen = choose(made, f"PCA {size}", "here")
        assert chosen(FEATURES).shape == (40, size) and chosen.scores is None


def test_heads_by_the_name_of_the_row(path):
    made = choose(read_reductions(path, "here"), "two, float32", "here")
    assert (made.size, made.fitted, made.scores["mAP"]) == (512, None, 0.3)
    kept = np.concatenate([FEATURES[:, 256:512], FEATURES[:, 1792:]], axis=1, dtype=float)
    expected = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(made(FEATURES), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("PCA 40", "has sizes from 1 to 39 (it was fitted to 40 gallery images)"),
        ("PCA 0", "has sizes from 1 to 39"),
        ("PCA -1", "has no 'PCA -1'; choose from 'first', 'two', and 'PCA 1' to 'PCA 39'"),
        ("8", "has no '8'"),
        ("three", "has no 'three'"),
        ("PCA 8, int8", "'PCA 8, int8' is how vectors are stored, and a graph gives float32"),
        ("bits, the first 100 again by float32", "is how vectors are stored"),
    ],
)
def test_what_there_is_not(path, name, problem):
    with pytest.raises(InputError) as error:
        choose(read_reductions(path, "here"), name, "here")
    assert str(error.value).startswith("here: ") and problem in str(error.value)


def changed(values, **others):
    return values | {name: np.asarray(value) for name, value in others.items()}


def about(values, **others):
    return changed(values, about=json.dumps(json.loads(str(values["about"])) | others))


WRONG = {
    "another format": lambda v: changed(v, format="mgn map 1"),
    "no format": lambda v: {name: v[name] for name in v if name != "format"},
    "no axes": lambda v: {name: v[name] for name in v if name != "axes"},
    "NaN": lambda v: changed(v, axes=v["axes"] * np.nan),
    "infinity": lambda v: changed(v, centre=v["centre"] + np.inf),
    "a deviation of 0": lambda v: changed(v, spread=v["spread"] * 0),
    "a deviation below 0": lambda v: changed(v, spread=-v["spread"]),
    "fewer deviations": lambda v: changed(v, spread=v["spread"][:5]),
    "a smaller centre": lambda v: changed(v, centre=v["centre"][:256]),
    "one row": lambda v: changed(v, axes=v["axes"][0]),
    "float64": lambda v: changed(v, axes=v["axes"].astype(float)),
    "text": lambda v: changed(v, axes=np.full((39, 2048), "a")),
    "about nothing": lambda v: changed(v, about="{}"),
    "no JSON": lambda v: changed(v, about="{"),
    "a list": lambda v: changed(v, about="[]"),
    "head 8": lambda v: about(v, heads={"all": [7, 8]}),
    "a head twice": lambda v: about(v, heads={"all": [1, 1]}),
    "no head": lambda v: about(v, heads={"none": []}),
    "half a head": lambda v: about(v, heads={"half": [0.5]}),
    "scores without a number": lambda v: about(v, scores={"float32": {"mAP": None}}),
    "scores without whole vectors": lambda v: about(v, scores={}),
    "scores of NaN": lambda v: about(v, scores={"float32": {**SCORES, "mAP": float("nan")}}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_is_none(path, wrong):
    broken = path.with_name("b.npz")
    with np.load(path) as stored:
        write_values(broken, WRONG[wrong]({**stored}))
    with pytest.raises(InputError, match=r"^here: not a complete reduction\.npz of evaluate\.py"):
        read_reductions(broken, "here")


def test_files_of_other_kinds_and_cut_ones(path):
    contents = path.read_bytes()
    for i, wrong in enumerate((b"", b"hello", contents[:1000], contents[:-100], contents[99:])):
        broken = path.with_name(f"{i}.npz")
        broken.write_bytes(wrong)
        with pytest.raises(InputError, match=r"^here: not a complete reduction\.npz"):
            read_reductions(broken, "here")
    np.save(path.with_name("x.npy"), FEATURES)
    for other in (path.with_name("x.npy"), path.parent, path.with_name("none.npz")):
        with pytest.raises(InputError, match=r"^here: not a complete reduction\.npz"):
            read_reductions(other, "here")
    flipped = bytearray(contents)
    flipped[len(contents) // 2] ^= 0xFF
    path.with_name("flipped.npz").write_bytes(bytes(flipped))
    with pytest.raises(InputError, match=r"^here: not a complete reduction\.npz"):
        read_reductions(path.with_name("flipped.npz"), "here")
