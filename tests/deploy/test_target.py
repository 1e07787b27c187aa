"""What targets share: arrays by hand, and what a file says of itself."""

import json

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.config import NetworkOptions
from mgn.deploy import target
from mgn.deploy.source import Source
from mgn.deploy.target import Choices
from mgn.weights import checkpoints


def test_pixels_by_hand():
    images = np.uint8([[[[10, 20, 30], [11, 21, 31]]]])  # [1, 1, 2, 3]
    got = target.standardised(images, (10, 10, 10), (1, 2, 4))
    assert got.dtype == np.float32 and got.tolist() == [[[[0, 5, 5], [1, 5.5, 5.25]]]]
    planes = target.nchw(images)
    assert planes.dtype == np.float32 and planes.tolist() == [[[[10, 11]], [[20, 21]], [[30, 31]]]]
    assert planes.flags.c_contiguous
    rows = np.float32([[3, 4], [0, 2]])
    assert target.over_length(rows).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 1]]


def test_a_file_says_what_the_export_does_and_where_it_differs():
    options = NetworkOptions(7, height=96, width=32)
    about = checkpoints.describe(options) | {"precision": "float32"}
    source = Source(None, tf.GraphDef(), options, about)
    for choices, differs in (
        (Choices(), {}),
        (Choices(pre=True, length_1=True, rgb=True), {}),
        (Choices(half=True), {"precision": "float16"}),
        (Choices(dynamic_range=True), {"precision": "int8, computed as float32"}),
        (Choices(input_size=(64, 30)), {"input_size": [64, 30]}),
    ):
        assert json.loads(target.described(source, choices)) == {**about, **differs}
