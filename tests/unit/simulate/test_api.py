"""The interface and the detector behind it: requests in, answers out, no socket."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.simulate.api import Api
from edge.simulate.detector import Detector
from streams.messages import Frame, SeriesEnd, SeriesStart
from tests.unit.simulate.worlds import SHAPE, Receiver, jumping, noisy, surroundings

COMMAND, CONFIG = "detector/api/1.8.0/command", "detector/api/1.8.0/config"
SIMULATOR = "simulator/api/1.0"
PATIENCE_S = 20


class Client:
    def __init__(self, **changes):
        self.receiver = Receiver()
        around = surroundings(self.receiver, **changes)
        self.closing = threading.Event()
        self.detector = Detector(around, "stream-v2")
        self.api = Api(self.detector, around.beamline, self.closing, around.clock)

    def ask(self, method, path, *value):
        answer = self.api.answer(method, f"/{path}", json.dumps({"value": value[0]}).encode() if value else b"")
        json.dumps(answer.document)
        return int(answer.status), answer.document

    def put(self, path, *value):
        status, document = self.ask("PUT", path, *value)
        assert status == 200, document
        return document

    def get(self, path):
        status, document = self.ask("GET", path)
        assert status == 200, document
        return document

    @property
    def state(self):
        return self.get("detector/api/1.8.0/status/state")["value"]


@pytest.fixture
def client():
    made = Client()
    yield made
    made.detector.close()


def armed(client, nimages=2, ntrigger=3):
    client.put(f"{COMMAND}/initialize")
    client.put(f"{CONFIG}/nimages", nimages)
    client.put(f"{CONFIG}/ntrigger", ntrigger)
    return client.put(f"{COMMAND}/arm")["sequence id"]


def test_a_series(client):
    assert client.state == "na"
    assert armed(client) == 1 and client.state == "ready"
    for _ in range(2):
        assert client.put(f"{COMMAND}/trigger") == {"sequence id": 1}
        assert client.state == "ready"
    assert client.get("stream/api/1.8.0/status/state")["value"] == "acquire"
    assert client.put(f"{COMMAND}/disarm") == {"sequence id": 1}
    assert client.state == "idle"
    start, *frames, end = client.receiver.decoded()
    assert isinstance(start, SeriesStart) and isinstance(end, SeriesEnd)
    assert (start.expected, [frame.image_id for frame in frames]) == (6, [0, 1, 2, 3])
    truth = client.get(f"{SIMULATOR}/series")["value"]
    assert (truth["series_id"], truth["triggers"], truth["images"], truth["dropped"]) == (1, 2, 4, 0)
    uid = client.get("detector/api/1.8.0/status/series_unique_id")["value"]
    assert uid == truth["series_unique_id"] == start.series_uid


def test_the_last_trigger_ends_the_series_and_disarm_is_still_welcome(client):
    armed(client, ntrigger=1)
    client.put(f"{COMMAND}/trigger")
    assert client.state == "idle" and isinstance(client.receiver.decoded()[-1], SeriesEnd)
    sent = len(client.receiver.messages)
    assert client.put(f"{COMMAND}/disarm") == {"sequence id": 1}
    assert len(client.receiver.messages) == sent


def test_sequence_ids_count_up_until_the_detector_is_initialized_and_uids_never_repeat(client):
    assert armed(client) == 1
    client.put(f"{COMMAND}/disarm")
    assert client.put(f"{COMMAND}/arm")["sequence id"] == 2
    assert client.put(f"{COMMAND}/initialize") == {} and client.state == "idle"
    assert client.put(f"{COMMAND}/arm")["sequence id"] == 1
    client.put(f"{COMMAND}/abort")
    decoded = client.receiver.decoded()
    uids = [message.series_uid for message in decoded if isinstance(message, SeriesStart)]
    assert len(set(uids)) == 3 and sum(isinstance(message, SeriesEnd) for message in decoded) == 3


@pytest.mark.parametrize("name", ["disarm", "cancel", "abort", "initialize"])
def test_a_trigger_that_is_ended_by_another_client(name):
    rendering, ready = threading.Event(), threading.Event()

    def render(x, y, exposure_s, beam, rng):
        rendering.set()
        assert ready.wait(PATIENCE_S)
        return np.zeros(SHAPE, np.uint16)

    client = Client(render=render, clock=jumping(0.0))  # time stands still: only a halt ends the exposure
    armed(client)
    with ThreadPoolExecutor(2) as others:
        client_trigger = others.submit(client.ask, "PUT", f"{COMMAND}/trigger")
        assert rendering.wait(PATIENCE_S)
        assert client.state == "acquire"
        ending = others.submit(client.ask, "PUT", f"{COMMAND}/{name}")
        while client.detector._state != "ending":
            assert not ending.done()
        assert client.ask("PUT", f"{COMMAND}/trigger")[0] == 409
        ready.set()
        status, document = client_trigger.result(PATIENCE_S)
        assert status == 409 and "ended by another command" in document["error"]
        assert ending.result(PATIENCE_S)[0] == 200
    assert client.state == "idle"
    start, *frames, end = client.receiver.decoded()
    assert isinstance(start, SeriesStart) and isinstance(end, SeriesEnd)
    assert len(frames) == (1 if name == "cancel" else 0)  # only a cancel finishes the frame being exposed
    client.detector.close()


def test_closing_ends_an_open_series():
    client = Client()
    armed(client)
    client.detector.close()
    assert isinstance(client.receiver.decoded()[-1], SeriesEnd)
    status, document = client.ask("PUT", f"{COMMAND}/arm")
    assert status == 503 and "stopping" in document["error"]


def test_configuration_is_fixed_while_a_series_is_open(client):
    for path in (f"{CONFIG}/nimages", "stream/api/1.8.0/config/mode", "filewriter/api/1.8.0/config/mode"):
        status, document = client.ask("PUT", path, 1)
        assert status == 409 and "initialize it first" in document["error"]
    armed(client)
    status, document = client.ask("PUT", f"{CONFIG}/nimages", 5)
    assert status == 409 and "disarm it first" in document["error"]
    assert client.ask("PUT", "stream/api/1.8.0/command/initialize")[0] == 409
    assert client.get(f"{CONFIG}/nimages")["value"] == 2


def test_the_stream_can_change_its_protocol_and_be_disabled(client):
    client.put(f"{COMMAND}/initialize")
    client.put("stream/api/1.8.0/config/format", "legacy")
    client.put(f"{CONFIG}/compression", "lz4")
    client.put(f"{COMMAND}/arm")
    client.put(f"{COMMAND}/trigger")
    start, frame, _ = client.receiver.decoded("simplon-v1")
    assert isinstance(start, SeriesStart) and isinstance(frame, Frame) and frame.compression == "lz4-block"
    sent = len(client.receiver.messages)
    assert client.put("stream/api/1.8.0/command/initialize") == {}
    assert client.get("stream/api/1.8.0/status/state")["value"] == "disabled"
    client.put(f"{COMMAND}/arm")
    client.put(f"{COMMAND}/trigger")
    assert len(client.receiver.messages) == sent


def test_frames_that_nobody_takes_are_told_and_forgotten_at_the_next_arm(client):
    client.receiver.refuses = True
    armed(client, nimages=3, ntrigger=1)
    client.put(f"{COMMAND}/trigger")
    assert client.get("stream/api/1.8.0/status/dropped")["value"] == 3
    client.put(f"{COMMAND}/arm")
    assert client.get("stream/api/1.8.0/status/dropped")["value"] == 0


def test_files(tmp_path):
    client = Client(folder=tmp_path)
    armed(client)
    client.put(f"{COMMAND}/trigger")
    client.put(f"{COMMAND}/disarm")
    assert {path.name for path in tmp_path.iterdir()} == {"series_1_master.h5", "series_1_data_000001.h5"}
    client.put(f"{COMMAND}/initialize")
    status, document = client.ask("PUT", f"{COMMAND}/arm")
    assert status == 409 and "series_1_master.h5 exists" in document["error"] and client.state == "idle"
    assert client.put(f"{COMMAND}/disarm") == {"sequence id": 1} and client.put(f"{COMMAND}/initialize") == {}
    assert client.ask("PUT", f"{COMMAND}/arm")[0] == 409
    client.put("filewriter/api/1.8.0/config/name_pattern", "again_$id")
    assert client.put(f"{COMMAND}/arm") == {"sequence id": 2}
    client.detector.close()
    assert (tmp_path / "again_2_master.h5").exists()


def test_a_silent_command_is_obeyed(client):
    armed(client)
    client.put(f"{SIMULATOR}/faults", {"silent_commands": ["trigger"]})
    answer = client.api.answer("PUT", f"/{COMMAND}/trigger", b"")
    assert answer.silent
    assert client.get(f"{SIMULATOR}/series")["value"]["images"] == 2
    client.put(f"{SIMULATOR}/faults", {})
    assert not client.api.answer("PUT", f"/{COMMAND}/trigger", b"").silent


def test_the_stage():
    now = [0.0]
    client = Client(clock=lambda: now[0])
    path = f"{SIMULATOR}/stage/x"
    client.put(f"{path}/speed", 0.5)
    assert client.put(path, 0.8)["moving"]
    now[0] = 1.0
    axis = client.get(path)
    assert (axis["value"], axis["target"], axis["speed"], axis["moving"]) == (0.5, 0.8, 0.5, True)
    assert (axis["low"], axis["high"], axis["unit"]) == (0.0, 1.0, "mm")
    assert client.put(f"{path}/stop")["target"] == 0.5
    now[0] = 99.0
    assert client.get(path)["value"] == 0.5 and not client.get(path)["moving"]
    assert client.get(f"{SIMULATOR}/stage/y")["value"] == 0.0
    client.detector.close()


def test_the_monitor_counts_while_the_beam_is_there(client):
    client.closing.set()
    status, document = client.ask("PUT", f"{SIMULATOR}/monitor/count", 30.0)
    assert status == 503 and "stopping" in document["error"]
    client.closing.clear()
    assert client.put(f"{SIMULATOR}/beam", 0) == {"value": 0.0}
    assert client.put(f"{SIMULATOR}/monitor/count", 0.001) == {"value": 0}
    client.put(f"{SIMULATOR}/beam", 2)
    assert 1700 < client.put(f"{SIMULATOR}/monitor/count", 0.001)["value"] < 2300


def test_what_is_there_can_be_listed(client):
    for subsystem in ("detector", "stream", "filewriter"):
        assert client.get(f"{subsystem}/api/version/")["value"] == "1.8.0"
        for task in ("config", "status"):
            keys = client.get(f"{subsystem}/api/1.8.0/{task}/keys")
            for key in keys:
                assert {"value", "value_type", "access_mode"} <= set(client.get(f"{subsystem}/api/1.8.0/{task}/{key}"))
        assert isinstance(client.get(f"{subsystem}/api/1.8.0/command/keys"), list)
    assert client.get(f"{CONFIG}/")["nimages"]["value"] == 1


BAD_BODIES = [
    b"", b"7", b"[]", b"{}", b"null", b'{"value": }', b'{"value": NaN}', b'{"value": Infinity}', b'{"value": 1e999}',
    b'{"value": 1, "extra": 2}', b"\xff\xfe", b"[" * 200_000, b'{"value":' * 30_000, b'{"value": [1]}',
    b'{"value": {"a": 1}}', b'{"value": "1"}', b'{"value": true}', b'{"value": null}', b'{"value": -1}',
    b'{"value": ' + b"9" * 5000 + b"}", b'{"value": 1.5e300}',
]  # fmt: skip
WRITABLE = [
    f"{CONFIG}/nimages", f"{CONFIG}/frame_time", f"{CONFIG}/trigger_mode", "stream/api/1.8.0/config/mode",
    "filewriter/api/1.8.0/config/name_pattern", f"{SIMULATOR}/stage/x", f"{SIMULATOR}/stage/y/speed",
    f"{SIMULATOR}/monitor/count", f"{SIMULATOR}/beam", f"{SIMULATOR}/faults",
]  # fmt: skip
TAKEN = {
    (f"{SIMULATOR}/monitor/count", b'{"value": 0}'),
    ("filewriter/api/1.8.0/config/name_pattern", b'{"value": "1"}'),
}


def snapshot(client):
    return [client.get(f"{subsystem}/api/1.8.0/config/") for subsystem in ("detector", "stream", "filewriter")] + [
        client.get(f"{SIMULATOR}/{what}") for what in ("beam", "faults", "stage/x", "stage/y", "series")
    ]


@pytest.mark.parametrize("path", WRITABLE)
def test_hostile_bodies_are_refused_in_words_and_change_nothing(path):
    client = Client(clock=lambda: 5.0)
    client.put(f"{COMMAND}/initialize")
    before = snapshot(client)
    for body in BAD_BODIES:
        if (path, body) in TAKEN:
            continue
        answer = client.api.answer("PUT", f"/{path}", body)
        assert answer.status == 400, (body[:40], answer)
        assert 10 < len(answer.document["error"]) < 300
    assert snapshot(client) == before
    client.detector.close()


WORDS = [
    "detector",
    "stream",
    "simulator",
    "api",
    "1.8.0",
    "1.0",
    "config",
    "command",
    "status",
    "keys",
    "nimages",
    "arm",
]
WORDS += [
    "trigger",
    "disarm",
    "initialize",
    "stage",
    "x",
    "speed",
    "monitor",
    "count",
    "beam",
    "faults",
    "",
    "..",
    "%00",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
BODIES = st.binary(max_size=50) | VALUES.map(lambda value: json.dumps({"value": value}).encode())
PATHS = st.lists(st.sampled_from(WORDS), max_size=6).map("/".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["GET", "PUT"]), PATHS, BODIES), min_size=1, max_size=8))
def test_every_request_is_answered(requests):
    client = Client()
    client.closing.set()  # nothing waits
    for method, path, body in requests:
        answer = client.api.answer(method, path, body)
        json.dumps(answer.document)
        assert answer.status == 200 or set(answer.document) == {"error"}
    client.detector.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("GET", "nonsense", 404),
        ("GET", "/" * 5000, 404),
        ("GET", "detector/api/1.6.0/status/state", 404),
        ("GET", "detector/api/1.8.0/status/nonsense", 404),
        ("GET", "detector/api/1.8.0/status/state/more", 404),
        ("GET", "detector/api/1.8.0/config/nonsense", 404),
        ("PUT", "detector/api/1.8.0/command/nonsense", 404),
        ("PUT", "detector/api/1.8.0/command/started", 404),
        ("PUT", "filewriter/api/1.8.0/command/initialize", 404),
        ("GET", "detector/api/1.8.0/command/arm", 405),
        ("PUT", "detector/api/1.8.0/status/state", 405),
        ("DELETE", "detector/api/1.8.0/config/nimages", 405),
        ("POST", "detector/api/1.8.0/command/arm", 405),
        ("GET", "simulator/api/1.0/stage/z", 404),
        ("DELETE", "simulator/api/1.0/stage/x", 405),
        ("GET", "simulator/api/1.0/monitor/count", 405),
        ("PUT", "simulator/api/1.0/series", 405),
        ("GET", "simulator/api/1.0/nonsense", 404),
    ],
)
def test_what_is_not_there(client, method, path, status):
    assert client.ask(method, path)[0] == status


def test_a_command_takes_no_body(client):
    status, document = client.ask("PUT", f"{COMMAND}/initialize", 1)
    assert status == 400 and "takes no value" in document["error"] and client.state == "na"


@pytest.mark.parametrize(
    "value",
    [
        [], 3, {"lose": 3}, {"lose": [-1]}, {"lose": ["1"]}, {"lose": [1.5]}, {"lose": [2**63]}, {"lose": [True]},
        {"lose": list(range(10_001))}, {"nonsense": []}, {"silent_commands": ["nonsense"]}, {"silent_commands": [1]},
        {"stream": ["nonsense"]}, {"stream": ["drop=2"]}, {"stream": ["abort"]}, {"stream": ["delay"]},
        {"stream": "drop"}, {"seed": -1},
    ],
)  # fmt: skip
def test_orders_for_faults_that_make_no_sense(client, value):
    status, document = client.ask("PUT", f"{SIMULATOR}/faults", value)
    assert status == 400 and document["error"].startswith("faults: ")
    assert client.get(f"{SIMULATOR}/faults")["value"]["lose"] == []


def test_faults_of_the_stream_hold_from_the_next_arm_on():
    client = Client()
    client.put(f"{SIMULATOR}/faults", {"stream": ["no-start", "no-end"], "seed": 2})
    armed(client, ntrigger=1)
    client.put(f"{COMMAND}/trigger")
    client.detector.close()
    assert {type(message) for message in client.receiver.decoded()} == {Frame}


def test_the_noise_is_that_of_the_seed():
    def images():
        client = Client(render=noisy)
        armed(client, ntrigger=1)
        client.put(f"{COMMAND}/trigger")
        client.detector.close()
        return [bytes(frame.blob) for frame in client.receiver.decoded() if isinstance(frame, Frame)]

    assert images() == images()
