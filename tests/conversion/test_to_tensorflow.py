"""Conversions end to end, proven; what is refused, and that nothing is written then."""

import json
import re

import cv2
import mgn_reid
import numpy as np
import pytest
import shallow
import tensorflow.compat.v1 as tf
import torch
from conftest import REFERENCE, relative, save_torch, seeded, torch_network
from seeded import read_keys

from conversion.test_headorder import remembering, renumbered
from mgn import inference, weights
from mgn.config import NetworkOptions
from mgn.conversion import parity, report, to_pytorch, to_tensorflow
from mgn.network import HEADS
from mgn.system.errors import CheckError, InputError
from mgn.weights import checkpoints, coverage, families
from mgn.weights.families import to_tf_layout, to_torch_layout
from mgn.weights.naming import mgn_pytorch_key
from mgn.weights.variables import assign_some

SMALL = {"height": 96, "width": 32}  # where the size of images is not the point
small = pytest.mark.usefixtures("shallow_conversion")  # nor that of the network


def bare(state_dict):
    """Without counters, as PyTorch 0.4.0 wrote them; a new dictionary."""
    return {k: v for k, v in state_dict.items() if not k.endswith("num_batches_tracked")}


def converted(path, prefix, **options):
    return to_tensorflow.convert(to_tensorflow.read(path, **options), prefix)


def test_our_pytorch_network_is_mgn_pytorchs(state_dict):
    network = torch_network(state_dict, 751).eval()
    images = torch.from_numpy(
        np.random.RandomState(7).standard_normal((2, 3, 384, 128)).astype(np.float32)
    )
    for pool in ("avg", "max"):
        network.pool = pool
        with torch.no_grad():
            embedding, _, logits = network(images)
        stored = np.load(REFERENCE / f"forward_seathiefwang_{pool}.npz")
        assert relative(embedding, stored["embedding"]) <= 1e-5
        assert relative(torch.stack(logits), stored["logits"]) <= 1e-5


@pytest.mark.parametrize(
    ("keys", "reduction"), [("seathiefwang", "relu"), ("lwplw_prelu", "prelu")]
)
def test_there_and_back_is_bit_exact(tmp_path, keys, reduction, request):
    """Of the whole network with ReLU, of the small one with PReLU."""
    whole = reduction == "relu" or shallow.WHOLE
    if not whole:
        request.getfixturevalue("shallow_conversion")
    arrays = dict(seeded(keys, 10))
    count = len(bare(arrays))
    assert not whole or count == {"relu": 571, "prelu": 579}[reduction]
    odd = arrays["p2.1.0.bn1.bias"].copy()
    last_bit = np.float32(1) + np.float32(2**-23)
    odd[:4] = -0.0, 1e-42, last_bit, 3e38  # a signed zero, a denormal
    arrays["p2.1.0.bn1.bias"] = odd * np.float32([1, 1, 1, 0, *[1] * (odd.size - 4)])
    save_torch(tmp_path / "x.pt", arrays)
    done = converted(tmp_path / "x.pt", tmp_path / "made", pool="max")
    print(f"{keys}: largest difference {parity.largest(done.differences):.1e}")
    assert list(done.differences) == [head.name for head in HEADS]
    assert parity.largest(done.differences) <= 1e-5
    found = checkpoints.find(tmp_path / "made")
    assert (found.kind, found.options) == ("mgn", NetworkOptions(10, "max", reduction))
    stored = json.loads((tmp_path / "made.json").read_text())
    assert stored["source"]["file"] == "x.pt" and re.fullmatch(
        "[0-9a-f]{64}", stored["source"]["sha256"]
    )
    assert stored["embedding_order"] == [head.name for head in HEADS]
    assert stored["source"]["reduction_order"] == "pytorch"
    total = report.table(done.source.coverage).splitlines()
    assert [line.split()[1] for line in total if line.startswith("total")] == [str(count)]
    with pytest.raises(InputError, match="exists"):
        to_tensorflow.convert(done.source, tmp_path / "made")

    written = to_pytorch.convert(tmp_path / "made", tmp_path / "back.pt")
    assert (written.checkpoint.options.reduction, written.tensors) == (reduction, len(arrays))
    assert parity.largest(written.differences) <= 1e-5
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    published = shallow.rows(read_keys(REFERENCE / f"keys_{keys}.txt"))
    assert sorted(back) == sorted(key for key, _ in published)
    read = {key: tensor.numpy() for key, tensor in back.items()}
    for key, value in arrays.items():
        assert read[key].dtype == value.dtype and read[key].tobytes() == value.tobytes(), key
    torch_network(read, 10, "max", reduction)  # takes every one, strictly


@small
def test_one_shared_reduction_reaches_all_heads(tmp_path):
    arrays = bare(seeded("gnayuohz", 10))
    save_torch(tmp_path / "x.pt", arrays)
    done = converted(tmp_path / "x.pt", tmp_path / "made", **SMALL)
    assert parity.largest(done.differences) <= 1e-5
    assert checkpoints.find(tmp_path / "made").options.pool == "max"  # its authors'
    names = [f"{head.reduction}/0/weight" for head in HEADS]
    for value in checkpoints.read(tmp_path / "made", names).values():
        assert np.array_equal(value[0, 0].T, arrays["reduction.0.weight"][:, :, 0, 0])
    with pytest.raises(InputError, match="no reductions to order"):
        to_tensorflow.read(tmp_path / "x.pt", order="mgn-reid")
    given = to_tensorflow.read(tmp_path / "x.pt", pool="avg")
    assert given.options.pool == "avg"
    with pytest.raises(InputError, match="no reductions to order"):
        to_tensorflow.convert(given, None, verify=tmp_path)


def test_imagenet_weights_convert_to_a_backbone(tmp_path):
    """With an allowed gap, which keeps its initial value in all branches."""
    state_dict = dict(seeded("torchvision_resnet50"))
    del state_dict["layer4.2.bn3.running_mean"]
    save_torch(tmp_path / "resnet50.pth", state_dict)
    allowed = ["layer4.2.bn3.running_mean"]
    done = converted(tmp_path / "resnet50.pth", tmp_path / "made", allow_missing=allowed, **SMALL)
    assert parity.largest(done.differences) <= 1e-5
    reader = tf.train.load_checkpoint(str(tmp_path / "made"))
    assert len(reader.get_variable_to_shape_map()) == 515
    for branch in ("p1", "p2", "p3"):
        got = reader.get_tensor(f"{branch}/layer4/0/bn1/bias")
        assert np.array_equal(got, state_dict["layer4.0.bn1.bias"])
        assert not reader.get_tensor(f"{branch}/layer4/2/bn3/running_mean").any()
    with pytest.raises(InputError, match="holds only a backbone"):
        inference.load_embedder(tmp_path / "made")


@small
def test_classifiers_that_do_not_fit_are_dropped_and_the_embedding_stays(tmp_path):
    arrays = {
        k.replace("backone.", "backbone."): v for k, v in bare(seeded("seathiefwang", 10)).items()
    }
    for i in range(3):
        arrays[f"fc_id_2048_{i}.weight"] = np.ones((10, 2048), np.float32)
    save_torch(tmp_path / "wide.pt", arrays)
    done = converted(tmp_path / "wide.pt", tmp_path / "made", **SMALL)
    assert all(
        found.logits is None and found.feature <= 1e-5 for found in done.differences.values()
    )
    found = checkpoints.find(tmp_path / "made")
    assert found.options == NetworkOptions(0, "max", "relu", 96, 32)
    image = np.random.default_rng(0).integers(0, 256, (96, 32, 3), np.uint8)
    embed = inference.load_embedder(tmp_path / "made")
    kept = {k: v for k, v in seeded("seathiefwang", 10).items() if not k.startswith("fc_")}
    network = torch_network(kept, 0, "max").eval()
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    with torch.no_grad():
        given = torch.from_numpy(((np.float32(image) / 255 - mean) / std).transpose(2, 0, 1)[None])
        assert relative(embed.original([image])[0], network(given)[0][0]) <= 1e-5


@small
@pytest.mark.parametrize("fault", ["missing", "overflow"])
def test_a_failed_check_says_why_and_writes_nothing(tmp_path, fault):
    arrays = bare(seeded("seathiefwang", 10))
    if fault == "missing":
        del arrays["fc_id_2048_0.weight"]
        said = r"1 missing \(fc_id_2048_0\.weight\)"
    else:  # no weight is infinite, but one branch's values become so
        arrays["reduction_2.1.running_var"] = np.full(256, -1, np.float32)
        said = "fg_p3: NaN or infinite, though no weight is"
    save_torch(tmp_path / "x.pt", arrays)
    with pytest.raises(CheckError, match=said) as failed:
        converted(tmp_path / "x.pt", tmp_path / "made", **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]
    if fault == "overflow":  # told by head, as JSON can hold it
        told = failed.value.details["differences"]
        assert [name for name, found in told.items() if found["feature"] is None] == ["fg_p3"]
        assert all(found["feature"] <= 1e-5 for name, found in told.items() if name != "fg_p3")


@small
def test_a_swapped_head_would_be_noticed(tmp_path, monkeypatch):
    """The proof looks at each head: with two reductions exchanged in TensorFlow it must fail."""
    honest = assign_some

    def swapped(session, variables, arrays):
        arrays = dict(arrays)
        for leaf in ("0/weight", "1/running_mean") if arrays else ():
            a, b = f"reduction_2/{leaf}", f"reduction_3/{leaf}"
            arrays[a], arrays[b] = arrays[b], arrays[a]
        honest(session, variables, arrays)

    monkeypatch.setattr(to_tensorflow, "assign_some", swapped)
    save_torch(tmp_path / "x.pt", seeded("seathiefwang", 10))
    with pytest.raises(CheckError, match="differs from PyTorch's"):
        converted(tmp_path / "x.pt", tmp_path / "made", **SMALL)


@small
def test_allowed_gaps_keep_initial_values_and_are_stored(tmp_path):
    arrays = bare(seeded("seathiefwang", 10))
    gone = {
        key for key in arrays if key.startswith(("reduction_7.", "fc_id_256_2_2.", "p3.1.0.bn3.w"))
    }
    kept = {k: v for k, v in arrays.items() if k not in gone} | {
        "center.weight": np.zeros((2, 3), np.float32)
    }
    save_torch(tmp_path / "x.pt", kept)
    missing = ["reduction_7.*", "fc_id_256_2_2.*", "p3.1.0.bn3.*"]
    allowed = {"allow_missing": missing, "allow_extra": ["center.*"]}
    converted(tmp_path / "x.pt", tmp_path / "made", **allowed, **SMALL)
    initial = json.loads((tmp_path / "made.json").read_text())["source"]["initial"]
    assert {mgn_pytorch_key(name) for name in initial} == gone
    names = ["reduction_7/1/running_var", "p3/layer4/0/bn3/weight", "reduction_6/1/running_var"]
    read = checkpoints.read(tmp_path / "made", names)
    assert all(np.all(read[name] == 1) for name in names[:2])
    assert np.array_equal(read["reduction_6/1/running_var"], arrays["reduction_6.1.running_var"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of images, and a network at 96x32 whose batch norms remember them."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(3)
    mean, std = np.float32([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    images = rng.integers(0, 256, (16, 96, 32, 3), np.uint8)
    (folder / "images").mkdir()
    for i, image in enumerate(images):
        assert cv2.imwrite(str(folder / "images" / f"{i}.png"), image[:, :, ::-1])
    normalised = (images / np.float32(255) - mean) / std
    with shallow.patched_with_torch():
        return folder / "images", remembering(normalised.transpose(0, 3, 1, 2))


@small
def test_images_decide_the_order_and_a_wrong_one_is_refused(trained, tmp_path):
    images, state_dict = trained
    save_torch(tmp_path / "x.pt", renumbered(state_dict))
    source = to_tensorflow.read(tmp_path / "x.pt", **SMALL)
    assert source.coverage.order == "pytorch"
    done = to_tensorflow.convert(source, tmp_path / "made", verify=images)
    assert done.evidence.order == done.source.coverage.order == "mgn-reid"
    stored = json.loads((tmp_path / "made.json").read_text())["source"]
    assert (stored["reduction_order"], stored["order_evidence"]["basis"]) == (
        "mgn-reid",
        "16 images",
    )
    for name, value in checkpoints.read(tmp_path / "made", ["reduction_2/0/weight"]).items():
        assert np.array_equal(value, to_tf_layout(state_dict[mgn_pytorch_key(name)]))
    with pytest.raises(
        CheckError, match=r"--reduction_order pytorch does not fit .*, judged by 16 images"
    ) as failed:
        to_tensorflow.convert(source, tmp_path / "other", verify=images, given_order=True)
    told = failed.value.details["evidence"]
    assert told["order"] == "mgn-reid" and told["margin"] > 1.3
    assert told["distances"]["mgn-reid"] < told["distances"]["pytorch"]
    assert not (tmp_path / "other.index").exists()


@small
def test_one_white_image_cannot_tell_and_the_reasons_are_named(trained, tmp_path):
    """The order stays the family's; a wrong size or pooling would look the same."""
    _, state_dict = trained
    (tmp_path / "one").mkdir()
    assert cv2.imwrite(str(tmp_path / "one" / "x.png"), np.full((64, 32, 3), 255, np.uint8))
    save_torch(tmp_path / "x.pt", state_dict)
    done = to_tensorflow.convert(
        to_tensorflow.read(tmp_path / "x.pt", **SMALL), None, verify=tmp_path / "one"
    )
    assert done.evidence.order is None and done.source.coverage.order == "pytorch"
    text = report.proof_text(done, False)
    (line,) = (line for line in text.splitlines() if line.startswith("reduction order"))
    assert line.startswith("reduction order: pytorch, not verified: 1 image cannot tell (")
    assert line.endswith("other than --height 96 --width 32 --pool avg, taken here")


def save_graph_checkpoint(prefix, values):
    """What the reproduced repository's Saver would leave, with plain variables of TensorFlow 1."""
    with tf.Graph().as_default(), tf.Session() as session:
        fed = [tf.placeholder(tf.float32, value.shape) for value in values.values()]
        pairs = zip(values, fed, strict=True)
        variables = [
            tf.get_variable(name, initializer=given, use_resource=False) for name, given in pairs
        ]
        initialisers = [v.initializer for v in variables]
        session.run(initialisers, dict(zip(fed, values.values(), strict=True)))
        tf.train.Saver(variables).save(session, str(prefix), write_meta_graph=False)


def test_mgn_reids_own_checkpoint_converts(tmp_path):
    """Heads as its graph has them; with PyTorch's numbers, as a file that it loaded by number."""
    values = mgn_reid.seeded(mgn_reid.variables(10))
    extra = {
        n: np.zeros(s, np.float32) for n, s in mgn_reid.with_slots(mgn_reid.variables(10)).items()
    }
    save_graph_checkpoint(tmp_path / "reid_mgn_90.ckpt", extra | values)
    done = converted(tmp_path, tmp_path / "made", **SMALL)  # its folder leads to its newest
    assert parity.largest(done.differences) <= 1e-5
    found = checkpoints.find(tmp_path / "made")
    assert found.options == NetworkOptions(10, "avg", "prelu", **SMALL)
    by_classifier = {head.classifier: head for head in HEADS}
    for branch, number, classifier in mgn_reid.HEADS:
        head = by_classifier[classifier]
        names = [f"{head.reduction}/0/weight", f"{head.reduction}/2/weight", f"{classifier}/weight"]
        theirs = [
            f"reduction_{number}/Conv/weights",
            f"reduction_{number}/Prelu_alpha",
            f"{classifier}/kernel",
        ]
        read = checkpoints.read(tmp_path / "made", names)
        for name, their in zip(names, theirs, strict=True):
            assert np.array_equal(read[name], values[f"{branch}/{their}"])
    given = to_tensorflow.read(tmp_path / "reid_mgn_90.ckpt.index", order="pytorch")
    with pytest.raises(InputError, match="is the checkpoint to convert"):
        to_tensorflow.convert(given, tmp_path / "reid_mgn_90.ckpt", overwrite=True)
    assert given.coverage.keys["reduction_2/0/weight"] == "p2/reduction_2/Conv/weights"
    value = given.state_dict["p2/reduction_2/Conv/weights"]
    assert np.array_equal(value, to_torch_layout(values["p2/reduction_2/Conv/weights"]))
    assert "slim's blocks" in report.table(given.coverage)


@small
def test_conversion_assigns_what_from_pytorch_returns(tmp_path, monkeypatch):
    """The tests of `from_pytorch` against published values test the code that converts."""
    save_torch(tmp_path / "x.pt", seeded("seathiefwang", 10))
    source = to_tensorflow.read(tmp_path / "x.pt", **SMALL)
    honest = weights.from_pytorch

    def doubled(*arguments, **options):
        arrays = dict(honest(*arguments, **options))
        arrays["fc_id_2048_0/bias"] = 2 * arrays["fc_id_2048_0/bias"]
        return arrays

    monkeypatch.setattr(weights, "from_pytorch", doubled)
    with pytest.raises(CheckError, match="logits_fg_p1: differs from PyTorch's"):
        to_tensorflow.convert(source, None)


@small
def test_a_conversion_recognises_its_file_once(tmp_path, monkeypatch):
    calls = []

    def counted(state_dict):
        calls.append(len(state_dict))
        return families.recognise(state_dict)

    for module in (to_tensorflow, coverage):
        monkeypatch.setattr(module, "recognise", counted)
    save_torch(tmp_path / "x.pt", seeded("seathiefwang", 10))
    converted(tmp_path / "x.pt", tmp_path / "made", **SMALL)
    assert len(calls) == 1
