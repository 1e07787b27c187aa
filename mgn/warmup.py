"""Requests with which a model server warms up, so that the first real one does not wait."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from mgn.demo import draw_picture

WARMUP_BATCHES = 1, 8  # the first run of each size makes its own kernels


def write_requests(prepare: Callable, path: Path) -> None:
    """Write drawn pedestrians as requests of `serving_default`, one for each of `WARMUP_BATCHES`.

    Args:
        prepare: pictures to what the model's input takes of each; see `inference.Embedder.prepare`.
        path: the name that TensorFlow Serving looks for: `assets.extra/tf_serving_warmup_requests`.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for batch in WARMUP_BATCHES:
            pictures = prepare([draw_picture(0, person, 1, 0) for person in range(1, batch + 1)])
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = (
                tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
            )
            request.inputs["input_image"].CopyFrom(tf.make_tensor_proto(np.stack(pictures)))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
