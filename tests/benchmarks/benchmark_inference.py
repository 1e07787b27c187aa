"""Images a second of the exported graph, against PyTorch, ONNX Runtime and OpenVINO, alternating.

    pip install -r tests/requirements.txt nncf==3.4.0   # what is not installed is left out
    python tests/benchmarks/benchmark_inference.py [--rounds 5] [--batches 1,8,32] [--sides int8]

All sides have the same seeded network (751 classes, average pooling, 384x128) and normalised
images; they take turns in one process, and the result of each is compared with the float32
graph's. Those of int8 are calibrated by images of the same kind, 16 of them.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import tensorflow.compat.v1 as tf
import torch
from conftest import write_checkpoint
from seeded import seeded_state_dict

from mgn import weights
from mgn.config import NetworkOptions
from mgn.config.variants import MEAN, STD
from mgn.conversion.torch_mgn import TorchMGN
from mgn.data.images import denormalise
from mgn.deploy import ir, source
from mgn.deploy.fake_quantised import fake_quantised
from mgn.export import folding, freezing
from mgn.export.integers import with_integers
from mgn.export.pooling import with_pools
from mgn.export.quantising import quantise
from mgn.export.units import units_in
from mgn.inference import exported
from mgn.inference.embedder import session_of_checkpoint
from mgn.inference.graph import NETWORK_INPUT, NETWORK_OUTPUT, PLAIN
from mgn.system.session import new_session
from mgn.weights import checkpoints

KEYS = Path(__file__).parents[1] / "reference" / "keys_seathiefwang.txt"


def tensorflow_sides(checkpoint, folder):
    """The checkpoint's own graph, and the exports: {name: function of NHWC images}."""
    sides = {}
    for precision in ("float32", "bfloat16"):
        for winograd, name in ((False, f"{precision} pb"), (True, f"{precision} pb, Winograd")):
            graph_def = freezing.freeze(checkpoint, PLAIN, "float32", precision, winograd)
            if not winograd:
                (folder / f"{precision}.pb").write_bytes(graph_def.SerializeToString())
            sides[name] = runner(exported.session_of(graph_def, name))
    session = session_of_checkpoint(checkpoint)
    sides["int8 pb"] = int8_side(session, folder)
    sides["checkpoint, batch norm apart"] = runner(session)
    return sides


def int8_side(session, folder):
    network = with_pools(folding.frozen_network(session, "float32"))
    units = units_in(network)
    graph_def = with_integers(network, units, quantise(network, units, calibration_images()))
    (folder / "int8.pb").write_bytes(graph_def.SerializeToString())
    made = exported.session_of(graph_def, "int8 pb")
    return lambda images: made.run(f"{NETWORK_OUTPUT}:0", {f"{NETWORK_INPUT}:0": images})


def calibration_images():
    return np.random.RandomState(3).standard_normal((16, 384, 128, 3)).astype(np.float32)


def runner(session):
    return lambda images: session.run("person_embedding:0", {"image_tensor:0": images})


def torch_sides(state_dict, folder):
    network = TorchMGN(751).eval()
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state_dict.items()})
    network = network.to(memory_format=torch.channels_last)

    def plain(images):
        with torch.inference_mode():
            return network(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy()

    def autocast(images):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return network(torch.from_numpy(images).permute(0, 3, 1, 2))[0].float().numpy()

    sides = {"PyTorch float32, channels last": plain, "PyTorch bfloat16, autocast": autocast}
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return sides
    path = folder / "x.onnx"
    example = torch.zeros(1, 3, 384, 128)
    names = {
        "input_names": ["images"],
        "output_names": ["embedding"],
        "dynamic_axes": {"images": {0: "n"}},
    }
    with torch.inference_mode():
        torch.onnx.export(Embedding(network).eval(), (example,), path, dynamo=False, **names)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    sides["ONNX Runtime float32"] = lambda images: session.run(
        None, {"images": np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
    )[0]
    return sides


class Embedding(torch.nn.Module):
    """The embedding alone, without logits."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)[0]


def openvino_sides(folder):
    try:
        import openvino
    except ImportError:
        return {}
    core, sides = openvino.Core(), {}
    model = openvino.convert_model(folder / "float32.pb")
    for precision, kind in (("float32", openvino.Type.f32), ("bfloat16", openvino.Type.bf16)):
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind})
        sides[f"OpenVINO {precision}"] = lambda images, compiled=compiled: compiled(images)[0]
    sides["OpenVINO int8 (mgn.deploy)"] = deployed_side(core, folder)
    try:
        import nncf
    except ImportError:
        return sides
    images = nncf.Dataset([image[None] for image in calibration_images()])
    compiled = core.compile_model(nncf.quantize(model, images, subset_size=16), "CPU")
    sides["OpenVINO int8 (NNCF)"] = lambda images: compiled(images)[0]
    return sides


def deployed_side(core, folder):
    """By the same ranges as the int8 pb; takes bytes, which are made before the first run."""
    graph_def, _ = fake_quantised(source.read(folder / "float32.pb"), calibration_images())
    (folder / "rounded.pb").write_bytes(graph_def.SerializeToString())
    paths = [folder / "x.xml", folder / "x.bin"]
    form = ir.Form((384, 128), MEAN, STD, ("x", ""), rgb=True)
    ir.convert(folder / "rounded.pb", paths, form)
    rounded = core.read_model(str(paths[0]))
    rounded.reshape([-1, 3, 384, 128])
    compiled = core.compile_model(rounded, "CPU")
    known = {}

    def run(images):
        if len(images) not in known:
            known[len(images)] = np.ascontiguousarray(denormalise(images).transpose(0, 3, 1, 2))
        return compiled(known[len(images)])[0]

    return run


def matrix_rates():
    """GFLOP/s of a product of two 4096 x 4096 matrices, the best of five.

    By oneDNN through TensorFlow: PyTorch takes MKL for float32, which on an AMD CPU is half as
    fast.
    """
    rates = {}
    for dtype in (tf.float32, tf.bfloat16):
        with tf.Graph().as_default() as graph:
            a, b = (tf.Variable(tf.ones([4096, 4096], dtype), use_resource=True) for _ in range(2))
            product = tf.matmul(a.read_value(), b.read_value()).op
        seconds = []
        with new_session(graph, rewrite=False) as session:
            session.run([a.initializer, b.initializer])
            for _ in range(5):
                start = time.perf_counter()
                session.run(product)
                seconds.append(time.perf_counter() - start)
        rates[dtype.name] = 2 * 4096**3 / min(seconds) / 1e9
    rates["int8"] = integer_rate()
    return rates


def integer_rate():
    """The same of whole numbers: a 1x1 convolution, as TensorFlow has no such product of its own.

    Rows are written as 8 bits, as the network's are.
    """
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        rows = tf.Variable(tf.ones([64, 8, 8, 4096]), use_resource=True)
        given = tf.raw_ops.QuantizeV2(
            input=rows.read_value(), min_range=0.0, max_range=1.0, T=tf.quint8, mode="SCALED"
        )
        # Kept as whole numbers: rounding is not what is timed.
        whole = tf.Variable(tf.bitcast(given.output, tf.uint8), use_resource=True)
        kernel = rng.integers(-127, 128, (1, 1, 4096, 4096)).astype(np.int8)
        result, *_ = tf.raw_ops.QuantizedConv2DWithBiasAndReluAndRequantize(
            input=tf.bitcast(whole.read_value(), tf.quint8),
            filter=tf.constant(kernel.astype(tf.qint8.as_numpy_dtype), tf.qint8),
            bias=np.zeros(4096, np.float32),
            min_input=0.0,
            max_input=1.0,
            min_filter=-np.ones(4096, np.float32),
            max_filter=np.ones(4096, np.float32),
            min_freezed_output=0.0,
            max_freezed_output=4096.0,
            strides=[1] * 4,
            padding="VALID",
            out_type=tf.quint8,
        )
    seconds = []
    with new_session(graph, rewrite=False) as session:
        session.run(rows.initializer)
        session.run(whole.initializer)
        for _ in range(6):
            start = time.perf_counter()
            session.run(result.op)
            seconds.append(time.perf_counter() - start)
    return 2 * 4096**3 / min(seconds) / 1e9


def bound(name):
    if "mgn.deploy" in name:  # images of noise, cut off at grey levels 0 and 255
        return 1
    return 0.05 if "bfloat16" in name or "int8" in name else 1e-4


def measure(sides, batch, rounds):
    """{name: images a second, one for each round}, sides alternating."""
    images = np.random.RandomState(7).standard_normal((batch, 384, 128, 3)).astype(np.float32)
    expected, rates = sides["float32 pb"](images), {}
    for name, side in sides.items():
        got = side(images)  # a warm-up
        difference = np.abs(got - expected).max() / np.abs(expected).max()
        print(f"  {name}: {difference:.1e} from the float32 graph", flush=True)
        assert difference < bound(name)
    repeats = max(1, 8 // batch)
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            for _ in range(repeats):
                side(images)
            rates.setdefault(name, []).append(batch * repeats / (time.perf_counter() - start))
    return rates


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--sides", default="", help="only names with one of these words in them")
    flags = parser.parse_args()
    state_dict = seeded_state_dict(KEYS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder / "x", weights.from_pytorch(state_dict), NetworkOptions(751))
        sides = tensorflow_sides(checkpoints.find(folder / "x"), folder)
        sides |= torch_sides(state_dict, folder) | openvino_sides(folder)
        words = flags.sides.split(",")
        chosen = {n: f for n, f in sides.items() if any(word in n for word in words)}
        sides = {"float32 pb": sides["float32 pb"]} | chosen
        before = matrix_rates()
        for batch in map(int, flags.batches.split(",")):
            print(f"batch {batch}")
            for side, rates in measure(sides, batch, flags.rounds).items():
                print(
                    f"  {side:<32} median {statistics.median(rates):6.2f} images/s"
                    f" ({min(rates):.2f} to {max(rates):.2f})"
                )
        print(f"matrix products, GFLOP/s before and after: {before}, {matrix_rates()}")


if __name__ == "__main__":
    main()
