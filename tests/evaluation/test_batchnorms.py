"""What batch norms hold: the colour of training images, and values that belong to features."""

import re
from contextlib import closing

import numpy as np
import pytest
import shallow
from conftest import SMALL, relative, write_checkpoint
from familiar import COLOUR, image, write_familiar

from mgn.evaluation.batchnorms import BatchNorms, mean_colour
from mgn.inference import load_embedder
from mgn.network import HEADS
from mgn.system.errors import InputError
from mgn.weights import checkpoints

pytestmark = pytest.mark.usefixtures("shallow_network")


@pytest.fixture(scope="module")
def familiar(tmp_path_factory):
    """Prefix of a checkpoint that knows images of COLOUR, and its arrays."""
    prefix = tmp_path_factory.mktemp("familiar") / "small"
    with shallow.patched():
        return prefix, write_familiar(prefix, [image(seed) for seed in range(30)])


def test_the_mean_colour_of_training_images(familiar):
    """Found within a grey level in the statistics of the first batch norm alone."""
    with closing(BatchNorms(checkpoints.find(familiar[0]))) as norms:
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


def test_values_are_what_features_are_made_of(familiar):
    """Normalised, scaled and cut off at zero they are the embedding."""
    prefix, arrays = familiar
    images = [image(seed, 0.7) for seed in range(3)]
    with closing(BatchNorms(checkpoints.find(prefix))) as norms:
        values = norms.values(images)
        assert norms.values([]).shape == (0, 8, 256)
    with closing(load_embedder(prefix)) as embed:
        expected = embed.original(images).reshape(3, 8, 256)
    for i, head in enumerate(HEADS):
        mean, variance, scale, bias = (
            arrays[f"{head.reduction}/1/{leaf}"]
            for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        made = (values[:, i] - mean) / np.sqrt(variance + 1e-5) * scale + bias
        assert relative(np.maximum(made, 0), expected[:, i]) < 1e-4


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
