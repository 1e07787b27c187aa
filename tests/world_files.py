"""Small files by the names that pages give them: where a page names Market-1501, a drawn set; where
it names a published checkpoint, one of the same keys with seeded weights, of the small network."""

import mgn_reid
import numpy as np
import shallow
import tensorflow.compat.v1 as tf
import torch
from conftest import SMALL, fast_reid, save_torch, seeded, write_checkpoint

from mgn.data import demo
from mgn.system.session import new_graph, new_session


def resnet(before="", ibn=False, **more):
    """torchvision's ResNet-50 without its classifier; with the halves of IBN-a."""
    made = {}
    for key, value in seeded("torchvision_resnet50").items():
        if key.startswith("fc."):
            continue
        name, _, leaf = key.rpartition(".")
        if ibn and name.endswith(".bn1") and name.startswith(("layer1", "layer2", "layer3")):
            half = len(value) // 2 if value.ndim else None
            if leaf in ("weight", "bias"):
                made[f"{name}.IN.{leaf}"] = value[:half]
            made[f"{name}.BN.{leaf}"] = value[half:] if value.ndim else value
        else:
            made[before + key] = value
    return made | more


def torchreid():
    """As its `.pth.tar` has it: under `state_dict`, as `DataParallel` names it."""
    tensors = resnet(**{"classifier.weight": np.ones((751, shallow.MAPS), "f")})
    return {"state_dict": {f"module.{k}": torch.tensor(v) for k, v in tensors.items()}}


def levyfan():
    """MGN-pytorch's weights by levyfan's names."""
    return {k.replace("backone.", "backbone."): v for k, v in seeded("seathiefwang", 10).items()}


FILES = {  # name: a function that gives {key: array}
    "model_best.pt": lambda: seeded("seathiefwang", 10),
    "MGN_12_27_M.pt": lambda: seeded("lwplw_prelu", 10),
    "levyfan.pt": levyfan,
    "ReID-MGN.pt": lambda: seeded("gnayuohz", 10),
    "market_mgn_R50-ibn.pth": lambda: fast_reid("v0.1.1"),
    "own_v1.0.pth": lambda: fast_reid("ea06ead"),
    "own_v1.2.pth": lambda: fast_reid("HEAD"),
    "lup_mgn.pth": lambda: fast_reid("LUPerson"),
    "resnet50-0676ba61.pth": resnet,
    "resnet50_model_120.pth": lambda: resnet("base."),
    "resnet50_ibn_a-d9d0bb7b.pth": lambda: resnet(ibn=True),
}
NAMES = (*FILES, "model.pth.tar-60", "exp/train/ckpt")


def write(name, path):
    """Write the file or checkpoint of this name."""
    if name == "exp/train/ckpt":
        write_mgn_reid(path)
    elif name == "model.pth.tar-60":
        torch.save(torchreid(), path)
    else:
        save_torch(path, FILES[name]())


def write_mgn_reid(prefix):
    """A checkpoint with the reproduced repository's names, of the blocks that the small network
    has."""
    shapes = {}
    for name, shape in mgn_reid.variables(10).items():
        if "bottleneck" in name:
            first = "/block1/unit_1/" in name
            if not ("unit_1/" in name or "bottleneck_v0/" in name) or (first and "short" in name):
                continue
            small = [n // 4 for n in shape[-2:]]
            if first and name.endswith("/conv1/weights"):
                small[0] = shallow.STEM
            shape = (*shape[:-2], *small)
        elif name.endswith("/Conv/weights") and "reduction" in name:
            shape = (*shape[:2], shallow.MAPS, shape[3])
        shapes[name] = shape
    values = mgn_reid.seeded(shapes)
    with new_graph().as_default() as graph:
        for name, value in values.items():
            tf.get_variable(name, initializer=value)
        saver = tf.train.Saver(tf.global_variables())
        with new_session(graph) as session:
            session.run(tf.global_variables_initializer())
            saver.save(session, str(prefix), write_meta_graph=False)


def small_sets(patches):
    """Let `demo.make` draw fewer images."""
    people = {"TRAIN_IDENTITIES": 4, "TEST_IDENTITIES": 20, "DISTRACTORS": 3, "JUNK": 1}
    for name, value in {**people, "TRAIN_IMAGES": 2, "GALLERY_IMAGES": 1}.items():
        patches.setattr(demo, name, value)


def draw_set(path, seed, tested):
    """With query and gallery or without."""
    demo.make(path, seed, demo.TRAIN_IDENTITIES)
    for image in (*path.glob("*/*_c3s1_*"), *path.glob("query/*_c2s1_*")):  # they take time
        image.unlink()
    for folder in () if tested else ("query", "bounding_box_test"):
        (path / folder).rename(path / f"no_{folder}")


def write_run(path):
    """Two versions of a model that differ a little."""
    arrays = shallow.arrays(SMALL)
    if path.name == "new":
        rng = np.random.default_rng(0)
        for name in (name for name in arrays if name.startswith("reduction_")):
            arrays[name] = arrays[name] * rng.uniform(0.9, 1.1, arrays[name].shape)
    path.mkdir()
    write_checkpoint(path / "model.ckpt-1", arrays, SMALL)


def copy_images(path, market):
    """An image, a folder of images, or a list of them, from a drawn set."""
    queries, gallery = (
        sorted((market / name).iterdir()) for name in ("query", "bounding_box_test")
    )
    if path.suffix == ".jpg":
        path.write_bytes(queries[0 if path.name in ("person.jpg", "one.jpg") else 3].read_bytes())
    elif path.suffix == ".csv":
        named = [image for image in gallery if not image.name.startswith(("-1", "0000"))]
        rows = [f"{image},{int(image.name[:4])},{image.name[6]}" for image in named]
        path.write_text("\n".join(["path,person,camera", *rows]))
    else:
        path.mkdir()
        for image in queries if path.name == "queries" else gallery:
            (path / image.name).write_bytes(image.read_bytes())
