"""What eight bits cost in accuracy: ours, OpenVINO's and LiteRT's, on a data set.

    pip install -r tests/requirements.txt nncf==3.4.0   # what is not installed is left out
    python tests/benchmarks/benchmark_int8.py --checkpoint runs/demo --dataset runs/demo_set

Everything is calibrated by the same training images of the data set, and compared with the
checkpoint on its query and gallery: cosine of embeddings, change of distances between query and
gallery, mAP, rank@1. All sides get the images that the checkpoint gets, and the mirror image.
"""

import argparse
import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

import numpy as np

from mgn.config.dataset import DataSet
from mgn.config.options import Int8
from mgn.data.decoding import read_image
from mgn.data.demo import checked_dataset
from mgn.data.images import denormalise
from mgn.data.records import read_split
from mgn.deploy import targets
from mgn.deploy.target import Choices
from mgn.export import calibration
from mgn.export.freezing import export_pb
from mgn.inference.embedder import load_embedder
from mgn.inference.graph import PLAIN
from mgn.metrics.ranking import evaluate

PRECISIONS = ("float32", "bfloat16", "float16", "int8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--keep_float", default="0,10,30", help="of int8, rows of their own")
    flags = parser.parse_args()
    dataset = checked_dataset(DataSet(flags.dataset))
    splits = [read_split(dataset, name) for name in ("query", "gallery")]
    images = []
    for split in splits:
        images.append([read_image(path) for path in split.paths])
    how = Int8(flags.dataset / "bounding_box_train")
    with tempfile.TemporaryDirectory() as name, closing(load_embedder(flags.checkpoint)) as source:
        chosen = calibration.read(how.calibration, flags.checkpoint, how.calibration_images)
        prepared = [np.stack(source.prepare(part)) for part in (*images, chosen.choosing)]
        expected = [embedded(forward(source), part) for part in prepared[:2]]
        print("| | MB | least cosine | largest change of a distance | mAP | rank@1 |")
        print("|---|---|---|---|---|---|")
        show("checkpoint", None, expected, expected, splits)
        for title, file, function in sides(flags, Path(name), how, prepared[2]):
            got = [embedded(function, part) for part in prepared[:2]]
            show(title, file, expected, got, splits)


def sides(flags, folder, how, choosing):
    """Yield (name, file, function of prepared images)."""
    for precision in PRECISIONS[:3]:
        file = folder / f"{precision}.pb"
        export_pb(flags.checkpoint, file, PLAIN, precision=precision)
        with closing(load_embedder(file)) as made:
            yield precision, file, forward(made)
    for kept in map(int, flags.keep_float.split(",")):
        file = folder / f"int8_{kept}.pb"
        asked = Int8(how.calibration, keep_float=kept, int8_bound=-1)
        export_pb(flags.checkpoint, file, PLAIN, precision="int8", int8=asked)
        with closing(load_embedder(file)) as made:
            yield f"int8, {kept} convolutions kept in float32", file, forward(made)
    yield deployed(folder, how)
    yield from openvino_int8(folder, choosing)
    yield from litert(folder)


def deployed(folder, how):
    """The IR of `python -m mgn.deploy openvino --int8`, which takes bytes."""
    import openvino

    file = folder / "deployed.xml"
    asked = Int8(how.calibration, int8_bound=-1)
    choices = Choices(int8=asked, rgb=True)
    targets.deploy("openvino", folder / "float32.pb", file, choices)
    model = openvino.Core().read_model(file)
    model.reshape([-1, *model.input().shape[1:]])
    compiled = openvino.compile_model(model, "CPU")

    def function(images):
        return compiled(np.ascontiguousarray(denormalise(images).transpose(0, 3, 1, 2)))[0]

    return "OpenVINO int8 (`mgn.deploy openvino --int8`)", file.with_suffix(".bin"), function


def openvino_int8(folder, choosing):
    try:
        import nncf
        import openvino
    except ImportError:
        return
    model = openvino.convert_model(folder / "float32.pb")
    model.reshape([-1, *choosing.shape[1:]])
    made = nncf.quantize(
        model, nncf.Dataset([image[None] for image in choosing]), subset_size=len(choosing)
    )
    openvino.save_model(made, folder / "int8.xml")
    compiled = openvino.compile_model(made, "CPU")
    yield "OpenVINO int8 (NNCF)", folder / "int8.bin", lambda images: compiled(images)[0]


def litert(folder):
    from mgn.deploy import __main__ as deploy

    file = folder / "x.tflite"
    asked = ["tflite", "--pb_path", folder / "float32.pb", "--output", file, "--dynamic_range"]
    if deploy.main(list(map(str, asked))):
        return
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def function(images):
        interpreter.resize_tensor_input(given["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"]).copy()

    # One by one, as its ranges are those of a batch.
    yield (
        "LiteRT, dynamic range",
        file,
        lambda images: np.concatenate([function(image[None]) for image in images]),
    )


def forward(embedder):
    return lambda images: embedder.session.run(embedder.result, {embedder.input: images})


def embedded(function, prepared):
    """Of images and their mirror images, of length 1."""
    parts = []
    for start in range(0, len(prepared), 32):
        batch = prepared[start : start + 32]
        parts.append(function(batch) + function(np.ascontiguousarray(batch[:, :, ::-1])))
    features = np.concatenate(parts)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def show(title, file, expected, got, splits):
    query, gallery = splits
    labels = query.persons, gallery.persons, query.cameras, gallery.cameras
    distances = [np.linalg.norm(q[:, None] - g[None], axis=2) for q, g in (expected, got)]
    cosines = [(a * b).sum(axis=1).min() for a, b in zip(expected, got, strict=True)]
    scores = evaluate(*got, *labels)
    size = f"{file.stat().st_size / 1e6:.0f}" if file else ""
    change = np.abs(distances[1] - distances[0]).max()
    figures = f"{min(cosines):.5f} | {change:.1e} | {scores.mAP:.4f} | {scores.cmc[0]:.4f}"
    print(f"| {title} | {size} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
