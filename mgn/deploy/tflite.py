"""`tflite`: a LiteRT flatbuffer, for phones and small boards."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.lite.tools import flatbuffer_utils

from mgn.config.variants import MEAN, STD
from mgn.deploy.packages import needed
from mgn.deploy.source import FEATURES, IMAGES, Source, network, normalised
from mgn.deploy.target import Choices, Target, described, itself, standardised
from mgn.inference.exported import METADATA
from mgn.system.session import new_graph, new_session

_SCHEMA = "tensorflow.lite.python.schema_py_generated"  # TensorFlow's own reader of flatbuffers


def _write(source: Source, paths: Sequence[Path], choices: Choices) -> None:
    with new_graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, *source.size, 3], name=IMAGES)
        features = network(source, normalised(source, images, (MEAN, STD)))
        features = tf.identity(features, name=FEATURES)
    with new_session(graph, rewrite=False) as session:
        converter = tf.lite.TFLiteConverter.from_session(session, [images], [features])
        if choices.half or choices.dynamic_range:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if choices.half:
            converter.target_spec.supported_types = [tf.float16]
        made = converter.convert()
    paths[0].write_bytes(_with_description(made, described(source, choices)))


def _with_description(contents: bytes, description: str) -> bytes:
    """A flatbuffer with one more entry in its metadata, which other readers pass over."""
    schema = needed(_SCHEMA)
    model = flatbuffer_utils.convert_bytearray_to_object(contents)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(description.encode(), np.uint8)
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def description_in(path: Path) -> bytes:
    """The description in a flatbuffer; empty if it has none.

    Raises:
        Exception: of any kind, for a damaged file.
    """
    model = needed(_SCHEMA).Model.GetRootAs(path.read_bytes())
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    return b""


def _run(paths: Sequence[Path], images: np.ndarray, _: Choices) -> np.ndarray:
    litert = needed("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_path=str(paths[0]))
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], standardised(images, MEAN, STD))
    interpreter.invoke()
    return interpreter.get_tensor(made["index"]).copy()


TARGET = Target(
    writes="a flatbuffer: images [N, H, W, 3], RGB with ImageNet's mean and deviation outside",
    write=_write,
    run=_run,
    files=itself,
    runtime="LiteRT",
    packages=("ai_edge_litert.interpreter",),
    takes=("half", "dynamic_range"),
)
