"""What other programs' preprocessing costs in mAP: bilinear resize, no mirror image, another box.

    python tests/benchmarks/benchmark_deploy.py --model runs/demo --dataset runs/demo_set

The images are resized bilinearly to the network's size by OpenCV, as trackers do, and written as
PNG beside the others; `evaluate.py` then scores all. For deep_sort each image is a frame with one
box, all of it, which deep_sort changes before it cuts. A data set in Market-1501's layout.
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
    size = options.width, options.height
    with tempfile.TemporaryDirectory() as folder:
        bilinear, cut, kept = (Path(folder) / name for name in ("bilinear", "cut", "kept"))
        for name in FOLDERS:
            resize_all(flags.dataset / name, bilinear / name, size, whole)
            resize_all(flags.dataset / name, cut / name, size, as_deep_sort_cuts)
            resize_all(flags.dataset / name, kept / name, None, as_deep_sort_cuts)
        rows = [
            ("bicubic, mirror image", flags.dataset, []),
            ("bicubic, no mirror image", flags.dataset, ["--no_flip"]),
            ("bilinear, no mirror image", bilinear, ["--no_flip"]),
            ("deep_sort", cut, ["--no_flip"]),
            ("deep_sort, --input_size of the images", kept, ["--no_flip"]),
        ]
        for title, dataset, extra in rows:
            scores = Path(folder) / title
            arguments = ["--model", flags.model, "--dataset", str(dataset), *extra]
            if evaluate.main([*arguments, "--output_dir", str(scores)]):
                raise SystemExit(f"{title}: evaluate.py failed")
            told = json.loads((scores / "metrics.json").read_text(encoding="utf-8"))
            print(f"| {title} | {told['mAP']:.4f} | {told['rank@1']:.4f} |")


def resize_all(source, target, size, box_of):
    target.mkdir(parents=True)
    for path in sorted(source.glob("*.jpg")):
        image = cv2.imread(str(path))
        made = size or image.shape[1::-1]
        left, top, right, bottom = box_of(image, made)
        resized = cv2.resize(image[top:bottom, left:right], made, interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(target / f"{path.stem}.png"), resized)


def whole(image, _):
    """Left, top, right, bottom of the whole image."""
    height, width = image.shape[:2]
    return 0, 0, width, height


def as_deep_sort_cuts(image, size):
    """Of a box that is the whole image: its height, and a width of the network's aspect ratio about
    the same centre; within the image, without its last column and row.

    As of nwojke/deep_sort, `tools/generate_detections.py`.
    """
    height, width = image.shape[:2]
    wanted = int(height * size[0] / size[1])
    left = int((width - height * size[0] / size[1]) / 2)
    return max(left, 0), 0, min(left + wanted, width - 1), height - 1


if __name__ == "__main__":
    main()
