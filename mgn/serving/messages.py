"""What TensorFlow Serving's client and server tell each other over gRPC, without TensorFlow.

The classes of `tensorflow_serving.apis` import TensorFlow, which takes seconds. These have the same
fields, as far as the client uses them; protobuf skips all others.
"""

import math

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mgn.system.errors import CheckError

SERVICE = "/tensorflow.serving.PredictionService/"
DTYPES = {"DT_FLOAT": 1, "DT_UINT8": 4, "DT_STRING": 7}  # of TensorFlow's tensors
_OF_NUMPY = {"float32": "DT_FLOAT", "uint8": "DT_UINT8", "object": "DT_STRING"}
_PACKAGE = "mgn.serving"
_FIELDS = {  # message: {field: (its number, its type)}; "*": any number of them
    "Version": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Version"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "Dim": {"size": (1, "int64")},
    "TensorShape": {"dim": (2, "Dim*"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "float*"),
        "string_val": (8, "bytes*"),
    },
    "NamedTensor": {"key": (1, "string"), "value": (2, "Tensor")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "NamedTensor*")},
    "PredictResponse": {"outputs": (1, "NamedTensor*"), "model_spec": (2, "ModelSpec")},
    "TensorInfo": {"dtype": (2, "int32"), "tensor_shape": (3, "TensorShape")},
    "NamedInfo": {"key": (1, "string"), "value": (2, "TensorInfo")},
    "Signature": {"inputs": (1, "NamedInfo*"), "outputs": (2, "NamedInfo*")},
    "NamedSignature": {"key": (1, "string"), "value": (2, "Signature")},
    "Signatures": {"signature_def": (1, "NamedSignature*")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "NamedAny": {"key": (1, "string"), "value": (2, "Any")},
    "MetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "string*")},
    "MetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "NamedAny*")},
}


def _classes() -> dict[str, type]:
    """A class for each message of the table, by name."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=_PACKAGE, package=_PACKAGE, syntax="proto3")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = described.field.add(name=name, number=number)
            field.label = (
                field_type.LABEL_REPEATED if kind[-1] == "*" else field_type.LABEL_OPTIONAL
            )
            kind = kind.removesuffix("*")
            if kind in _FIELDS:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()  # of its own: the official one has other classes
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _FIELDS}
    return {name: message_factory.GetMessageClass(found[name]) for name in found}


CLASSES = _classes()


def put_array(tensor: object, array: np.ndarray) -> None:
    """Write an array into a `Tensor`: float32, uint8, or object, which is of bytes."""
    tensor.dtype = DTYPES[_OF_NUMPY[array.dtype.name]]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        tensor.string_val.extend(array.ravel())
    else:
        tensor.tensor_content = array.astype(array.dtype.newbyteorder("<")).tobytes()


def float_array(tensor: object) -> np.ndarray:
    """The float32 array in a `Tensor`; `CheckError` if there is none."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype != DTYPES["DT_FLOAT"]:
        raise CheckError(f"a tensor of type {type_name(tensor.dtype)}, not DT_FLOAT")
    if min(shape, default=0) < 0:
        raise CheckError(f"a tensor of shape {shape}")
    count = math.prod(shape)
    if tensor.tensor_content:
        if len(tensor.tensor_content) != 4 * count:
            raise CheckError(f"{len(tensor.tensor_content)} bytes for a tensor of shape {shape}")
        return np.frombuffer(tensor.tensor_content, "<f4").astype(np.float32).reshape(shape)
    values = np.array(tensor.float_val, np.float32)
    if len(values) > count or (not len(values) and count):
        raise CheckError(f"{len(values)} values for a tensor of shape {shape}")
    return np.pad(values, (0, count - len(values)), "edge" if count else "constant").reshape(shape)


def type_name(number: int) -> str:
    """The name of a tensor's type, as REST has it."""
    names = {known: name for name, known in DTYPES.items()}
    return names.get(number, f"number {number}")
