"""Freeze a checkpoint into a `.pb`, wrap a `.pb` into a SavedModel; each compared with its source first."""

import json
import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from mgn import checkpoints
from mgn.errors import CheckError, InputError
from mgn.files import refuse_existing, replacing
from mgn.frozen import METADATA, SERVING_SIGNATURE, read_graph_def, session_of
from mgn.inference import (
    OUTPUTS,
    PLAIN,
    PRE_POST,
    Embedder,
    load_embedder,
    open_exported,
    session_of_checkpoint,
)
from mgn.session import new_session

SERVING_SCRIPTS = {PLAIN: "export_tf_serving_model.py", PRE_POST: "export_tf_serving_with_pre_post.py"}
_TOLERANCE = 1e-5  # largest difference over largest value
log = logging.getLogger(__name__)


def export_pb(
    path: Path,
    pb_path: Path,
    form: str,
    input_type: str = "float32",
    overwrite: bool = False,
    **options: object,
) -> float:
    """Freeze a checkpoint into one file.

    Args:
        path: train_dir or checkpoint prefix.
        pb_path: file to make.
        form: "plain" or "pre_post".
        input_type: of a pre_post graph's `image_tensor`, "float32" or "uint8".
        overwrite: replace `pb_path`.
        options: `pool`, `height`, `width`, for a checkpoint without `.json`.

    Returns:
        the largest difference from the checkpoint's embedding, over its largest value.

    Raises:
        InputError: not a checkpoint of a whole network, or `pb_path` exists.
        CheckError: the file differs from the checkpoint by more than 1e-5; it is not put in place.
    """
    refuse_existing(pb_path, overwrite)
    checkpoint = checkpoints.find(path, **options)
    graph_def = freeze(checkpoint, form, input_type)
    with replacing(pb_path, overwrite) as temporary:
        temporary.write_bytes(graph_def.SerializeToString(deterministic=True))
        with (
            closing(load_embedder(checkpoint.prefix, **options)) as source,
            closing(open_exported(temporary, rewrite=False)) as made,
        ):
            return compare(source, made, f"{pb_path} against {checkpoint.prefix}")


def freeze(checkpoint: checkpoints.Checkpoint, form: str, input_type: str) -> tf.GraphDef:
    """The inference graph with the checkpoint's weights as constants, and its own description."""
    with session_of_checkpoint(checkpoint, form, input_type) as session:
        graph_def = tf.graph_util.convert_variables_to_constants(
            session, session.graph.as_graph_def(), [OUTPUTS[form]]
        )
    description = checkpoints.describe(checkpoint.options)
    description |= {
        "form": form,
        "input": input_type,
        "precision": "float32",
        "source_sha256": checkpoints.sha256(checkpoint.prefix),
        "tensorflow": tf.__version__,
    }
    _add_metadata(graph_def, description)
    return graph_def


def _add_metadata(graph_def: tf.GraphDef, description: dict) -> None:
    with tf.Graph().as_default() as graph:
        tf.constant(json.dumps(description, sort_keys=True), name=METADATA)
    graph_def.node.extend(graph.as_graph_def().node)


def export_saved_model(
    pb_path: Path, export_path: Path, form: str, version: int | None = None, overwrite: bool = False
) -> tuple[Path, float]:
    """Wrap a frozen graph into `export_path/version`, as TensorFlow Serving loads it.

    Signatures `serving_default` and `reid_mgn_serving`: `input_image` to `reid_embedding`, one row a picture.

    Args:
        pb_path: made by `export_pb` in the same form.
        export_path: folder of versions.
        form: "plain" or "pre_post".
        version: 1 or more; None: one more than the highest there.
        overwrite: replace that version.

    Returns:
        the folder made, and the largest difference from the pb's embedding, over its largest value.

    Raises:
        InputError: not such a pb, or the version exists.
        CheckError: the SavedModel differs from the pb by more than 1e-5; it is not put in place.
    """
    folder = Path(export_path) / str(version or next_version(export_path))
    refuse_existing(folder, overwrite)
    graph_def = read_graph_def(pb_path)
    with closing(Embedder(session_of(graph_def, pb_path, rewrite=False), pb_path)) as source:
        if source.form != form:
            raise InputError(f"{pb_path}: a {source.form} graph; use {SERVING_SCRIPTS[source.form]}")
        with replacing(folder, overwrite) as temporary:
            _write_saved_model(graph_def, temporary, form)
            with closing(open_exported(temporary, rewrite=False)) as made:
                return folder, compare(source, made, f"{folder} against {pb_path}")


def next_version(export_path: Path) -> int:
    """One more than the highest version in the folder; 1 if there is none."""
    folder = Path(export_path)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0) + 1


def _write_saved_model(graph_def: tf.GraphDef, folder: Path, form: str) -> None:
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    with new_session(graph) as session, graph.as_default():
        tensors = {name: graph.get_tensor_by_name(f"{name}:0") for name in ("image_tensor", OUTPUTS[form])}
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


def compare(source: Embedder, made: Embedder, what: str) -> float:
    """Largest difference between two models over the largest value: one picture, a batch, other sizes.

    Raises:
        CheckError: more than 1e-5.
    """
    rng = np.random.default_rng(0)
    sizes = [(128, 64), (128, 64), (300, 110)]
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    worst = 0.0
    for batch in (pictures[:1], pictures):
        for kind in ("original", "__call__"):
            expected, got = getattr(source, kind)(batch), getattr(made, kind)(batch)
            worst = max(worst, float(np.abs(got - expected).max() / np.abs(expected).max()))
    if not worst <= _TOLERANCE:  # a NaN fails too
        raise CheckError(
            f"{what}: differs by {worst:.1e} of the largest value, more than {_TOLERANCE:.0e}; not kept"
        )
    log.info(f"{what}: largest difference {worst:.1e} of the largest value")
    return worst
