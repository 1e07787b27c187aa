"""What the tests of a store share: drawn vectors, and a server."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from blocks import marked

from mgn.data.records import Record
from mgn.evaluation.rows import Stamp

MODEL = "0123 NetworkOptions(num_classes=24)"
SECOND = 10**9


def drawn(images, size=32, seed=0):
    """Records of 10 images an identity by 3 cameras in turn, stamps a second apart, vectors."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((images, size), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    records = [Record(f"/of/it's \"{i:05}\\é.jpg", i // 10, i % 3 + 1) for i in range(images)]
    return records, [Stamp(i, i * SECOND) for i in range(images)], features


def serve(folder):
    """Start Milvus Lite's own server, which speaks as Milvus does; returns it and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (block,) = marked("server")  # of doc/: the same, but for its folder, port and host
    (words,) = block.commands
    assert words[:2] == ["milvus-lite", "server"] and words[-2:] == ["--host", "127.0.0.1"]
    command = [sys.executable, "-m", "milvus_lite", *words[1:]]
    command[command.index("--data-dir") + 1] = str(folder)
    command[command.index("--port") + 1] = str(port)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(300):
        with socket.socket() as tried:
            if not tried.connect_ex(("127.0.0.1", port)):
                return server, f"http://127.0.0.1:{port}"
        assert server.poll() is None
        time.sleep(0.1)
    raise AssertionError("no server")


def rows_on_disk(store):
    """Every row in the files of a store, deleted ones too, as a reader of the disk finds them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for path in Path(store).rglob("*"):
        if path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        elif path.suffix == ".arrow":
            with pa.OSFile(str(path)) as stream:
                rows += pa.ipc.open_stream(stream).read_all().to_pylist()
    return rows
