"""A frozen graph wrapped into a SavedModel as TensorFlow Serving loads it, compared with its source first."""

from contextlib import closing
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.comparison import Comparison, compare
from mgn.errors import InputError
from mgn.files import refuse_existing, replacing
from mgn.frozen import SERVING_SIGNATURE, read_graph_def, session_of
from mgn.inference import OUTPUTS, PLAIN, PRE_POST, Embedder, open_exported
from mgn.session import new_session

SERVING_SCRIPTS = {PLAIN: "export_tf_serving_model.py", PRE_POST: "export_tf_serving_with_pre_post.py"}


def export_saved_model(
    pb_path: Path, export_path: Path, form: str, version: int | None = None, overwrite: bool = False
) -> tuple[Path, Comparison]:
    """Wrap a frozen graph into `export_path/version`, as TensorFlow Serving loads it.

    Signatures `serving_default` and `reid_mgn_serving`: `input_image` to `reid_embedding`, one row a picture.

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
