"""The same network in PyTorch, under MGN-pytorch's names: the other side of every proof."""

import torch
from torch import nn

from mgn.network import BRANCHES, HEADS


class HalfInstanceNorm(nn.Module):
    """IBN-a (arXiv:1807.09441): instance norm of the first half of channels, then batch norm."""

    def __init__(self, channels: int):
        super().__init__()
        self.IN = nn.InstanceNorm2d(channels // 2, affine=True)
        self.BN = nn.BatchNorm2d(channels - channels // 2)

    def forward(self, x):
        """[N, C, H, W] to the same."""
        first, second = x.chunk(2, dim=1)
        return torch.cat([self.IN(first.contiguous()), self.BN(second.contiguous())], dim=1)


class GeM(nn.Module):
    """Generalised-mean pooling (arXiv:1711.02512) with a learned power."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.full([1], 3.0))

    def forward(self, x):
        """[N, C, H, W] to [N, C, 1, 1]."""
        powers = x.clamp(min=1e-6).pow(self.p)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1.0 / self.p)


class Cosine(nn.Linear):
    """Cosines between features and classes."""

    def __init__(self, features: int, classes: int):
        super().__init__(features, classes, bias=False)

    def forward(self, x):
        """[N, 256] to [N, classes]."""
        return nn.functional.linear(
            nn.functional.normalize(x), nn.functional.normalize(self.weight)
        )


class Bottleneck(nn.Module):
    """Residual block (arXiv:1512.03385) with the stride on its 3×3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int, ibn: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = HalfInstanceNorm(width) if ibn else nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            convolution = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        """[N, C, H, W] to [N, 4 * width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return (self.bn3(self.conv3(x)) + shortcut).relu()


def _layer(inputs: int, width: int, blocks: int, stride: int, ibn: bool) -> nn.Sequential:
    rest = [Bottleneck(4 * width, width, 1, ibn) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(inputs, width, stride, ibn), *rest)


class TorchMGN(nn.Module):
    """MGN with the keys and shapes of MGN-pytorch's checkpoints (with PReLU: of lwplw's).

    With 0 classes it has no classifiers. The options are those of `config.NetworkOptions`; what
    MGN-pytorch does not have is named as the variable is.
    """

    def __init__(
        self,
        num_classes: int,
        pool: str = "avg",
        reduction: str = "relu",
        stem_padding: int = 1,
        p1_stride: int = 2,
        ibn: bool = False,
        extra_bn: bool = False,
        classifier: str = "linear",
    ):
        super().__init__()
        self.pool = pool
        convolution = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        stem_pool = nn.MaxPool2d(3, 2, stem_padding, ceil_mode=stem_padding == 0)
        stem = [convolution, nn.BatchNorm2d(64), nn.ReLU(), stem_pool]
        trunk = [
            _layer(64, 64, 3, 1, ibn),
            _layer(256, 128, 4, 2, ibn),
            Bottleneck(512, 256, 2, ibn),
        ]
        self.backone = nn.Sequential(*stem, *trunk)  # MGN-pytorch's spelling
        for branch in BRANCHES:
            stride = p1_stride if branch.name == "p1" else branch.stride
            layer3 = _layer(1024, 256, 5, 1, ibn)  # without its first block, which is the trunk's
            layer4 = _layer(1024, 512, 3, stride, ibn=False)
            setattr(self, branch.name, nn.Sequential(layer3, layer4))
            if extra_bn:
                setattr(self, f"extra_bn_{branch.name}", nn.BatchNorm2d(2048))
        if pool == "gem_shared":
            self.gem = GeM()
        for head in HEADS:
            parts = _head(reduction)
            if pool == "gem":
                parts.add_module("gem", GeM())
            setattr(self, head.reduction, parts)
            if num_classes:
                kind = {"linear": nn.Linear, "cosine": Cosine}[classifier]
                setattr(self, head.classifier, kind(256, num_classes))

    def forward(self, images):
        """float32 [N, 3, H, W] to (embedding [N, 2048], eight features [N, 256], logits [N, C])."""
        trunk = self.backone(images)
        maps = {branch.name: self._map(trunk, branch.name) for branch in BRANCHES}
        stripes = {branch.name: branch.stripes for branch in BRANCHES}
        features, logits = [], []
        for head in HEADS:
            x = maps[head.branch]
            if head.stripe is not None:
                x = x.chunk(stripes[head.branch], dim=2)[head.stripe]
            x = self._pooled(x, head.reduction)
            for name, part in getattr(self, head.reduction).named_children():
                if name != "gem":
                    x = part(x)
            feature = x.flatten(1)
            features.append(feature)
            if hasattr(self, head.classifier):
                logits.append(getattr(self, head.classifier)(feature))
        return torch.cat(features, dim=1), features, logits

    def _map(self, trunk, branch: str):
        x = getattr(self, branch)(trunk)
        extra = getattr(self, f"extra_bn_{branch}", None)
        return extra(x) if extra else x

    def _pooled(self, x, reduction: str):
        if self.pool == "gem":
            return getattr(self, reduction).gem(x)
        if self.pool == "gem_shared":
            return self.gem(x)
        return (torch.mean if self.pool == "avg" else torch.amax)(x, dim=(2, 3), keepdim=True)


def _head(reduction: str) -> nn.Sequential:
    """What stands behind the pooling of a head."""
    parts = nn.Sequential(nn.Conv2d(2048, 256, 1, bias=False), nn.BatchNorm2d(256))
    if reduction == "prelu":
        parts.append(nn.PReLU(256))
    elif reduction != "plain":
        parts.append(nn.ReLU())
    if reduction == "neck":
        parts.add_module("neck", nn.BatchNorm2d(256))
    return parts
