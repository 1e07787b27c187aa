"""Names and shapes of the variables in the reproduced repository's checkpoints, in graph order.

Written down from the names that MGN-ReId publishes (its `tensor_name` file lists 579 of them), by
loops of our own that know nothing of `mgn/weights/families.py`.
"""

import numpy as np

HEADS = (  # (branch, number of the reduction, classifier), in the order of its graph
    ("p1", 0, "fc_id_2048_0"),
    ("p2", 1, "fc_id_2048_1"),
    ("p2", 2, "fc_id_256_1_0"),
    ("p2", 3, "fc_id_256_1_1"),
    ("p3", 4, "fc_id_2048_2"),
    ("p3", 5, "fc_id_256_2_0"),
    ("p3", 6, "fc_id_256_2_1"),
    ("p3", 7, "fc_id_256_2_2"),
)
_LEAVES = ("gamma", "beta", "moving_mean", "moving_variance")


def variables(num_classes):
    """{name: shape} of the 579 variables that its graph uses."""
    shapes = {}

    def conv(name, size, inputs, outputs):
        shapes[f"{name}/weights"] = (size, size, inputs, outputs)
        shapes.update({f"{name}/BatchNorm/{leaf}": (outputs,) for leaf in _LEAVES})

    def block(name, inputs, width, convolutions, shortcut):
        conv(f"{name}/{convolutions[0]}", 1, inputs, width)
        conv(f"{name}/{convolutions[1]}", 3, width, width)
        conv(f"{name}/{convolutions[2]}", 1, width, 4 * width)
        if shortcut:
            conv(f"{name}/{shortcut}", 1, inputs, 4 * width)

    conv("resnet_v1_50/conv1", 7, 3, 64)
    slim, own = ("conv1", "conv2", "conv3"), ("Conv", "Conv_1", "Conv_2")
    for unit in (1, 2, 3):
        name = f"resnet_v1_50/block1/unit_{unit}/bottleneck_v1"
        block(name, 64 if unit == 1 else 256, 64, slim, "shortcut" if unit == 1 else None)
    for unit in (1, 2, 3, 4):
        name = f"resnet_v1_50/sd_block2/unit_{unit}/bottleneck_v1"
        block(name, 256 if unit == 1 else 512, 128, own, "downsample" if unit == 1 else None)
    block("resnet_v1_50/sd_block3/unit_1/bottleneck_v1", 512, 256, own, "downsample")
    for branch in ("p1", "p2", "p3"):
        for i in range(5):
            block(f"{branch}/block_0/bottleneck_v{i}", 1024, 256, own, None)
        for i in range(3):
            first = i == 0
            name = f"{branch}/block_1/bottleneck_v{i}"
            block(name, 1024 if first else 2048, 512, own, "downsample" if first else None)
    for branch, number, classifier in HEADS:
        conv(f"{branch}/reduction_{number}/Conv", 1, 2048, 256)
        shapes[f"{branch}/reduction_{number}/Prelu_alpha"] = (256,)
        shapes[f"{branch}/{classifier}/kernel"] = (256, num_classes)
        shapes[f"{branch}/{classifier}/bias"] = (num_classes,)
    return shapes


def published_pairs():
    """{its name: MGN-pytorch's key}, as its two name files pair them: reductions by number."""
    first = "resnet_v1_50/block1/unit_1/bottleneck_v1"
    names = {
        "resnet_v1_50/conv1/weights": "backone.0.weight",
        "resnet_v1_50/conv1/BatchNorm/moving_variance": "backone.1.running_var",
        f"{first}/shortcut/weights": "backone.4.0.downsample.0.weight",
        "resnet_v1_50/block1/unit_3/bottleneck_v1/conv2/BatchNorm/beta": "backone.4.2.bn2.bias",
        "resnet_v1_50/sd_block2/unit_4/bottleneck_v1/Conv_2/weights": "backone.5.3.conv3.weight",
        "resnet_v1_50/sd_block3/unit_1/bottleneck_v1/Conv/BatchNorm/gamma": "backone.6.bn1.weight",
        "p2/block_0/bottleneck_v4/Conv_1/BatchNorm/moving_mean": "p2.0.4.bn2.running_mean",
        "p3/block_1/bottleneck_v0/downsample/weights": "p3.1.0.downsample.0.weight",
        "p3/block_1/bottleneck_v2/Conv/weights": "p3.1.2.conv1.weight",
        "p3/fc_id_2048_2/kernel": "fc_id_2048_2.weight",
        "p2/fc_id_256_1_1/bias": "fc_id_256_1_1.bias",
    }
    for branch, number, _ in HEADS:
        names[f"{branch}/reduction_{number}/Conv/weights"] = f"reduction_{number}.0.weight"
        names[f"{branch}/reduction_{number}/Conv/BatchNorm/moving_mean"] = (
            f"reduction_{number}.1.running_mean"
        )
        names[f"{branch}/reduction_{number}/Prelu_alpha"] = f"reduction_{number}.2.weight"
    return names


def with_slots(shapes):
    """What else is in its checkpoints: Momentum's slots, a counter, slim's unused blocks."""
    slotted = (name for name in shapes if name.startswith("resnet") and "moving" not in name)
    slots = {f"{name}/Momentum": shapes[name] for name in slotted}
    unused = {"resnet_v1_50/block4/unit_3/bottleneck_v1/conv3/weights": (1, 1, 512, 2048)}
    return {**shapes, **slots, **unused, "global_step": ()}


def seeded(shapes):
    """Values for them, small enough to go through a network."""
    rng = np.random.default_rng(5)
    values = {}
    for name, shape in shapes.items():
        if len(shape) == 4:
            value = rng.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[:3]))
        elif name.endswith(("gamma", "moving_variance")):
            low, high = (0.2, 0.4) if "Conv_2" in name else (0.5, 1.5)
            value = rng.uniform(low, high, shape)
        else:
            value = rng.standard_normal(shape) * 0.1
        values[name] = np.asarray(value, np.float32)
    return values
