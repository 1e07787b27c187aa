"""Smaller vectors of exports of a small network, against the formula in float64, by the scripts."""

import json
from contextlib import closing

import numpy as np
import pytest
import shallow
from benchmarks.options import tiny_set
from conftest import SMALL, refused, relative, run, write_checkpoint

import evaluate
import export_pb
import export_pb_with_pre_post
import export_tf_serving_model
import export_tf_serving_with_pre_post
from mgn import search
from mgn.data import probe
from mgn.data.demo import draw_image
from mgn.export import __main__ as describing
from mgn.inference import load_embedder
from mgn.inference.embedder import model_hash
from mgn.inference.exported import metadata_of, read_graph_def
from mgn.inference.graph import PLAIN, PRE_POST
from mgn.system.arrays import write_values

pytestmark = pytest.mark.usefixtures("shallow_network")
IMAGES = [draw_image(1, person, 1 + person % 3, 0) for person in range(1, 7)]


def by_hand(stored, whole, size):
    """Centre, divide by the deviations, length 1: float64, of the file's arrays."""
    centre, axes, spread = (np.float64(stored[name]) for name in ("centre", "axes", "spread"))
    whole = np.float64(whole) / np.linalg.norm(np.float64(whole), axis=1, keepdims=True)
    made = ((whole - centre) @ axes[:size].T) / spread[:size]
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def heads_by_hand(whole, heads):
    made = np.concatenate([whole[:, 256 * i : 256 * i + 256] for i in heads], axis=1, dtype=float)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def whole(small_checkpoint):
    """The checkpoint's embeddings with the mirror image, and of the image alone."""
    with closing(load_embedder(small_checkpoint)) as embed:
        return embed(IMAGES), embed(IMAGES, flip=False)


@pytest.fixture(scope="module")
def export(small_checkpoint, small_reduction, tmp_path_factory):
    """A function of a script and flags: its file, made once."""
    made = {}

    def made_by(script, *flags):
        key = script.__name__, *flags
        if key not in made:
            path = tmp_path_factory.mktemp("reduced") / "x.pb"
            given = ["--checkpoint", small_checkpoint, "--pb_path", path, *flags]
            assert run(script, *given, "--reduce_with", small_reduction) == 0
            made[key] = path
        return made[key]

    return made_by


FORMS = [
    (export_pb, []),
    (export_pb_with_pre_post, []),
    (export_pb_with_pre_post, ["--input", "jpeg"]),
]


@pytest.mark.parametrize(("script", "flags"), FORMS)
def test_axes_are_the_formula_in_every_form(script, flags, export, whole, small_reduction):
    """And the mirror image is added before the vector is made smaller, in every form."""
    stored = np.load(small_reduction)
    path = export(script, *flags, "--embedding_size", "24")
    with closing(load_embedder(path)) as embed:
        assert embed.result.shape.as_list() == [None, 24] and embed.result.dtype == np.float32
        for flip, expected in zip((True, False), whole, strict=True):
            got = embed(IMAGES, flip=flip)
            assert relative(got, by_hand(stored, expected, 24)) <= 1e-5
        assert relative(embed(IMAGES[:1]), by_hand(stored, whole[0][:1], 24)) <= 1e-5
        assert relative(by_hand(stored, whole[0], 24), by_hand(stored, whole[1], 24)) > 1e-3


def test_what_the_graph_itself_gives(export, whole, small_reduction):
    """A program that knows no tensor but the two of the contract; of length 1, plain too."""
    stored = np.load(small_reduction)
    for script, flip in ((export_pb, False), (export_pb_with_pre_post, True)):
        path = export(script, "--embedding_size", "24")
        with closing(load_embedder(path)) as embed:
            prepared = np.stack(embed.prepare(IMAGES))
            names = {PLAIN: "person_embedding:0", PRE_POST: "result_embedding:0"}
            got = embed.session.run(names[embed.form], {"image_tensor:0": prepared})
        assert np.linalg.norm(got, axis=1) == pytest.approx(1, abs=1e-6)
        assert relative(got, by_hand(stored, whole[0 if flip else 1], 24)) <= 1e-5


def test_heads_are_those_of_the_row(export, whole):
    name = "heads of parts, float32"
    for script in (export_pb, export_pb_with_pre_post):
        path = export(script, "--reduce_to", name)
        with closing(load_embedder(path)) as embed:
            got = embed(IMAGES)
        assert got.shape == (6, 1280)
        assert relative(got, heads_by_hand(whole[0], [3, 4, 5, 6, 7])) <= 1e-5
    about = metadata_of(read_graph_def(path).node)["smaller"]
    assert about["heads"] == ["f0_p2", "f1_p2", "f0_p3", "f1_p3", "f2_p3"]
    assert (about["name"], about["size"]) == ("heads of parts", 1280)


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_smaller_types_are_near_the_formula(precision, export, whole, small_reduction):
    """The reduction itself stays in float32, and the price of int8 is that of smaller vectors."""
    flags = ["--precision", precision, "--embedding_size", "24"]
    if precision == "int8":
        flags += ["--calibration_images", "16", "--int8_bound", "0.9"]
    path = export(export_pb_with_pre_post, *flags)
    with closing(load_embedder(path)) as embed:
        fed = {embed.input: np.stack(embed.prepare(IMAGES))}
        got, own = embed.session.run([embed.result, "whole_embedding:0"], fed)
    expected = by_hand(np.load(small_reduction), whole[0], 24)
    cosines = (got * expected).sum(axis=1)
    assert cosines.min() > (0.9 if precision == "int8" else 0.999)
    assert relative(got, expected) > 1e-5  # another computation
    assert relative(got, by_hand(np.load(small_reduction), own, 24)) <= 1e-5
    if precision == "int8":
        about = metadata_of(read_graph_def(path).node)
        assert about["smaller"]["size"] == 24 and about["int8"]["cosine"] < 1


@pytest.mark.parametrize(
    ("script", "serve"),
    [
        (export_pb, export_tf_serving_model),
        (export_pb_with_pre_post, export_tf_serving_with_pre_post),
    ],
)
def test_a_saved_model_gives_the_same(script, serve, export, tmp_path):
    path = export(script, "--embedding_size", "24")
    assert run(serve, "--pb_path", path, "--export_path", tmp_path / "served") == 0
    with (
        closing(load_embedder(path)) as source,
        closing(load_embedder(tmp_path / "served")) as made,
    ):
        for flip in (True, False):
            assert relative(made(IMAGES, flip=flip), source(IMAGES, flip=flip)) <= 1e-5
    described = json.loads((tmp_path / "served" / "1" / "assets.extra" / "mgn.json").read_text())
    assert described["smaller"]["name"] == "PCA 24"


def test_a_file_says_what_it_gives_and_what_that_costs(
    export, small_reduction, small_checkpoint, capsys
):
    rows = json.loads((small_reduction.parent / "sizes.json").read_text())["sizes"]
    rows = {row["name"]: row for row in rows}
    path = export(export_pb, "--reduce_to", "PCA 32")
    assert run(describing, path) == 0
    told = capsys.readouterr().out
    small, large = rows["PCA 32, float32"], rows["float32"]
    assert "smaller PCA 32: 32 numbers of length 1, fitted to 36 gallery images" in told
    assert f"mAP {small['mAP']:.4f} ({large['mAP']:.4f} whole)" in told
    assert f"rank@1 {small['rank1']:.4f} ({large['rank1']:.4f} whole)" in told
    assert (
        f"on drawn, of image and mirror image, by model {model_hash(small_checkpoint)[:12]}" in told
    )
    assert "person_embedding: float32 [N, 32]" in told
    assert run(describing, export(export_pb, "--embedding_size", "24")) == 0
    assert "price   not measured at this size" in capsys.readouterr().out


@pytest.mark.usefixtures("nothing_drawn")
def test_it_scores_as_its_row_of_the_table(small_checkpoint, tmp_path, monkeypatch):
    """The way of a user, from the table to the score of the file."""
    monkeypatch.chdir(tmp_path)
    tiny_set(tmp_path / "set", 3)
    given = ["--dataset", tmp_path / "set", "--output_dir"]
    assert run(evaluate, "--model", small_checkpoint, "--sizes", *given, tmp_path / "a") == 0
    rows = json.loads((tmp_path / "a" / "sizes.json").read_text())["sizes"]
    rows = {row["name"]: row for row in rows}
    name, path = "PCA 32, float32", tmp_path / "x.pb"
    asked = ["--checkpoint", small_checkpoint, "--pb_path", path, "--input", "uint8"]
    with_file = ["--reduce_with", tmp_path / "a" / "reduction.npz", "--reduce_to", name]
    assert run(export_pb_with_pre_post, *asked, *with_file) == 0
    assert run(evaluate, "--model", path, *given, tmp_path / "b") == 0
    scores = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert scores["mAP"] == pytest.approx(rows[name]["mAP"], abs=5e-5)
    assert scores["rank@1"] == pytest.approx(rows[name]["rank1"], abs=5e-5)
    assert rows[name]["mAP"] != pytest.approx(rows["float32"]["mAP"], abs=1e-3)


@pytest.fixture(scope="module")
def another_checkpoint(tmp_path_factory):
    """Of the same options and other weights."""
    arrays = shallow.arrays(SMALL)
    name = "p2/layer4/0/conv1/weight"
    arrays[name] = arrays[name][..., ::-1].copy()
    prefix = tmp_path_factory.mktemp("another") / "model"
    write_checkpoint(prefix, arrays, SMALL)
    return prefix


@pytest.mark.parametrize("script", [export_pb, export_pb_with_pre_post])
def test_the_file_of_another_model_is_refused(
    script, another_checkpoint, small_reduction, tmp_path, capsys
):
    path = tmp_path / "x.pb"
    asked = ["--checkpoint", another_checkpoint, "--pb_path", path]
    line = refused(capsys, script, *asked, "--reduce_with", small_reduction, "--embedding_size", 8)
    assert f"--reduce_with {small_reduction}: made for another model (" in line
    assert "apart); make one with evaluate.py --model" in line
    assert not path.exists()


def changed(reduction, path, **values):
    """A copy of the file with other arrays, or with another entry `about`."""
    stored = {**np.load(reduction)}
    about = json.loads(str(stored["about"])) | values.pop("about", {})
    write_values(path, stored | {"about": json.dumps(about)} | values)
    return path


def test_one_model_is_known_by_its_hash_or_by_what_it_embeds(
    small_checkpoint, small_reduction, tmp_path, capsys
):
    """A file made with an export of the checkpoint has another hash, and the same probe."""
    by_export = changed(small_reduction, tmp_path / "a.npz", about={"model": "of a .pb"})
    asked = ["--checkpoint", small_checkpoint, "--embedding_size", 8, "--pb_path"]
    assert run(export_pb, *asked, tmp_path / "a.pb", "--reduce_with", by_export) == 0
    unknown = np.zeros(0, np.float32)
    no_probe = changed(by_export, tmp_path / "b.npz", probe=unknown)
    line = refused(capsys, export_pb, *asked, tmp_path / "b.pb", "--reduce_with", no_probe)
    assert "cannot tell whether it was made for this model; make one with" in line
    old = changed(small_reduction, tmp_path / "c.npz", probe=unknown)
    assert run(export_pb, *asked, tmp_path / "c.pb", "--reduce_with", old) == 0


def test_a_threshold_of_whole_vectors_is_not_one_of_smaller(
    small_checkpoint, export, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with closing(load_embedder(small_checkpoint)) as embed:
        seen = probe.as_text(probe.embedded_by(embed))
    claim = {"distance": 0.9, "gallery_identities": 2, "gallery_images": 2}
    values = {"format": "mgn threshold 1", "max_false_matches": 0.1, "confidence": 0.9}
    values |= {"pair": claim, "open_set": claim, "no_flip": False, "normalise_parts": False}
    values["model"] = {"hash": model_hash(small_checkpoint), "probe": seen}
    (tmp_path / "threshold.json").write_text(json.dumps(values))
    (tmp_path / "images").mkdir()
    probe.write(tmp_path / "images" / "a.png")
    given = ["--gallery", "images", "--query", "images/a.png", "--threshold", "threshold.json"]
    path = export(export_pb_with_pre_post, "--embedding_size", "24")
    line = refused(capsys, search, "--model", path, *given)
    assert "made for another model (2048 numbers an embedding, and this one has 24)" in line
    assert run(search, "--model", small_checkpoint, *given) == 0
    with closing(load_embedder(path)) as embed:  # one of its own, by another file of it
        seen = probe.as_text(probe.embedded_by(embed))
    values["model"] = {"hash": "of a SavedModel", "probe": seen}
    (tmp_path / "threshold.json").write_text(json.dumps(values))
    assert run(search, "--model", path, *given) == 0


WRONG = [
    (["--embedding_size", "8"], "--embedding_size: only with --reduce_with FILE"),
    (["--reduce_to", "PCA 8"], "--reduce_to: only with --reduce_with FILE"),
    (["--reduce_with"], "choose a reduction; add --embedding_size N, or --reduce_to"),
    (["--embedding_size", "8", "--reduce_to", "PCA 8", "--reduce_with"], "give one"),
    (["--embedding_size", "0", "--reduce_with"], "'0' is not a whole number above 0"),
    (["--embedding_size", "2.5", "--reduce_with"], "'2.5' is not a whole number above 0"),
    (["--embedding_size", "many", "--reduce_with"], "'many' is not a whole number above 0"),
    (["--embedding_size", "36", "--reduce_with"], "has sizes from 1 to 35 (it was fitted to 36"),
    (["--embedding_size", "2048", "--reduce_with"], "has sizes from 1 to 35"),
    (["--reduce_to", "PCA 0", "--reduce_with"], "has sizes from 1 to 35"),
    (["--reduce_to", "branch p4", "--reduce_with"], "has no 'branch p4'; choose from 'heads of"),
    (["--reduce_to", "", "--reduce_with"], "has no ''"),
    (["--reduce_to", "PCA", "--reduce_with"], "has no 'PCA'"),
    (["--reduce_to", "PCA 8, int8", "--reduce_with"], "is how vectors are stored"),
    (["--reduce_to", "bits", "--reduce_with"], "is how vectors are stored"),
    (["--embedding_size", "8", "--reduce_with", "none.npz"], "none.npz: no such file"),
    (["--embedding_size", "8", "--reduce_with", "."], "not a complete reduction.npz"),
]


@pytest.mark.parametrize(("flags", "problem"), WRONG)
def test_wrong_flags_are_one_line(
    flags, problem, small_checkpoint, small_reduction, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    flags = [*flags, small_reduction] if flags[-1] == "--reduce_with" else flags
    given = ["--checkpoint", small_checkpoint, "--pb_path", "x.pb"]
    for script in (export_pb, export_pb_with_pre_post):
        assert problem in refused(capsys, script, *given, *flags)
    assert not (tmp_path / "x.pb").exists()
