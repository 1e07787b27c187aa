"""What other programs' preprocessing costs in mAP: bilinear resize, and no mirror image.

    python tests/benchmarks/benchmark_deploy.py --model runs/demo --dataset runs/demo_set

The images are resized bilinearly to the network's size by OpenCV, as trackers do, and written as
PNG beside the others; `evaluate.py` then scores both. A data set in Market-1501's layout.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

import cv2

import evaluate
from mgn.weights import checkpoints

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="train_dir or checkpoint")
    parser.add_argument("--dataset", type=Path, required=True, help="in Market-1501's layout")
    flags = parser.parse_args()
    options = checkpoints.find(flags.model).options
    with tempfile.TemporaryDirectory() as folder:
        bilinear = Path(folder) / "bilinear"
        for name in FOLDERS:
            resize_all(flags.dataset / name, bilinear / name, (options.width, options.height))
        rows = [
            ("bicubic, mirror image", flags.dataset, []),
            ("bicubic, no mirror image", flags.dataset, ["--no_flip"]),
            ("bilinear, no mirror image", bilinear, ["--no_flip"]),
        ]
        for title, dataset, extra in rows:
            scores = Path(folder) / title
            arguments = ["--model", flags.model, "--dataset", str(dataset), *extra]
            if evaluate.main([*arguments, "--output_dir", str(scores)]):
                raise SystemExit(f"{title}: evaluate.py failed")
            told = json.loads((scores / "metrics.json").read_text(encoding="utf-8"))
            print(f"| {title} | {told['mAP']:.4f} | {told['rank@1']:.4f} |")


def resize_all(source, target, size):
    target.mkdir(parents=True)
    for path in sorted(source.glob("*.jpg")):
        image = cv2.imread(str(path))
        resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(target / f"{path.stem}.png"), resized)


if __name__ == "__main__":
    main()
