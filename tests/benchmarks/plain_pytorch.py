"""A plain training in PyTorch of the same network, to compare the recipe `scratch` with.

    python tests/benchmarks/plain_pytorch.py --dataset DIR --steps N

Batches of 8 identities with 4 images each, 96x32, half of them mirrored. AMSGrad of 5e-4 after 50
steps of warm-up, a tenth of it for the last fifth. Cross-entropy of eight heads alone for 300
steps, then a batch-hard triplet loss of margin 0.3 on the three heads of whole maps besides.
bfloat16 by autocast. Scored as evaluate.py does, with the mirror image.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import cv2
import numpy as np
import torch
from torch.nn import functional

from mgn import metrics
from mgn.config.dataset import DataSet
from mgn.config.variants import MEAN, STD
from mgn.conversion.torch_mgn import TorchMGN
from mgn.data.decoding import read_image
from mgn.data.demo import checked_dataset
from mgn.data.records import read_split

HEIGHT, WIDTH, IDENTITIES, IMAGES = 96, 32, 8, 4
RATE, WARM_UP, ALONE, MARGIN = 5e-4, 50, 300, 0.3


def images_of(split):
    """uint8 [N, H, W, 3], reduced by areas as others do."""
    size = WIDTH, HEIGHT
    return np.stack([cv2.resize(read_image(p), size, None, 0, 0, cv2.INTER_AREA) for p in split])


def normalised(images):
    values = (images.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def batch_of(images, labels, rng):
    """Images, some of them mirrored, and their classes."""
    chosen = []
    for label in rng.choice(labels.max() + 1, IDENTITIES, replace=False):
        own = np.flatnonzero(labels == label)
        chosen.extend(rng.choice(own, IMAGES, replace=len(own) < IMAGES))
    batch = images[chosen]
    mirrored = rng.random(len(batch)) < 0.5
    batch[mirrored] = batch[mirrored][:, :, ::-1]
    return normalised(batch), torch.from_numpy(labels[chosen])


def triplet(features, classes):
    distances = torch.cdist(features, features)
    same = classes[:, None] == classes[None]
    furthest = (distances * same).max(dim=1).values
    nearest = distances.masked_fill(same, float("inf")).min(dim=1).values
    return functional.relu(furthest - nearest + MARGIN).mean()


def rate_at(step, steps):
    warm = min(1, (step + 1) / WARM_UP)
    return RATE * warm * (0.1 if step >= steps * 4 // 5 else 1)


def trained(images, labels, steps, seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = TorchMGN(int(labels.max()) + 1).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), RATE, amsgrad=True)
    began = time.monotonic()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate_at(step, steps)
        batch, classes = batch_of(images, labels, rng)
        with torch.autocast("cpu", torch.bfloat16):
            _, features, logits = network(batch.to(memory_format=torch.channels_last))
        loss = sum(functional.cross_entropy(part.float(), classes) for part in logits) / len(logits)
        shown = f"cross-entropy {loss.item():.3f}"
        if step >= ALONE:
            apart = [triplet(part.float(), classes) for part in features[:3]]
            loss = loss + sum(apart) / len(apart)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - began
            print(f"step {step + 1}: {shown}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    return network.eval()


def embedded(network, images):
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), 64):
            batch = normalised(images[start : start + 64])
            parts.append(network(batch)[0] + network(batch.flip(3))[0])
    features = torch.cat(parts).numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    dataset = checked_dataset(DataSet(flags.dataset))
    train, query, gallery = (read_split(dataset, name) for name in ("train", "query", "gallery"))
    _, labels = np.unique(train.persons, return_inverse=True)
    network = trained(images_of(train.paths), labels, flags.steps, flags.seed)
    features = [embedded(network, images_of(split.paths)) for split in (query, gallery)]
    cameras = query.cameras, gallery.cameras
    result = metrics.evaluate(*features, query.persons, gallery.persons, *cameras)
    shown = f"{flags.steps} steps of {IDENTITIES * IMAGES} images"
    print(f"{shown}: mAP {result.mAP:.4f}, rank@1 {result.cmc[0]:.4f}")


if __name__ == "__main__":
    main()
