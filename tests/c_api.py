"""A SavedModel in TensorFlow's C API, as a model server or a C++ program loads it; by ctypes."""

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

STRING_BYTES = 24  # sizeof(TF_TString)


class Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


LOADED = c_char_p, POINTER(c_char_p), c_int  # folder, tags, how many
FED = POINTER(Output), POINTER(c_void_p), c_int  # tensors of the graph, their values, how many


def library():
    """The library that TensorFlow's wheel brings, with the types of what is called here."""
    found = ctypes.CDLL(str(Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"))
    for name, result, *arguments in (
        ("TF_NewStatus", c_void_p),
        ("TF_GetCode", c_int, c_void_p),
        ("TF_Message", c_char_p, c_void_p),
        ("TF_DeleteStatus", None, c_void_p),
        ("TF_NewGraph", c_void_p),
        ("TF_DeleteGraph", None, c_void_p),
        ("TF_NewSessionOptions", c_void_p),
        ("TF_DeleteSessionOptions", None, c_void_p),
        ("TF_SetConfig", None, c_void_p, c_char_p, c_size_t, c_void_p),
        ("TF_NewBuffer", POINTER(Buffer)),
        ("TF_DeleteBuffer", None, POINTER(Buffer)),
        (
            "TF_LoadSessionFromSavedModel",
            c_void_p,
            c_void_p,
            c_void_p,
            *LOADED,
            c_void_p,
            c_void_p,
            c_void_p,
        ),
        ("TF_CloseSession", None, c_void_p, c_void_p),
        ("TF_DeleteSession", None, c_void_p, c_void_p),
        ("TF_GraphOperationByName", c_void_p, c_void_p, c_char_p),
        ("TF_AllocateTensor", c_void_p, c_int, POINTER(c_int64), c_int, c_size_t),
        ("TF_DeleteTensor", None, c_void_p),
        ("TF_TensorData", c_void_p, c_void_p),
        ("TF_TensorByteSize", c_size_t, c_void_p),
        ("TF_NumDims", c_int, c_void_p),
        ("TF_Dim", c_int64, c_void_p, c_int),
        ("TF_StringInit", None, c_void_p),
        ("TF_StringCopy", None, c_void_p, c_char_p, c_size_t),
        ("TF_StringDealloc", None, c_void_p),
        (
            "TF_SessionRun",
            None,
            c_void_p,
            c_void_p,
            *FED,
            *FED,
            c_void_p,
            c_int,
            c_void_p,
            c_void_p,
        ),
    ):
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


class CError(Exception):
    """What the library's status says; `code` is gRPC's number too."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class SavedModel:
    """Loaded by `TF_LoadSessionFromSavedModel`, without TensorFlow's rewriting of graphs: that
    takes long."""

    def __init__(self, folder):
        self._c = library()
        self._graph = self._c.TF_NewGraph()
        config, options = tf.ConfigProto(), self._c.TF_NewSessionOptions()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._call(self._c.TF_SetConfig, options, config.SerializeToString(), config.ByteSize())
        described, tags = self._c.TF_NewBuffer(), (c_char_p * 1)(b"serve")
        load = self._c.TF_LoadSessionFromSavedModel
        try:
            self._session = self._call(
                load, options, None, str(folder).encode(), tags, 1, self._graph, described
            )
            contents = ctypes.string_at(described.contents.data, described.contents.length)
        finally:
            self._c.TF_DeleteSessionOptions(options)
            self._c.TF_DeleteBuffer(described)
        self.signatures = tf.MetaGraphDef.FromString(contents).signature_def

    def run(self, signature, array):
        """An array through a signature's one input and one output."""
        (given,), (made,) = (
            self.signatures[signature].inputs.values(),
            self.signatures[signature].outputs.values(),
        )
        array = np.asarray(array)
        array = array.astype(object) if array.dtype.kind == "S" else array
        feed, result = self._tensor(array), c_void_p()
        try:
            self._call(
                self._c.TF_SessionRun,
                *(self._session, None, byref(self._output(given)), byref(feed), 1),
                *(byref(self._output(made)), byref(result), 1, None, 0, None),
            )
        finally:
            self._free(feed, array)
        shape = [self._c.TF_Dim(result, i) for i in range(self._c.TF_NumDims(result))]
        contents = ctypes.string_at(
            self._c.TF_TensorData(result), self._c.TF_TensorByteSize(result)
        )
        self._c.TF_DeleteTensor(result)
        return np.frombuffer(contents, tf.as_dtype(made.dtype).as_numpy_dtype).reshape(shape)

    def close(self):
        self._call(self._c.TF_CloseSession, self._session)
        self._call(self._c.TF_DeleteSession, self._session)
        self._c.TF_DeleteGraph(self._graph)

    def _call(self, function, *arguments):
        status = self._c.TF_NewStatus()  # of its own: a server calls from several threads at a time
        try:
            result = function(*arguments, status)
            if code := self._c.TF_GetCode(status):
                raise CError(code, self._c.TF_Message(status).decode())
            return result
        finally:
            self._c.TF_DeleteStatus(status)

    def _output(self, info):
        name, index = info.name.split(":")
        return Output(self._c.TF_GraphOperationByName(self._graph, name.encode()), int(index))

    def _tensor(self, array):
        strings = array.dtype == object
        kind = tf.string if strings else tf.as_dtype(array.dtype)
        size = array.size * STRING_BYTES if strings else array.nbytes
        shape = (c_int64 * array.ndim)(*array.shape)
        made = c_void_p(self._c.TF_AllocateTensor(kind.as_datatype_enum, shape, array.ndim, size))
        data = self._c.TF_TensorData(made)
        if not strings:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
            return made
        for i, contents in enumerate(array.ravel()):
            self._c.TF_StringInit(data + i * STRING_BYTES)
            self._c.TF_StringCopy(data + i * STRING_BYTES, contents, len(contents))
        return made

    def _free(self, tensor, array):
        if array.dtype == object:
            data = self._c.TF_TensorData(tensor)
            for i in range(array.size):
                self._c.TF_StringDealloc(data + i * STRING_BYTES)
        self._c.TF_DeleteTensor(tensor)
