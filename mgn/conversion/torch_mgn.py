"""The same network in PyTorch, under MGN-pytorch's names: the other side of every proof."""

import torch
from torch import nn

from mgn.network import BRANCHES, HEADS


class Bottleneck(nn.Module):
    """Residual block (arXiv:1512.03385) with the stride on its 3×3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
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


def _layer(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)


class TorchMGN(nn.Module):
    """MGN with the keys and shapes of MGN-pytorch's checkpoints (with PReLU: of lwplw's).

    With 0 classes it has no classifiers.
    """

    def __init__(self, num_classes: int, pool: str = "avg", reduction: str = "relu"):
        super().__init__()
        self.pool = pool
        convolution = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        stem = [convolution, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        trunk = [_layer(64, 64, 3, 1), _layer(256, 128, 4, 2), Bottleneck(512, 256, 2)]
        self.backone = nn.Sequential(*stem, *trunk)  # MGN-pytorch's spelling
        for branch in BRANCHES:
            layer3 = _layer(1024, 256, 5, 1)  # without its first block, which is the trunk's
            layer4 = _layer(1024, 512, 3, branch.stride)
            setattr(self, branch.name, nn.Sequential(layer3, layer4))
        for head in HEADS:
            convolution = nn.Conv2d(2048, 256, 1, bias=False)
            activation = nn.PReLU(256) if reduction == "prelu" else nn.ReLU()
            parts = nn.Sequential(convolution, nn.BatchNorm2d(256), activation)
            setattr(self, head.reduction, parts)
            if num_classes:
                setattr(self, head.classifier, nn.Linear(256, num_classes))

    def forward(self, images):
        """float32 [N, 3, H, W] to (embedding [N, 2048], eight features [N, 256], logits [N, C])."""
        trunk = self.backone(images)
        maps = {branch.name: getattr(self, branch.name)(trunk) for branch in BRANCHES}
        stripes = {branch.name: branch.stripes for branch in BRANCHES}
        pool = torch.mean if self.pool == "avg" else torch.amax
        features, logits = [], []
        for head in HEADS:
            x = maps[head.branch]
            if head.stripe is not None:
                x = x.chunk(stripes[head.branch], dim=2)[head.stripe]
            pooled = pool(x, dim=(2, 3), keepdim=True)
            feature = getattr(self, head.reduction)(pooled).flatten(1)
            features.append(feature)
            if hasattr(self, head.classifier):
                logits.append(getattr(self, head.classifier)(feature))
        return torch.cat(features, dim=1), features, logits
