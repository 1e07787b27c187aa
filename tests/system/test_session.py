"""Devices: what a run says of them, GPU memory as needed, the passes that a CPU needs."""

from types import SimpleNamespace

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.system.session import describe_devices, new_session, session_config


def test_gpu_memory_grows():
    with new_session(tf.get_default_graph()) as session:
        assert session._config.gpu_options.allow_growth


def test_on_a_cpu_convolution_bias_and_relu_become_one(monkeypatch):
    x = tf.placeholder(tf.float32, [None, 8, 8, 4])
    kernel, bias = np.full((3, 3, 4, 4), 0.1, np.float32), np.full(4, -1.0, np.float32)
    y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, padding="SAME"), bias))
    found, options = tf.RunMetadata(), tf.RunOptions(output_partition_graphs=True)
    with new_session(tf.get_default_graph()) as session:
        session.run(y, {x: np.ones((1, 8, 8, 4))}, options=options, run_metadata=found)
    kinds = [node.op for graph in found.partition_graphs for node in graph.node]
    assert any("FusedConv2D" in kind for kind in kinds) and "Relu" not in kinds
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: ["a GPU"])
    assert not session_config().graph_options.rewrite_options.ListFields()  # all passes


def test_devices_are_named_and_without_a_gpu_the_remedy(monkeypatch):
    found = [
        SimpleNamespace(name="/physical_device:GPU:0"),
        SimpleNamespace(name="/physical_device:GPU:1"),
    ]
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: found if kind == "GPU" else []
    )
    details = {
        "/physical_device:GPU:0": {"device_name": "NVIDIA H100"},
        "/physical_device:GPU:1": {},
    }
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu.name])
    assert describe_devices() == "devices: 2 GPU (NVIDIA H100, /physical_device:GPU:1)"
    found.clear()
    assert describe_devices().startswith("devices: CPU (no GPU found")
    assert 'pip install "tensorflow[and-cuda]==2.21.0"' in describe_devices()
