"""Exported files opened: a frozen graph, a SavedModel, and what they say of themselves."""

import json
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.system.errors import InputError
from mgn.system.session import new_session

METADATA = "mgn_metadata"  # name of the string constant in which a graph describes itself
SERVING_SIGNATURE = "reid_mgn_serving"


def read_graph_def(path: Path) -> tf.GraphDef:
    """Read a frozen graph.

    Raises:
        InputError: missing, truncated or something else.
    """
    graph_def = tf.GraphDef()
    try:
        graph_def.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise InputError(
            f"{path}: not a frozen graph, or truncated ({type(error).__name__}); export it again"
        ) from None
    if not graph_def.node:
        raise InputError(f"{path}: an empty graph; export it again")
    return graph_def


def session_of(graph_def: tf.GraphDef, where: object, rewrite: bool = True) -> tf.Session:
    """A session on a frozen graph; `where` names its file in the error."""
    with tf.Graph().as_default() as graph:
        try:
            tf.import_graph_def(graph_def, name="")
        except ValueError as error:
            raise InputError(
                f"{where}: not a usable graph ({str(error).splitlines()[0][:200]})"
            ) from None
    return new_session(graph, rewrite)


def metadata_of(graph_def: tf.GraphDef) -> dict:
    """What the graph says of itself; empty if it was not made by this toolkit."""
    for node in graph_def.node:
        if node.name == METADATA:
            return json.loads(node.attr["value"].tensor.string_val[0])
    return {}


def saved_model_folder(path: Path) -> Path | None:
    """The SavedModel that `path` is or, in a folder of numbered versions, the newest; None if neither."""
    if (path / "saved_model.pb").is_file():
        return path
    versions = [p.parent for p in path.glob("*/saved_model.pb") if p.parent.name.isdigit()]
    return max(versions, key=lambda p: int(p.name), default=None)


def load_saved_model(folder: Path, rewrite: bool) -> tuple[tf.Session, Path, str, str]:
    """A session, the folder, and the names of the tensors that its signature serves."""
    session = new_session(tf.Graph(), rewrite)
    try:
        with session.graph.as_default():
            loaded = tf.saved_model.loader.load(
                session, [tf.saved_model.tag_constants.SERVING], str(folder)
            )
    except Exception as error:  # whatever its parser raises on damaged files
        session.close()
        raise InputError(
            f"{folder}: not a readable SavedModel ({str(error).splitlines()[0][:200]})"
        ) from None
    signature = loaded.signature_def.get(SERVING_SIGNATURE)
    if signature is None or not (
        "input_image" in signature.inputs and "reid_embedding" in signature.outputs
    ):
        session.close()
        raise InputError(
            f"{folder}: has no signature {SERVING_SIGNATURE} from input_image to reid_embedding"
        )
    served = signature.inputs["input_image"].name, signature.outputs["reid_embedding"].name
    return session, folder, *served
