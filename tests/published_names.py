"""The names that published checkpoints give to each weight, beside this network's variables.

Written down block by block from where each layer is in the published networks, by loops of our own
that know nothing of `mgn/weights/families.py`: torchvision cuts nothing; MGN-pytorch's line puts
the stem's seven pieces (0 the first convolution, 1 its batch norm, 2 and 3 without weights, 4 and 5
two layers, 6 the first block of the third) into one Sequential, and in each branch the other five
blocks of the third layer and the whole fourth into another.
"""

_NORM = ("weight", "bias", "running_mean", "running_var")


def _blocks():
    """(our scope, torchvision's, MGN-pytorch's below its stem or branch, has its own shortcut)."""
    for layer, blocks in ((1, 3), (2, 4)):
        for i in range(blocks):
            torchvision = f"layer{layer}.{i}"
            yield f"backbone/layer{layer}/{i}", torchvision, f"backbone.{3 + layer}.{i}", i == 0
    yield "backbone/layer3/0", "layer3.0", "backbone.6", True
    for branch in ("p1", "p2", "p3"):
        for i in range(5):
            yield f"{branch}/layer3/{i + 1}", f"layer3.{i + 1}", f"{branch}.0.{i}", False
        for i in range(3):
            yield f"{branch}/layer4/{i}", f"layer4.{i}", f"{branch}.1.{i}", i == 0


def bodies():
    """{variable: (torchvision's key, levyfan's and GNAYUOHZ's)} of the stem and all branches."""
    pairs = {"backbone/conv1/weight": ("conv1.weight", "backbone.0.weight")}
    for leaf in _NORM:
        pairs[f"backbone/bn1/{leaf}"] = f"bn1.{leaf}", f"backbone.1.{leaf}"
    for ours, torchvision, cut, shortcut in _blocks():
        convolutions = [(f"conv{i}", f"bn{i}") for i in (1, 2, 3)]
        if shortcut:
            convolutions.append(("downsample/0", "downsample/1"))
        for convolution, norm in convolutions:
            for part in (f"{convolution}/weight", *(f"{norm}/{leaf}" for leaf in _NORM)):
                dotted = part.replace("/", ".")
                pairs[f"{ours}/{part}"] = f"{torchvision}.{dotted}", f"{cut}.{dotted}"
    return pairs


def heads(shared):
    """{variable: key} of all reductions, `shared` or one for each, and all classifiers."""
    pairs = {}
    for i in range(8):
        for part in ("0/weight", *(f"1/{leaf}" for leaf in _NORM)):
            key = f"reduction.{part}" if shared else f"reduction_{i}.{part}"
            pairs[f"reduction_{i}/{part}"] = key.replace("/", ".")
    names = "2048_0 2048_1 2048_2 256_1_0 256_1_1 256_2_0 256_2_1 256_2_2"
    for name in names.split():
        for leaf in ("weight", "bias"):
            pairs[f"fc_id_{name}/{leaf}"] = f"fc_id_{name}.{leaf}"
    return pairs


def whole(family):
    """{variable: key} of "torchvision", "base" (reid-strong-baseline), "levyfan" or "gnayuohz"."""
    if family in ("torchvision", "base"):
        before = "base." if family == "base" else ""
        return {name: before + key for name, (key, _) in bodies().items()}
    body = {name: key for name, (_, key) in bodies().items()}
    return body | heads(shared=family == "gnayuohz")
