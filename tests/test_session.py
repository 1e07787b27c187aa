"""Devices: what a run says of them, and that GPU memory is taken as needed."""

from types import SimpleNamespace

import tensorflow.compat.v1 as tf

from mgn.session import describe_devices, new_session


def test_gpu_memory_grows():
    with new_session(tf.get_default_graph()) as session:
        assert session._config.gpu_options.allow_growth


def test_devices_are_named_and_without_a_gpu_the_remedy(monkeypatch):
    found = [SimpleNamespace(name="/physical_device:GPU:0"), SimpleNamespace(name="/physical_device:GPU:1")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found if kind == "GPU" else [])
    details = {"/physical_device:GPU:0": {"device_name": "NVIDIA H100"}, "/physical_device:GPU:1": {}}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu.name])
    assert describe_devices() == "devices: 2 GPU (NVIDIA H100, /physical_device:GPU:1)"
    found.clear()
    assert describe_devices().startswith("devices: CPU (no GPU found")
    assert 'pip install "tensorflow[and-cuda]==2.21.0"' in describe_devices()
