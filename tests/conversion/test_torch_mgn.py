"""fast-reid's and LUPerson's files there and back, in the containers that programs save."""

import numpy as np
import pytest
import torch
from conftest import REFERENCE, fast_reid, save_torch
from seeded import read_keys

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.conversion import to_pytorch, to_tensorflow, torchfiles
from mgn.conversion.torch_mgn import TorchMGN
from mgn.weights import checkpoints
from mgn.weights.naming import mgn_pytorch_key
from mgn.weights.variables import variable_shapes

SMALL = {"height": 96, "width": 32}
VERSIONS = {
    "v0.1.1": "fastreid-v0.1",
    "ea06ead": "fastreid-v1.0",
    "HEAD": "fastreid",
    "LUPerson": "luperson",
}


@pytest.mark.usefixtures("shallow_conversion")
@pytest.mark.parametrize("version", VERSIONS)
def test_there_and_back_is_bit_for_bit(version, tmp_path):
    """All but the classifiers; the file that comes back converts to the same checkpoint."""
    state_dict = fast_reid(version)
    given = SMALL | ({"stem_padding": 0} if version == "ea06ead" else {})
    save_torch(tmp_path / "x.pth", state_dict)
    source = to_tensorflow.read(tmp_path / "x.pth", **given)
    done = to_tensorflow.convert(source, tmp_path / "made")
    worst = max(difference.feature for difference in done.differences.values())
    print(f"{version}: {worst:.1e} from PyTorch's")
    assert worst <= 1e-5

    written = to_pytorch.convert(tmp_path / "made", tmp_path / "back.pth")
    back = torchfiles.read(tmp_path / "back.pth")
    classifiers = {key for key in state_dict if key.endswith(("classifier.weight", "_head.weight"))}
    assert len(classifiers) == 8 and set(back) == set(state_dict) - classifiers
    for key, value in back.items():
        assert value.dtype == state_dict[key].dtype and np.array_equal(value, state_dict[key]), key
    given["stem_padding"] = done.source.options.stem_padding  # v1.2 is known by its classifiers
    again = to_tensorflow.read(tmp_path / "back.pth", **given)
    again.coverage.check()
    assert again.options == done.source.options and written.dropped == []
    assert checkpoints.find(tmp_path / "made").options.variant == VERSIONS[version]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wrapping", ["float16", "module.", "optimizer"])
def test_containers(wrapping, version, tmp_path):
    """Of zeros, which take no room in a file; powers, mean and deviation are some."""
    dtype = torch.float16 if wrapping == "float16" else torch.float32
    tensors = {}
    for key, shape in read_keys(REFERENCE / f"keys_fastreid_{version}.txt"):
        tensors[key] = torch.zeros((), dtype=dtype).expand(shape)
        if key.endswith(".p"):
            tensors[key] = torch.full(shape, 2.5, dtype=dtype)
    options = NetworkOptions(0, **VARIANTS[VERSIONS[version]], **SMALL)
    for key, values in (("pixel_mean", options.mean), ("pixel_std", options.std)):
        if key in tensors:
            tensors[key] = torch.tensor(values, dtype=dtype).reshape(1, 3, 1, 1)
    if wrapping == "module.":
        tensors = {f"module.{key}": value for key, value in tensors.items()}
    if wrapping == "optimizer":
        slots = {0: {"exp_avg": torch.zeros(2)}}
        tensors = {"model": tensors, "optimizer": {"state": slots}, "scheduler": {}, "iteration": 9}
    torch.save(tensors, tmp_path / "x.pth")
    given = SMALL | ({"stem_padding": 0} if version == "ea06ead" else {})
    source = to_tensorflow.read(tmp_path / "x.pth", **given)
    source.coverage.check()
    assert source.options == options
    assert source.coverage.family.variant == VERSIONS[version]
    assert all(value.dtype == np.float32 for value in source.state_dict.values())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_a_twin_of_the_same_names(variant):
    options = NetworkOptions(7, **VARIANTS[variant])
    with torch.device("meta"):
        twin = TorchMGN(7, **options.architecture()).state_dict()
    names = {key for key in twin if not key.endswith("num_batches_tracked")}
    assert names == {mgn_pytorch_key(name) for name in variable_shapes(options)}
