"""A frozen graph wrapped into a SavedModel as TensorFlow Serving loads it, compared with its source first."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from mgn.data.demo import draw_image
from mgn.export.comparison import Comparison, compare
from mgn.inference import Embedder
from mgn.inference.embedder import open_exported
from mgn.inference.exported import SERVING_SIGNATURE, metadata_of, read_graph_def, session_of
from mgn.inference.graph import OUTPUTS, PLAIN, PRE_POST
from mgn.system.errors import InputError
from mgn.system.files import atomic_write, refuse_existing
from mgn.system.session import new_session

SERVING_SCRIPTS = {
    PLAIN: "export_tf_serving_model.py",
    PRE_POST: "export_tf_serving_with_pre_post.py",
}
WARMUP_BATCHES = 1, 8  # the first run of each size makes its own kernels


def export_saved_model(
    pb_path: Path, export_path: Path, form: str, version: int | None = None, overwrite: bool = False
) -> tuple[Path, Comparison]:
    """Wrap a frozen graph into `export_path/version`, as TensorFlow Serving loads it.

    Signatures `serving_default` and `reid_mgn_serving`: `input_image` to `reid_embedding`, one row
    an image. `assets.extra` has the graph's description as a file, and requests with which a
    server warms up.

    Args:
        pb_path: made by `export_pb` in the same form.
        export_path: folder of versions.
        form: "plain" or "pre_post".
        version: 1 or more; None: one more than the highest there.
        overwrite: replace that version.

    Returns:
        the folder made, and how its embeddings differ from the pb's.

    Raises:
        InputError: not such a pb, or the version exists.
        CheckError: the SavedModel differs from the pb by more than 1e-5; it is not put in place.
    """
    folder = Path(export_path) / str(version or next_version(export_path))
    refuse_existing(folder, overwrite)
    graph_def = read_graph_def(pb_path)
    with closing(Embedder(session_of(graph_def, pb_path, rewrite=False), pb_path)) as source:
        if source.form != form:
            raise InputError(
                f"{pb_path}: a {source.form} graph; use {SERVING_SCRIPTS[source.form]}"
            )
        with atomic_write(folder, overwrite) as temporary:
            _write_saved_model(graph_def, temporary, form)
            _write_extras(graph_def, source, temporary / "assets.extra")
            with closing(open_exported(temporary, rewrite=False)) as made:
                return folder, compare(source, made, f"{folder} against {pb_path}")


def next_version(export_path: Path) -> int:
    """One more than the highest version in the folder; 1 if there is none."""
    folder = Path(export_path)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0) + 1


def _write_saved_model(graph_def: tf.GraphDef, folder: Path, form: str) -> None:
    (given,) = (node for node in graph_def.node if node.name == "image_tensor")
    others = tf.GraphDef(versions=graph_def.versions, library=graph_def.library)
    others.node.extend(node for node in graph_def.node if node.name != given.name)
    with tf.Graph().as_default() as graph:
        shape = tf.TensorShape(given.attr["shape"].shape if "shape" in given.attr else None)
        images = tf.placeholder(given.attr["dtype"].type, shape, given.name)
        # A server asks for the type alone, and a convolution of images of another rank ends its
        # process.
        checked = tf.ensure_shape(images, shape, name=f"{given.name}/checked")
        tf.import_graph_def(others, {f"{given.name}:0": checked}, name="")
    with new_session(graph) as session, graph.as_default():
        tensors = {
            name: graph.get_tensor_by_name(f"{name}:0") for name in ("image_tensor", OUTPUTS[form])
        }
        signature = tf.saved_model.predict_signature_def(
            inputs={"input_image": tensors["image_tensor"]},
            outputs={"reid_embedding": tensors[OUTPUTS[form]]},
        )
        default = tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        builder = tf.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.tag_constants.SERVING],
            signature_def_map={default: signature, SERVING_SIGNATURE: signature},
        )
        builder.save()


def _write_extras(graph_def: tf.GraphDef, source: Embedder, folder: Path) -> None:
    folder.mkdir()
    described = metadata_of(graph_def)
    if described:
        (folder / "mgn.json").write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")
    write_requests(source.prepare, folder / "tf_serving_warmup_requests")


def write_requests(prepare: Callable, path: Path) -> None:
    """Write drawn pedestrians as requests of `serving_default`, one for each of `WARMUP_BATCHES`.

    Args:
        prepare: images to what the model's input takes of each; see `inference.Embedder.prepare`.
        path: the name that TensorFlow Serving looks for: `assets.extra/tf_serving_warmup_requests`.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for batch in WARMUP_BATCHES:
            images = prepare([draw_image(0, person, 1, 0) for person in range(1, batch + 1)])
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = (
                tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
            )
            request.inputs["input_image"].CopyFrom(tf.make_tensor_proto(np.stack(images)))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
