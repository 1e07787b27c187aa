"""The network's means and maxima as pooling kernels that read each map once; the same values.

TensorFlow's reductions are slower than its pooling kernels, and the network reduces a branch's map
and then each of its stripes. What is here is for TensorFlow alone: other programs' importers know
the network as it is.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.export.folding import value_of
from mgn.inference.graph import NETWORK_OUTPUT
from mgn.system.session import new_graph

POOLS = {"Mean": "AvgPool", "Max": "MaxPool"}  # by the reduction of a whole map
_ROWS = 1  # the axis along which a map is split into stripes
_MAP = [1, 2]  # the axes that are reduced
_CHANNELS = 1024  # of fewer, a reduction of a single image is quicker than a pooling kernel


class _Map(NamedTuple):
    """What is done with a map: each reduction of the whole, and of its stripes."""

    whole: list[tf.NodeDef]
    split: tf.NodeDef | None
    of_stripes: list[tf.NodeDef]


def with_pools(network: tf.GraphDef) -> tf.GraphDef:
    """Replace reductions of maps by pooling, and the zeros around the stem's pool by its own.

    Args:
        network: folded, float32, from `images` of one size to `embedding`.

    Returns:
        a network of the same values, but for rounding of means.
    """
    nodes = {node.name: node for node in network.node}
    instead = dict(_padded_pools(network, nodes))
    with new_graph().as_default() as graph:
        tf.import_graph_def(network, name="")
    for name, about in _reduced_maps(network, nodes).items():
        _, height, width, channels = graph.get_tensor_by_name(f"{name}:0").shape.as_list()
        if channels < _CHANNELS:
            continue
        for node in _pooled(name, about, height, width):
            instead.setdefault(node.name, []).append(node)
    made = tf.GraphDef(versions=network.versions)
    for node in network.node:
        if node.name not in instead:
            made.node.append(node)
    for replacing in instead.values():
        made.node.extend(replacing)
    return tf.graph_util.extract_sub_graph(made, [NETWORK_OUTPUT])


def _padded_pools(network: tf.GraphDef, nodes: dict) -> Iterator[tuple[str, list[tf.NodeDef]]]:
    """Pools that pad a map by themselves; behind a ReLU zeros are as good as what they pad with."""
    for node in network.node:
        pad = nodes.get(node.input[0]) if node.op == "MaxPool" else None
        if pad is None or pad.op != "Pad" or nodes[pad.input[0]].op != "Relu":
            continue
        pool = tf.NodeDef()
        pool.CopyFrom(node)
        pool.input[0] = pad.input[0]
        pool.attr["padding"].s = b"EXPLICIT"
        amounts = value_of(nodes[pad.input[1]])
        pool.attr["explicit_paddings"].list.i[:] = amounts.ravel().tolist()
        yield node.name, [pool]


def _reduced_maps(network: tf.GraphDef, nodes: dict) -> dict[str, _Map]:
    """{map: what is done with it}, of maps that are reduced in one way, as a whole and in stripes.

    A map that is split for something else stays as it is.
    """
    reductions: dict[str, list[tf.NodeDef]] = {}  # by what is reduced
    splits = {}
    for node in network.node:
        if _reduces(node, nodes):
            reductions.setdefault(node.input[0].split(":")[0], []).append(node)
        elif node.op == "Split":
            splits[node.input[1]] = node
    found = {}
    for name, whole in reductions.items():
        if nodes[name].op == "Split":  # its stripes are found with the map
            continue
        split = splits.get(name)
        of_stripes = reductions.get(split.name, []) if split else []
        if split and not _is_reduced_alone(network, split, of_stripes, nodes):
            continue
        if len({node.op for node in (*whole, *of_stripes)}) == 1:
            found[name] = _Map(whole, split, of_stripes)
    return found


def _is_reduced_alone(
    network: tf.GraphDef, split: tf.NodeDef, of_stripes: list[tf.NodeDef], nodes: dict
) -> bool:
    """Whether a map is split by rows, and nothing but these reductions takes a stripe."""
    taken = sum(name.split(":")[0] == split.name for node in network.node for name in node.input)
    rows = value_of(nodes[split.input[0]]).tolist() == _ROWS
    return rows and taken == len(of_stripes)


def _reduces(node: tf.NodeDef, nodes: dict) -> bool:
    """Whether a node reduces height and width to one."""
    if node.op not in POOLS or not node.attr["keep_dims"].b:
        return False
    return value_of(nodes[node.input[1]]).tolist() == _MAP


def _pooled(name: str, about: _Map, height: int, width: int) -> Iterable[tf.NodeDef]:
    """The nodes instead of a map's split and reductions.

    Stripes are equally high, so that the mean of their means is that of the map.
    """
    op = POOLS[about.whole[0].op]
    if about.split is None:
        return [_pool(node.name, op, name, (height, width)) for node in about.whole]
    count = about.split.attr["num_split"].i
    parts = f"{name}/stripes"
    split = tf.NodeDef()
    split.CopyFrom(about.split)
    split.input[1] = parts
    made = [_pool(parts, op, name, (height // count, width)), split]
    made += [_pool(node.name, op, parts, (count, 1)) for node in about.whole]
    made += [_same(node) for node in about.of_stripes]
    return made


def _pool(name: str, op: str, given: str, window: tuple[int, int]) -> tf.NodeDef:
    node = tf.NodeDef(name=name, op=op, input=[given])
    node.attr["T"].type = tf.float32.as_datatype_enum
    for attribute in ("ksize", "strides"):
        node.attr[attribute].list.i[:] = [1, *window, 1]
    node.attr["padding"].s = b"VALID"
    node.attr["data_format"].s = b"NHWC"
    return node


def _same(reduction: tf.NodeDef) -> tf.NodeDef:
    """What hands on a stripe that is pooled already, under the reduction's name."""
    node = tf.NodeDef(name=reduction.name, op="Identity", input=[reduction.input[0]])
    node.attr["T"].type = tf.float32.as_datatype_enum
    return node
