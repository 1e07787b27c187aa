"""A frozen graph as a SavedModel for TensorFlow Serving, compared with its source first."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from mgn.config.signatures import (
    INPUT_IMAGE,
    MEAN_AND_STD,
    PIXELS_SIGNATURE,
    REID_EMBEDDING,
    SERVING_SIGNATURE,
    SMALLER_SIGNATURE,
    WHOLE_EMBEDDING,
    WHOLE_SIGNATURE,
)
from mgn.config.variants import options_in
from mgn.data.demo import draw_image
from mgn.export.comparison import Comparison, compare
from mgn.inference.embedder import Embedder, open_exported
from mgn.inference.exported import metadata_of, read_graph_def, session_of
from mgn.inference.graph import IMAGE_TENSOR, OUTPUTS, PLAIN, PRE_POST, WHOLE
from mgn.system.errors import InputError
from mgn.system.files import atomic_write, refuse_existing
from mgn.system.numbers import is_digits
from mgn.system.session import new_graph, new_session

SERVING_SCRIPTS = {
    PLAIN: "export_tf_serving_model.py",
    PRE_POST: "export_tf_serving_with_pre_post.py",
}
WARMUP_BATCHES = 1, 8  # images; the first run of each size makes its own kernels
_DEFAULT = tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def export_saved_model(
    pb_path: Path,
    export_path: Path,
    form: str,
    version: int | None = None,
    overwrite: bool = False,
    warmup: Sequence[int] = WARMUP_BATCHES,
) -> tuple[Path, Comparison]:
    """Wrap a frozen graph into `export_path/version`, as TensorFlow Serving loads it.

    Signatures `serving_default` and `reid_mgn_serving`: `input_image` to `reid_embedding`, one row
    an image. A plain model that takes images normalised by a mean and deviation of its own has
    `reid_mgn_pixels` too: `input_image` to `mean_and_std`, the six numbers of 0 to 255 a row. A
    plain model of smaller vectors has `reid_mgn_whole`, `input_image` to `whole_embedding`, and
    `reid_mgn_smaller`, from there to `reid_embedding`: so a client adds a mirror image's before.
    `assets.extra` has the graph's description as a file, and requests with which a server warms
    up. Returns the folder, and how its embeddings differ from the pb's.

    Args:
        pb_path: made by `export_pb` in the same form.
        export_path: folder of versions.
        form: "plain" or "pre_post".
        version: 1 or more; None: one more than the highest there.
        overwrite: replace that version.
        warmup: images in each of these requests. A server that takes smaller batches only, by its
            `max_batch_size`, never becomes available.

    Raises:
        InputError: not such a pb, or the version exists.
        CheckError: the SavedModel differs from the pb by more than 1e-5; it is not put in place.
    """
    folder = Path(export_path) / str(version or next_version(export_path))
    refuse_existing(folder, overwrite)
    graph_def = read_graph_def(pb_path)
    with closing(Embedder(session_of(graph_def, pb_path, rewrite=False), pb_path)) as source:
        if source.form != form:
            script = SERVING_SCRIPTS[source.form]
            raise InputError(f"{pb_path}: is a {source.form} graph; use {script}")
        if form == PRE_POST and source.input.shape.rank == 4 and source.input.shape[1]:
            _, height, width, _ = source.input.shape
            problem = f"{pb_path}: takes only images of {height}x{width}"
            raise InputError(f"{problem}; to serve it, export it without --input_size")
        with atomic_write(folder, overwrite) as temporary:
            _write_saved_model(graph_def, temporary, form)
            _write_extras(graph_def, source, warmup, temporary / "assets.extra")
            with closing(open_exported(temporary, rewrite=False)) as made:
                return folder, compare(source, made, f"{folder} against {pb_path}")


def next_version(export_path: Path) -> int:
    """One more than the highest version in the folder; 1 if there is none."""
    folder = Path(export_path)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if is_digits(name)), default=0) + 1


def _write_saved_model(graph_def: tf.GraphDef, folder: Path, form: str) -> None:
    others = tf.GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name == IMAGE_TENSOR:
            given = node
        else:
            others.node.append(node)
    with new_graph().as_default() as graph:
        shape = tf.TensorShape(given.attr["shape"].shape if "shape" in given.attr else None)
        images = tf.placeholder(given.attr["dtype"].type, shape, IMAGE_TENSOR)
        # A server checks the type alone, and images of another rank would end its process.
        checked = tf.ensure_shape(images, shape, name=f"{IMAGE_TENSOR}/checked")
        tf.import_graph_def(others, {f"{IMAGE_TENSOR}:0": checked}, name="")
    with new_session(graph) as session, graph.as_default():
        result = graph.get_tensor_by_name(f"{OUTPUTS[form]}:0")
        signature = tf.saved_model.predict_signature_def(
            inputs={INPUT_IMAGE: images}, outputs={REID_EMBEDDING: result}
        )
        signatures = {_DEFAULT: signature, SERVING_SIGNATURE: signature}
        about = metadata_of(graph_def.node)
        if form == PLAIN and ("mean" in about or "std" in about):
            options = options_in(about)
            row = tf.constant([[*options.mean, *options.std]], tf.float32)
            rows = tf.tile(row, [tf.shape(checked)[0], 1])
            signatures[PIXELS_SIGNATURE] = tf.saved_model.predict_signature_def(
                inputs={INPUT_IMAGE: images}, outputs={MEAN_AND_STD: rows}
            )
        if form == PLAIN and any(node.name == WHOLE for node in graph_def.node):
            whole = graph.get_tensor_by_name(f"{WHOLE}:0")
            signatures[WHOLE_SIGNATURE] = tf.saved_model.predict_signature_def(
                inputs={INPUT_IMAGE: images}, outputs={WHOLE_EMBEDDING: whole}
            )
            signatures[SMALLER_SIGNATURE] = tf.saved_model.predict_signature_def(
                inputs={WHOLE_EMBEDDING: whole}, outputs={REID_EMBEDDING: result}
            )
        builder = tf.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, [tf.saved_model.tag_constants.SERVING], signature_def_map=signatures
        )
        builder.save()


def _write_extras(
    graph_def: tf.GraphDef, source: Embedder, warmup: Sequence[int], folder: Path
) -> None:
    folder.mkdir()
    described = metadata_of(graph_def.node)
    if described:
        (folder / "mgn.json").write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")
    # The name that a server reads.
    _write_requests(source, warmup, folder / "tf_serving_warmup_requests")


def _write_requests(source: Embedder, batches: Sequence[int], path: Path) -> None:
    """Drawn pedestrians as requests of `serving_default`, of so many images each."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for batch in batches:
            images = [draw_image(0, person, 1, 0) for person in range(1, batch + 1)]
            prepared = np.stack(source.prepare(images))
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = _DEFAULT
            request.inputs[INPUT_IMAGE].CopyFrom(tf.make_tensor_proto(prepared))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
