"""Which numbering fits, on a network whose batch norms remember the images they saw."""

import mgn_reid
import numpy as np
import pytest
import torch
from conftest import seeded, torch_network

from mgn import weights
from mgn.config import NetworkOptions
from mgn.conversion import headorder, parity
from mgn.network import HEADS
from mgn.system.session import new_session
from mgn.weights.families import FAMILIES
from mgn.weights.variables import assign_some

FAMILY = FAMILIES[0]
_NUMBERS = {head.classifier: head.reduction[-1] for head in HEADS}
TO_GRAPH = {  # MGN-pytorch's number of a head -> the reproduced repository's
    _NUMBERS[classifier]: str(number) for _, number, classifier in mgn_reid.HEADS
}


def remembering(images, pool="avg"):
    """The seeded network with the running statistics of these images: float32 [N, 3, H, W]."""
    network = torch_network(seeded("seathiefwang", 10), 10, pool)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(images))
    return {
        k: v.numpy()
        for k, v in network.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }


def renumbered(state_dict):
    """The same weights under the reproduced repository's numbers."""
    return {
        f"reduction_{TO_GRAPH[key[10]]}{key[11:]}" if key.startswith("reduction_") else key: value
        for key, value in state_dict.items()
    }


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((12, 3, 192, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def state_dict(images):
    return remembering(images)


def inputs_of(state_dict, images):
    """What the heads of the network with these weights get from the images."""
    graph, variables = parity.build_graph(NetworkOptions(10, height=192, width=64))
    with new_session(graph, rewrite=False) as session:
        assign_some(session, variables, weights.from_pytorch(state_dict))
        return headorder.inputs_from_images(session, images.transpose(0, 2, 3, 1))


def test_images_of_the_training_tell_the_order(images, state_dict):
    inputs = inputs_of(state_dict, images)
    for file, order in ((state_dict, "pytorch"), (renumbered(state_dict), "mgn-reid")):
        found = headorder.judge(inputs, file, FAMILY, "images")
        print(order, found.distances)
        assert found.order == order and found.margin > 5 and found.distances[order] < 0.2


def test_what_cannot_be_told_is_not(images):
    """Statistics that were never trained are as far from one order as from the other."""
    untrained = {
        k: v for k, v in seeded("seathiefwang", 10).items() if not k.endswith("num_batches_tracked")
    }
    inputs = inputs_of(untrained, images)
    assert headorder.judge(inputs, untrained, FAMILY, "images").order is None
    near_enough_to_neither = {"pytorch": 0.41, "mgn-reid": 4.0}
    assert headorder.Evidence("", near_enough_to_neither).order is None
    assert headorder.Evidence("", {"pytorch": 0.3, "mgn-reid": 0.38}).order is None
    assert headorder.Evidence("", {"pytorch": 0.3, "mgn-reid": 0.2}).order == "mgn-reid"
