"""Images a second of the exported graph, against PyTorch, ONNX Runtime and OpenVINO, alternating.

    pip install -r tests/requirements.txt   # what is not installed is left out
    python tests/benchmarks/benchmark_inference.py [--rounds 5] [--batches 1,8,32]

All sides have the same seeded network (751 classes, average pooling, 384x128) and normalised
images; they take turns in one process, and the result of each is compared with the float32
graph's.
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
from mgn.conversion.torch_mgn import TorchMGN
from mgn.export import freezing
from mgn.inference import exported
from mgn.inference.embedder import session_of_checkpoint
from mgn.inference.graph import PLAIN
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
    sides["checkpoint, batch norm apart"] = runner(session_of_checkpoint(checkpoint))
    return sides


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
    return sides


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
    return rates


def measure(sides, batch, rounds):
    """{name: images a second, one for each round}, sides alternating."""
    images = np.random.RandomState(7).standard_normal((batch, 384, 128, 3)).astype(np.float32)
    expected, rates = sides["float32 pb"](images), {}
    for name, side in sides.items():
        got = side(images)  # a warm-up
        difference = np.abs(got - expected).max() / np.abs(expected).max()
        print(f"  {name}: {difference:.1e} from the float32 graph", flush=True)
        assert difference < (0.05 if "bfloat16" in name else 1e-4)
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
    flags = parser.parse_args()
    state_dict = seeded_state_dict(KEYS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder / "x", weights.from_pytorch(state_dict), NetworkOptions(751))
        sides = tensorflow_sides(checkpoints.find(folder / "x"), folder)
        sides |= torch_sides(state_dict, folder) | openvino_sides(folder)
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
