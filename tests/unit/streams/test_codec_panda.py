"""PandA messages as bytes: what is read, and what is refused."""

import json

import numpy as np
import pytest

from streams.codecs import panda_encoder
from streams.codecs.panda import MAX_BYTES, MAX_DATASETS, MAX_NUMBER, MAX_SAMPLES, decode
from streams.messages import CodecError
from streams.positions.samples import Armed, Disarmed, Samples

START = (
    b'{"msg_type": "start", "arm_time": "2025-02-28T18:44:22.905865051Z", '
    b'"start_time": "2025-02-28T18:44:22.905908989Z", "hw_time_offset_ns": null}'
)
DATA = (
    b'{"msg_type": "data", "frame_number": 3, "datasets": {"/FMC_IN.VAL1.Value": {"dtype": "float64", "size": 3, '
    b'"starting_sample_number": 123, "data": [-0.00831604003356672, 1, 2.5e-3]}, "/INENC2.VAL.Value": '
    b'{"dtype": "int32", "size": 0, "starting_sample_number": 9, "data": []}}}'
)
STOP = b'{"msg_type": "stop", "emitted_frames": 4}'


def test_an_arming_is_read():
    assert decode([START]) == Armed("2025-02-28T18:44:22.905865051Z")
    assert decode([memoryview(STOP)]) == Disarmed(4)
    samples = decode([DATA])
    assert isinstance(samples, Samples)
    assert samples.number == 3
    first, values = samples.datasets["/FMC_IN.VAL1.Value"]
    assert (first, values.dtype, values.tolist()) == (123, np.float64, [-0.00831604003356672, 1.0, 0.0025])
    assert samples.datasets["/INENC2.VAL.Value"][0] == 9


@pytest.mark.parametrize(
    "arm_time", [b"", b', "arm_time": null', b', "arm_time": 5', b', "arm_time": {"a": []}, "new": true']
)
def test_a_start_says_that_the_box_was_armed_whatever_else_it_says(arm_time):
    assert decode([b'{"msg_type": "start"' + arm_time + b"}"]) == Armed("")


def test_a_long_arm_time_is_cut():
    assert decode([b'{"msg_type": "start", "arm_time": "' + b"2" * 1000 + b'"}']) == Armed("2" * 64)


def data(**changes) -> bytes:
    dataset = {"dtype": "float64", "size": 2, "starting_sample_number": 0, "data": [1, 2]} | changes
    return json.dumps({"msg_type": "data", "frame_number": 0, "datasets": {"/A": dataset}}).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"null", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"msg_type": "start", "x": ' + b"[" * 100_000, "malformed"),
        (b'{"msg_type": "go"}', "malformed"),
        (b'{"frame_number": 0}', "malformed"),
        (DATA[:-1], "malformed"),
        (b'{"msg_type": "stop"}', "malformed"),
        (b'{"msg_type": "stop", "emitted_frames": -1}', "malformed"),
        (b'{"msg_type": "stop", "emitted_frames": 1.5}', "malformed"),
        (b'{"msg_type": "stop", "emitted_frames": ' + b"9" * 400 + b"}", "malformed"),
        (b'{"msg_type": "data", "frame_number": 0, "datasets": []}', "malformed"),
        (b'{"msg_type": "data", "frame_number": true, "datasets": {}}', "malformed"),
        (data(size=3), "truncated"),
        (data(size=1), "truncated"),
        (data(data=[1, None]), "malformed"),
        (data(data=[1, "2"]), "malformed"),
        (data(data=[[1], [2]]), "malformed"),
        (data(data=[1, True]), "malformed"),
        (data(data=[1, float("nan")]), "malformed"),
        (data(data=[1, 10**400]), "malformed"),
        (data(starting_sample_number=-1), "malformed"),
        (data(starting_sample_number=MAX_NUMBER + 1), "malformed"),
        (data(size=MAX_SAMPLES + 1, data=[0] * (MAX_SAMPLES + 1)), "malformed"),
        (b" " * (MAX_BYTES + 1), "too_large"),
    ],
)
def test_what_no_box_sends_is_refused(raw, reason):
    with pytest.raises(CodecError) as caught:
        decode([raw])
    assert caught.value.reason == reason


def test_more_datasets_than_a_box_has_are_refused():
    one = {"size": 0, "starting_sample_number": 0, "data": []}
    message = {"msg_type": "data", "frame_number": 0, "datasets": {str(i): one for i in range(MAX_DATASETS + 1)}}
    with pytest.raises(CodecError, match="malformed"):
        decode([json.dumps(message).encode()])
    message["datasets"].popitem()
    assert len(decode([json.dumps(message).encode()]).datasets) == MAX_DATASETS


@pytest.mark.parametrize("parts", [[], [STOP, STOP]])
def test_a_message_has_one_part(parts):
    with pytest.raises(CodecError, match="parts"):
        decode(parts)


def test_every_cut_of_a_message_is_refused():
    for length in range(len(DATA)):
        with pytest.raises(CodecError):
            decode([DATA[:length]])


def test_what_the_simulated_box_sends_is_read():
    values = np.linspace(-1, 1, 25)
    messages = [decode(parts) for parts in panda_encoder.arming("now", {"/A": values, "/B": -values}, 10, first=100)]
    assert messages[0] == Armed("now")
    assert messages[-1] == Disarmed(3)
    between = messages[1:-1]
    assert [message.number for message in between] == [0, 1, 2]
    assert [message.datasets["/A"][0] for message in between] == [100, 110, 120]
    assert np.array_equal(np.concatenate([message.datasets["/B"][1] for message in between]), -values)
