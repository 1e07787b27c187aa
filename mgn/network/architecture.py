"""The Multiple Granularity Network (arXiv:1804.01438): ResNet-50, three branches, eight heads.

The tables BRANCHES and HEADS are the architecture; `config.variants` lists what published networks
do otherwise. A variable's name is its PyTorch path with `/` for `.`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mgn.config.options import EMBEDDING_SIZE
from mgn.config.variants import NetworkOptions
from mgn.network.layers import batch_norm, conv2d, cosine, gem, instance_batch_norm, linear, prelu


class Branch(NamedTuple):
    """A copy of ResNet-50 from layer3.1 on; `stride` is that of its layer4 (option `p1_stride`)."""

    name: str
    stride: int
    stripes: int


class Head(NamedTuple):
    """A feature of 256 numbers, of a whole map (stripe None) or of one stripe, 0 at the top."""

    name: str
    branch: str
    stripe: int | None
    reduction: str
    classifier: str


BRANCHES = (Branch("p1", 2, 1), Branch("p2", 1, 2), Branch("p3", 1, 3))
# in the order of the embedding, which is PyTorch's; reductions are numbered as in MGN-pytorch
HEADS = (
    Head("fg_p1", "p1", None, "reduction_0", "fc_id_2048_0"),
    Head("fg_p2", "p2", None, "reduction_1", "fc_id_2048_1"),
    Head("fg_p3", "p3", None, "reduction_2", "fc_id_2048_2"),
    Head("f0_p2", "p2", 0, "reduction_3", "fc_id_256_1_0"),
    Head("f1_p2", "p2", 1, "reduction_4", "fc_id_256_1_1"),
    Head("f0_p3", "p3", 0, "reduction_5", "fc_id_256_2_0"),
    Head("f1_p3", "p3", 1, "reduction_6", "fc_id_256_2_1"),
    Head("f2_p3", "p3", 2, "reduction_7", "fc_id_256_2_2"),
)
TRIPLET_HEADS = 3  # the first heads, those of whole maps, feed the triplet loss
PARTS = ((3, 4), (5, 6, 7))  # in fast-reid the stripes of a branch side by side do too
_FEATURE_SIZE = EMBEDDING_SIZE // len(HEADS)
DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16, "float16": tf.float16}  # by precision
EXTRA_BN, NECK = "extra_bn_{}", "neck"  # scopes: of a branch's batch norm, of a head's last
_POOLS = {"avg": tf.reduce_mean, "max": tf.reduce_max}
_CLASSIFIERS = {"linear": linear, "cosine": cosine}


class Mode(NamedTuple):
    """How the layers behave."""

    training: bool  # batch statistics (True) or running statistics (False)
    zero_init: bool = False  # residual blocks start as the identity
    kernel_init: str = "he"  # first values of kernels, of `KERNEL_INITS`
    sync: bool = False  # batch statistics over all replicas
    winograd: bool = False  # 3×3 convolutions by fewer multiplications
    frozen: Sequence[str] = ()  # of BODIES: with running statistics in training too
    ibn: bool = False  # the first norm of each block is IBN-a's

    def of(self, body: str) -> "Mode":
        """How the layers of a body behave."""
        return self._replace(training=self.training and body not in self.frozen)


class Outputs(NamedTuple):
    """What the network makes of N images."""

    embedding: tf.Tensor  # float32 [N, 2048]: `features` side by side
    features: list[tf.Tensor]  # eight times float32 [N, 256], in the order of HEADS
    # eight times float32 [N, num_classes], or cosines; none without classifiers
    logits: list[tf.Tensor]


def mgn(
    images: tf.Tensor,
    num_classes: int,
    training: bool,
    *,
    zero_init_residual: bool = False,
    kernel_init: str = "he",
    precision: str = "float32",
    sync_batch_norm: bool = False,
    winograd: bool = False,
    frozen: Sequence[str] = (),
    **variant: object,
) -> Outputs:
    """Build the network in the current graph.

    Args:
        images: float32 [N, H, W, 3], normalised RGB; H a multiple of 96, W of 32.
        num_classes: identities that the classifiers tell apart; 0: no classifiers.
        training: batch statistics (True) or running statistics (False).
        zero_init_residual: blocks start as the identity; what learns from scratch.
        kernel_init: first values of kernels, "he" or "uniform".
        precision: "float32", "bfloat16" or "float16": of the convolutions. Variables, statistics,
            heads and outputs are float32.
        sync_batch_norm: batch statistics over the images of all replicas.
        winograd: 3×3 convolutions by fewer multiplications; see `winograd.convolve`.
        frozen: of "backbone", "p1", "p2", "p3": running statistics there in training too.
        variant: `pool`, `reduction`, `stem_padding`, `p1_stride`, `ibn`, `extra_bn` and
            `classifier` of `NetworkOptions`, where they are not MGN-pytorch's.
    """
    options = NetworkOptions(num_classes, **variant)
    mode = Mode(training, zero_init_residual, kernel_init, sync_batch_norm, winograd, frozen)
    inputs = head_inputs(tf.cast(images, DTYPES[precision]), options, mode)
    features, logits = [], []
    for h in HEADS:
        feature = head(inputs[h.name], h.reduction, options, mode)
        features.append(feature)
        if num_classes:
            logits.append(_CLASSIFIERS[options.classifier](feature, h.classifier, num_classes))
    return Outputs(tf.concat(features, axis=1), features, logits)


def inference_network(
    images: tf.Tensor, options: NetworkOptions, classifiers: bool = False
) -> Outputs:
    """The network as a checkpoint's options describe it, with running statistics.

    Args:
        images: float32 [N, height, width, 3] of the options' size, normalised RGB.
        options: of the checkpoint.
        classifiers: with its logits too, if it has any.
    """
    num_classes = options.num_classes if classifiers else 0
    return mgn(images, num_classes, False, **options.architecture())


def head_inputs(images: tf.Tensor, options: NetworkOptions, mode: Mode) -> dict[str, tf.Tensor]:
    """The map, or stripe of a map, that each head pools: {head's name: float32 [N, h, w, 2048]}."""
    mode = mode._replace(ibn=options.ibn)
    trunk = backbone(images, mode.of("backbone"), options.stem_padding)
    maps = {}
    for b in BRANCHES:
        stride = options.p1_stride if b.name == "p1" else b.stride
        maps[b.name] = branch(trunk, b._replace(stride=stride), mode.of(b.name))
        if options.extra_bn:
            maps[b.name] = _normalised(maps[b.name], EXTRA_BN.format(b.name), mode)
    stripes = {b.name: tf.split(maps[b.name], b.stripes, axis=1) for b in BRANCHES if b.stripes > 1}
    inputs = {}
    for h in HEADS:
        inputs[h.name] = maps[h.branch] if h.stripe is None else stripes[h.branch][h.stripe]
    return inputs


def backbone(x: tf.Tensor, mode: Mode, stem_padding: int = 1) -> tf.Tensor:
    """ResNet-50 up to its layer3.0: [N, H, W, 3] to [N, H / 16, W / 16, 1024]."""
    with tf.variable_scope("backbone"):
        x = tf.nn.relu(_normalised(_convolved(x, "conv1", 64, mode, 7, 2), "bn1", mode))
        x = stem_pool(x, stem_padding)
        x = layer(x, "layer1", range(3), 64, 1, mode)
        x = layer(x, "layer2", range(4), 128, 2, mode)
        return layer(x, "layer3", range(1), 256, 2, mode)


def stem_pool(x: tf.Tensor, padding: int) -> tf.Tensor:
    """3×3 maximum of stride 2 of a map that is at least 0, as PyTorch pads it: by 1, or by 0.

    By 0 and with `ceil_mode`, the last window of an even side reaches over the edge: SAME.
    """
    if padding == 0:
        return tf.nn.max_pool2d(x, 3, 2, "SAME")
    # After a ReLU zeros are as good as minus infinity.
    return tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")


def branch(x: tf.Tensor, b: Branch, mode: Mode) -> tf.Tensor:
    """The rest of ResNet-50: [N, h, w, 1024] to [N, h / stride, w / stride, 2048]."""
    with tf.variable_scope(b.name):
        x = layer(x, "layer3", range(1, 6), 256, 1, mode)
        return layer(x, "layer4", range(3), 512, b.stride, mode._replace(ibn=False))


def layer(x: tf.Tensor, name: str, blocks: range, width: int, stride: int, mode: Mode) -> tf.Tensor:
    """Bottleneck blocks under torchvision's numbers; only block 0 carries the stride."""
    with tf.variable_scope(name):
        for i in blocks:
            x = bottleneck(x, str(i), width, stride if i == 0 else 1, mode)
        return x


def bottleneck(x: tf.Tensor, name: str, width: int, stride: int, mode: Mode) -> tf.Tensor:
    """Residual block (arXiv:1512.03385) with the stride on its 3×3 convolution, as torchvision."""
    first_norm = _half_instance_normalised if mode.ibn else _normalised
    with tf.variable_scope(name):
        shortcut = x
        if stride != 1 or x.shape[-1] != 4 * width:
            shortcut = _convolved(x, "downsample/0", 4 * width, mode, stride=stride)
            shortcut = _normalised(shortcut, "downsample/1", mode)
        x = tf.nn.relu(first_norm(_convolved(x, "conv1", width, mode), "bn1", mode))
        x = _convolved(x, "conv2", width, mode, 3, stride)
        x = tf.nn.relu(_normalised(x, "bn2", mode))
        x = _normalised(_convolved(x, "conv3", 4 * width, mode), "bn3", mode, mode.zero_init)
        return tf.nn.relu(x + shortcut)


def head(x: tf.Tensor, name: str, options: NetworkOptions, mode: Mode) -> tf.Tensor:
    """Pool a map or stripe [N, h, w, 2048] and reduce it to a feature [N, 256]."""
    x = tf.cast(x, tf.float32)
    if options.pool == "gem_shared":
        x = gem(x)
    with tf.variable_scope(name):
        if options.pool == "gem":
            x = gem(x)
        elif options.pool in _POOLS:
            x = _POOLS[options.pool](x, axis=[1, 2], keepdims=True)
        x = _normalised(_convolved(x, "0", _FEATURE_SIZE, mode, fan="fan_in"), "1", mode)
        if options.reduction == "prelu":
            x = prelu(x, "2")
        elif options.reduction != "plain":
            x = tf.nn.relu(x)
        if options.reduction == "neck":
            x = _normalised(x, NECK, mode)
        return tf.squeeze(x, axis=[1, 2])


def _convolved(
    x: tf.Tensor,
    name: str,
    filters: int,
    mode: Mode,
    size: int = 1,
    stride: int = 1,
    fan: str = "fan_out",
) -> tf.Tensor:
    """Convolution whose kernel starts with He's values by `fan`, or as the mode says."""
    first = fan if mode.kernel_init == "he" else mode.kernel_init
    return conv2d(x, name, filters, size, stride, first, mode.winograd)


def _normalised(x: tf.Tensor, name: str, mode: Mode, zero_scale: bool = False) -> tf.Tensor:
    return batch_norm(x, name, mode.training, zero_scale, mode.sync)


def _half_instance_normalised(x: tf.Tensor, name: str, mode: Mode) -> tf.Tensor:
    return instance_batch_norm(x, name, mode.training, mode.sync)
