"""Seeded PyTorch state dicts: the same 70 M weights on every machine, without a download.

Every value is drawn from numpy's frozen RandomState, seeded by the key's own name, so a
file of key names and shapes is enough to rebuild the checkpoint that the expected outputs
beside this file were computed from.
"""

import zlib
from pathlib import Path

import numpy as np


def read_keys(path):
    """Return [(key, shape)] from a text file with one `key<TAB>(shape)` a line."""
    rows = []
    for line in Path(path).read_text(encoding="ascii").splitlines():
        key, shape = line.rstrip("\n").split("\t")
        rows.append((key, tuple(int(n) for n in shape.strip("()").split(",") if n.strip())))
    return rows


def seeded_array(key, shape, salt=""):
    """float32 array for one parameter or running statistic; int64 zero for a counter."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key in ("pixel_mean", "pixel_std"):  # ImageNet, 0 to 255, as fast-reid stores them
        value = {"pixel_mean": (123.675, 116.28, 103.53), "pixel_std": (58.395, 57.12, 57.375)}[key]
        return np.reshape(np.float32(value), shape)
    rng = np.random.RandomState(zlib.crc32((salt + key).encode()))
    leaf = key.rpartition(".")[2]
    if len(shape) == 4:  # convolution OIHW, He-normal by fan-in
        value = rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
    elif len(shape) == 2:  # fully connected, (classes, features)
        value = rng.standard_normal(shape) * 0.05
    elif leaf == "running_mean":
        value = rng.standard_normal(shape) * 0.1
    elif leaf == "running_var":
        value = rng.uniform(0.5, 1.5, shape)
    elif leaf == "bias":
        value = rng.standard_normal(shape) * 0.05
    elif ".bn3." in key or ".downsample.1." in key:  # keeps 50 residual layers in range
        value = rng.uniform(0.2, 0.4, shape)
    elif key.startswith("reduction_") and ".2." in key:  # PReLU slopes
        value = rng.uniform(0.1, 0.4, shape)
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)


def seeded_state_dict(keys_path, num_classes=None, salt="", change=list):
    """{key: array}; `num_classes` replaces the checkpoint's own in the classifier shapes.

    `change` makes other [(key, shape)] of those in the file.
    """
    out = {}
    for key, shape in change(read_keys(keys_path)):
        if num_classes is not None and key.startswith("fc_id_"):  # this family's classifiers only
            shape = (num_classes, *shape[1:])
        out[key] = seeded_array(key, shape, salt)
    return out
