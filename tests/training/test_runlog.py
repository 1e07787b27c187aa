"""`metrics.jsonl`: for scripts that take JSON as it is written down."""

import json

import tensorflow.compat.v1 as tf

from mgn.training import runlog


def strict(line):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_an_infinite_gradient_of_float16_is_null(tmp_path):
    with runlog.RunLog(tmp_path, 0) as log:
        log.write({"step": 1, "total": 3.5, "grad_norm": float("inf")}, 8)
        log.write({"step": 2, "total": 3.25, "grad_norm": 2.0}, 8)
    lines = [strict(line) for line in (tmp_path / runlog.METRICS).read_text().splitlines()]
    figures = [(line["step"], line["total"], line["grad_norm"]) for line in lines]
    assert figures == [(1, 3.5, None), (2, 3.25, 2.0)]
    with runlog.RunLog(tmp_path, 1):  # resumed after the first
        pass
    assert [line["step"] for line in runlog.read(tmp_path)] == [1]


def test_the_name_of_a_data_set_may_be_no_text(tmp_path):
    with runlog.RunLog(tmp_path, 0) as log:
        log.write_validation(1, {"mAP": 0.5, "mAP a\udcff": 0.5})
    (events,) = tmp_path.glob("events.out.tfevents.*")
    tags = {v.tag for event in tf.train.summary_iterator(str(events)) for v in event.summary.value}
    assert tags == {"validation/mAP", "validation/mAP a?"}
    assert runlog.read(tmp_path)[0]["mAP a\udcff"] == 0.5
