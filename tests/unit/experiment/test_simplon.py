"""The control client: what is asked for, and the words where the answer is none."""

import json
from collections.abc import Iterator

import httpx
import pytest

from edge.experiment.errors import CommandRefused
from edge.experiment.http import MAX_ANSWER_BYTES, JsonClient
from edge.experiment.simplon import DetectorError, SimplonClient

URL = "http://dcu"


def client(answer, version="1.8.0") -> SimplonClient:
    return SimplonClient(URL + "/", version=version, timeout_s=2.0, transport=httpx.MockTransport(answer))


def test_what_is_asked_for():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, json.loads(request.content or b"null")))
        return httpx.Response(200, json={"value": "idle", "sequence id": 7})

    detector = client(answer, "1.6.0")
    assert detector.state() == "idle"
    assert detector.get("mode", "stream") == "idle"
    detector.put("nimages", 4)
    assert detector.arm() == 7
    detector.command("trigger", 3.0)
    detector.close()
    assert asked == [
        ("GET", "/detector/api/1.6.0/status/state", None),
        ("GET", "/stream/api/1.6.0/config/mode", None),
        ("PUT", "/detector/api/1.6.0/config/nimages", {"value": 4}),
        ("PUT", "/detector/api/1.6.0/command/arm", None),
        ("PUT", "/detector/api/1.6.0/command/trigger", None),
    ]


def test_timeouts_are_those_that_were_given():
    timeouts = []

    def answer(request: httpx.Request) -> httpx.Response:
        timeouts.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json={"sequence id": 1})

    detector = client(answer)
    detector.command("disarm")
    detector.command("trigger", 61.0)
    detector.arm(30.0)
    assert timeouts == [2.0, 61.0, 30.0]


def test_a_refusal_quotes_the_detector():
    detector = client(lambda _: httpx.Response(409, json={"error": "not armed"}))
    with pytest.raises(CommandRefused, match=r"PUT http://dcu/detector/api/1.8.0/command/trigger: .*409.*not armed"):
        detector.command("trigger")


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"\xff\xfe", b'{"value": '])
def test_garbage_is_quoted(body):
    detector = client(lambda _: httpx.Response(200, content=body))
    with pytest.raises(DetectorError, match=r"is not JSON: .*some other server"):
        detector.state()


@pytest.mark.parametrize("document", [[], {}, "idle", None, 3])
def test_an_answer_without_its_field(document):
    detector = client(lambda _: httpx.Response(200, json=document))
    with pytest.raises(DetectorError, match=r"no 'sequence id' in the answer .*1\.8\.0"):
        detector.arm()


@pytest.mark.parametrize("number", ["1", None, 1.5, True])
def test_a_sequence_id_is_a_whole_number(number):
    detector = client(lambda _: httpx.Response(200, json={"sequence id": number}))
    with pytest.raises(DetectorError, match="not a whole number"):
        detector.arm()


def test_silence():
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with pytest.raises(DetectorError, match=r"GET http://dcu/.*state: no answer within 2 s"):
        client(answer).state()


def test_nobody_there():
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(DetectorError, match=r"connection refused; is this the right address"):
        client(answer).state()


@pytest.mark.parametrize("url", ["dcu", "http://", "ftp://dcu"])
def test_an_impossible_address(url):
    with pytest.raises(DetectorError, match="right address"):
        SimplonClient(url).state()


class Endless(httpx.SyncByteStream):
    def __init__(self) -> None:
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.sent += 65536
            yield b" " * 65536


def test_an_endless_answer_is_cut_off():
    body = Endless()
    detector = client(lambda _: httpx.Response(200, stream=body))
    with pytest.raises(DetectorError, match="more than"):
        detector.state()
    assert body.sent <= MAX_ANSWER_BYTES + 65536


class Dripping(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b" "


def test_a_dripping_answer_is_cut_off(monkeypatch):
    now = iter(range(10_000))
    monkeypatch.setattr("edge.experiment.http.time.monotonic", lambda: float(next(now)))
    http = JsonClient(URL, 5.0, httpx.MockTransport(lambda _: httpx.Response(200, stream=Dripping())))
    with pytest.raises(DetectorError, match="too slowly"):
        http.get("x")


def test_the_environment_has_no_say(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert client(lambda _: httpx.Response(200, json={"value": "idle"})).state() == "idle"
    assert not SimplonClient(URL)._http._http._trust_env
