"""`tflite`: a LiteRT flatbuffer, for phones and small boards."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config.variants import MEAN, STD
from mgn.deploy.packages import needed
from mgn.deploy.source import FEATURES, IMAGES, Source, network, normalised
from mgn.deploy.target import Choices, Target, itself
from mgn.system.session import new_graph, new_session


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
        paths[0].write_bytes(converter.convert())


def _run(paths: Sequence[Path], images: np.ndarray, _: Choices) -> np.ndarray:
    litert = needed("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_path=str(paths[0]))
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], (images - np.float32(MEAN)) / np.float32(STD))
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
