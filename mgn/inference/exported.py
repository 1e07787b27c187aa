"""Exported files opened: a frozen graph, a SavedModel, and what they say of themselves."""

import json
from collections.abc import Iterable
from pathlib import Path

import tensorflow.compat.v1 as tf

from mgn.config.signatures import INPUT_IMAGE, REID_EMBEDDING, SERVING_SIGNATURE
from mgn.inference.integers import check_integers
from mgn.system.errors import InputError, first_line
from mgn.system.numbers import is_digits
from mgn.system.session import new_graph, new_session
from mgn.weights.filekinds import file_kind

METADATA = "mgn_metadata"  # name of the string constant in which a graph describes itself


def read_graph_def(path: Path) -> tf.GraphDef:
    """Read a frozen graph; one that is missing, truncated or something else is an `InputError`."""
    graph_def = tf.GraphDef()
    try:
        graph_def.ParseFromString(Path(path).read_bytes())
    except IsADirectoryError:
        raise InputError(
            f"{path}: is a folder; name a .pb file, as export_pb.py makes it"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise _no_graph(path, f"or truncated ({type(error).__name__})") from None
    if not graph_def.node:
        raise _no_graph(path, "or an empty one")
    return graph_def


def _no_graph(path: Path, otherwise: str) -> InputError:
    kind = file_kind(path)
    told = f"it looks like {kind.name}; {kind.to_run}" if kind else f"{otherwise}; export it again"
    return InputError(f"{path}: not a frozen graph, {told}")


def session_of(graph_def: tf.GraphDef, where: object, rewrite: bool = True) -> tf.Session:
    """A session on a frozen graph; `where` names its file in the error."""
    with new_graph().as_default() as graph:
        try:
            tf.import_graph_def(graph_def, name="")
        except ValueError as error:
            raise InputError(
                f"{where}: not a usable graph ({first_line(error)}); export it again"
            ) from None
    check_integers(graph, where)
    return new_session(graph, rewrite)


def metadata_of(nodes: Iterable[tf.NodeDef]) -> dict:
    """What a graph says of itself; empty if it was not made by this toolkit."""
    for node in nodes:
        if node.name == METADATA:
            return json.loads(node.attr["value"].tensor.string_val[0])
    return {}


def saved_model_folder(path: Path) -> Path | None:
    """The SavedModel that `path` is, or the newest in a folder of versions; None if neither."""
    if (path / "saved_model.pb").is_file():
        return path
    versions = [p.parent for p in path.glob("*/saved_model.pb") if is_digits(p.parent.name)]
    return max(versions, key=lambda p: int(p.name), default=None)


def load_saved_model(folder: Path, rewrite: bool) -> tuple[tf.Session, Path, tuple[str, str]]:
    """A session, the folder, and the names of the two tensors that its signature maps."""
    session = new_session(new_graph(), rewrite)
    tags = [tf.saved_model.tag_constants.SERVING]
    try:
        with session.graph.as_default():
            loaded = tf.saved_model.loader.load(session, tags, str(folder))
    except Exception as error:  # whatever its parser raises on damaged files
        session.close()
        problem = f"not a readable SavedModel ({first_line(error)})"
        raise InputError(f"{folder}: {problem}; export it again") from None
    check_integers(session.graph, folder)
    try:  # through dict(), as protobuf's maps make an entry of what is missing
        signature = dict(loaded.signature_def)[SERVING_SIGNATURE]
        given = dict(signature.inputs)[INPUT_IMAGE]
        result = dict(signature.outputs)[REID_EMBEDDING]
    except KeyError:
        session.close()
        wanted = f"{SERVING_SIGNATURE} from {INPUT_IMAGE} to {REID_EMBEDDING}"
        raise InputError(f"{folder}: has no signature {wanted}; export it again") from None
    return session, folder, (given.name, result.name)
