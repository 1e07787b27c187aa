"""The messages against the official classes, field by field and byte by byte."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.wrappers_pb2 import Int64Value
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

from mgn.serving.messages import CLASSES, DTYPES, float_array, put_array, type_name
from mgn.system.errors import CheckError

PREDICT, METADATA = predict_pb2.PredictRequest, get_model_metadata_pb2.GetModelMetadataRequest
OFFICIAL = {
    "Version": Int64Value,
    "ModelSpec": model_pb2.ModelSpec,
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "TensorShape": tensor_shape_pb2.TensorShapeProto,
    "Tensor": tensor_pb2.TensorProto,
    "NamedTensor": PREDICT.InputsEntry,
    "PredictRequest": PREDICT,
    "PredictResponse": predict_pb2.PredictResponse,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "NamedInfo": meta_graph_pb2.SignatureDef.InputsEntry,
    "Signature": meta_graph_pb2.SignatureDef,
    "NamedSignature": get_model_metadata_pb2.SignatureDefMap.SignatureDefEntry,
    "Signatures": get_model_metadata_pb2.SignatureDefMap,
    "Any": Any,
    "NamedAny": get_model_metadata_pb2.GetModelMetadataResponse.MetadataEntry,
    "MetadataRequest": METADATA,
    "MetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
}
ARRAYS = [
    np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3),
    np.linspace(-2, 2, 24, dtype=np.float32).reshape(1, 2, 4, 3),
    np.array([b"\xff\xd8", b""], object),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
]


@pytest.mark.parametrize("name", CLASSES)
def test_the_fields_are_the_official_ones(name):
    official = OFFICIAL[name].DESCRIPTOR.fields_by_name
    for field in CLASSES[name].DESCRIPTOR.fields:
        other = official[field.name]
        kind = FieldDescriptor.TYPE_INT32 if other.enum_type else other.type
        assert (field.number, field.type) == (other.number, kind)
        assert field.is_repeated == other.is_repeated
        if field.message_type:  # and what is inside is what is compared elsewhere
            assert other.message_type == OFFICIAL[field.message_type.name].DESCRIPTOR or (
                other.message_type.GetOptions().map_entry
            )


def test_the_types_are_the_official_ones():
    assert {name: types_pb2.DataType.Value(name) for name in DTYPES} == DTYPES
    assert type_name(1) == "DT_FLOAT" and type_name(99) == "number 99"


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_a_request_is_what_the_official_class_reads(array):
    ours = CLASSES["PredictRequest"]()
    ours.model_spec.name, ours.model_spec.signature_name = "mgn", "s"
    ours.model_spec.version.value = 3
    put_array(ours.inputs.add(key="input_image").value, array)
    read = PREDICT.FromString(ours.SerializeToString())
    assert (read.model_spec.name, read.model_spec.signature_name) == ("mgn", "s")
    assert read.model_spec.version.value == 3 and not read.model_spec.version_label
    got = tf.make_ndarray(read.inputs["input_image"])
    assert got.dtype == array.dtype and np.array_equal(got, array)


@pytest.mark.parametrize("shape", [(2, 5), (1, 1), (0, 5), ()])
@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_is_read_as_the_official_class_does(shape, packed):
    """Contents as bytes, as TensorFlow writes them, or as numbers, as the server does."""
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    theirs = tf.make_tensor_proto(array)
    if packed and array.size > 1:
        assert theirs.tensor_content
    if not packed:
        theirs.ClearField("tensor_content")
        theirs.float_val[:] = array.ravel().tolist()
    got = float_array(CLASSES["Tensor"].FromString(theirs.SerializeToString()))
    assert got.dtype == np.float32 and np.array_equal(got, array)


def test_the_last_number_of_a_short_tensor_repeats():
    theirs = tf.make_tensor_proto(np.full((2, 3), 7, np.float32))
    theirs.ClearField("tensor_content")
    theirs.float_val[:] = [1, 7]
    got = float_array(CLASSES["Tensor"].FromString(theirs.SerializeToString()))
    assert np.array_equal(got, tf.make_ndarray(theirs)) and got[0].tolist() == [1, 7, 7]


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        ({"dtype": 7, "string_val": [b"x"]}, "type DT_STRING, not DT_FLOAT"),
        ({"dtype": 99}, "type number 99, not DT_FLOAT"),
        ({"dtype": 1, "tensor_content": b"123"}, "3 bytes for a tensor of shape"),
        ({"dtype": 1, "float_val": [1, 2, 3]}, "3 values for a tensor of shape"),
        ({"dtype": 1}, "0 values for a tensor of shape"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": -1}]}}, "a tensor of shape"),
    ],
)
def test_a_tensor_that_is_none_of_floats(made, problem):
    tensor = CLASSES["Tensor"](**({"tensor_shape": {"dim": [{"size": 2}]}} | made))
    with pytest.raises(CheckError, match=problem):
        float_array(tensor)
