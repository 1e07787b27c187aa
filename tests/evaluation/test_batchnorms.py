"""What batch norms hold: the colour of training images, and values that belong to features."""

import re
from contextlib import closing

import numpy as np
import pytest
import shallow
from conftest import SMALL, relative, write_checkpoint
from familiar import COLOUR, image

from mgn.config import NetworkOptions
from mgn.config.variants import VARIANTS
from mgn.evaluation.batchnorms import BatchNorms, mean_colour
from mgn.inference import load_embedder
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")


def test_the_mean_colour_of_training_images(familiar_checkpoint):
    """Found within a grey level in the statistics of the first batch norm alone."""
    with closing(BatchNorms(checkpoints.find(familiar_checkpoint))) as norms:
        assert norms.colour == pytest.approx(COLOUR, abs=1.5)


@pytest.mark.parametrize("size", [(96, 32), (12, 8)])
def test_an_image_of_one_colour(size):
    """Exactly, zeros around it included: a convolution by loops."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((7, 7, 3, 8))
    colour = np.array([0.5, -1.0, 2.0])
    padded = np.zeros((size[0] + 6, size[1] + 6, 3))
    padded[3:-3, 3:-3] = colour
    made = []
    for y in range(0, size[0], 2):
        for x in range(0, size[1], 2):
            made.append(np.einsum("hwi,hwio->o", padded[y : y + 7, x : x + 7], kernel))
    got = mean_colour(kernel, np.mean(made, axis=0), np.var(made, axis=0), size)
    assert got == pytest.approx(colour, abs=1e-9)


def normalised(values, arrays, norm):
    """Batch norm by its formula."""
    leaves = ("running_mean", "running_var", "weight", "bias")
    mean, variance, scale, bias = (arrays[f"{norm}/{leaf}"] for leaf in leaves)
    return (values - mean) / np.sqrt(variance + 1e-5) * scale + bias


@pytest.mark.parametrize("variant", ["lwplw", "fastreid-v0.1", "luperson"])
def test_values_are_what_features_are_made_of(variant, tmp_path):
    """Normalised and cut off at zero, or whatever a network does then, they are the embedding."""
    options = NetworkOptions(10, **{**VARIANTS[variant], "height": 96, "width": 32})
    arrays = shallow.arrays(options)
    write_checkpoint(tmp_path / "made", arrays, options)
    images = [image(seed, 0.7) for seed in range(3)]
    with closing(BatchNorms(checkpoints.find(tmp_path / "made"))) as norms:
        values = norms.values(images)
        assert norms.values([]).shape == (0, 8, 256)
    with closing(load_embedder(tmp_path / "made")) as embed:
        expected = embed.original(images).reshape(3, 8, 256)
    for i, head in enumerate(HEADS):
        made = normalised(values[:, i], arrays, f"{head.reduction}/1")
        if options.reduction == "prelu":
            made = np.where(made > 0, made, made * arrays[f"{head.reduction}/2/weight"])
        elif options.reduction != "plain":
            made = np.maximum(made, 0)
        if options.reduction == "neck":
            made = normalised(made, arrays, f"{head.reduction}/neck")
        assert relative(made, expected[:, i]) < 1e-4


@pytest.mark.parametrize(
    ("name", "value"), [("p2/layer4/0/conv1/weight", np.nan), ("reduction_3/1/running_var", np.inf)]
)
def test_weights_that_are_not_finite(tmp_path, name, value):
    arrays = shallow.arrays(SMALL)
    arrays[name] = arrays[name].copy()
    arrays[name].flat[5] = value
    write_checkpoint(tmp_path / "bad", arrays, SMALL)
    expected = f"bad: 1 of {len(arrays) - 16} variables are NaN or infinite, such as {name}; name"
    with pytest.raises(InputError, match=re.escape(expected)):
        BatchNorms(checkpoints.find(tmp_path / "bad"))


@pytest.mark.parametrize("norm", ["backbone/bn1", "reduction_7/1"])
def test_norms_without_statistics(tmp_path, norm):
    arrays = shallow.arrays(SMALL)
    arrays[f"{norm}/running_mean"] = np.zeros_like(arrays[f"{norm}/running_mean"])
    arrays[f"{norm}/running_var"] = np.ones_like(arrays[f"{norm}/running_var"])
    write_checkpoint(tmp_path / "new", arrays, SMALL)
    expected = rf"new: batch norm {norm} holds no statistics \(mean 0, variance 1\); name a"
    with pytest.raises(InputError, match=expected):
        BatchNorms(checkpoints.find(tmp_path / "new"))
