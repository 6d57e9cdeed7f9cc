"""What a detector says of itself, from a control unit of our own making: firmware of all kinds, and what is none."""

from typing import Any

import httpx
import pytest

from edge.experiment.errors import DetectorError
from edge.setup.detected import Detected, detected
from edge.simplon.discovery import asked

EIGER: dict[str, Any] = {
    "detector/api/version": "1.8.0",
    "detector/api/1.8.0/config/description": "Dectris EIGER2 Si 1M",
    "detector/api/1.8.0/config/detector_number": "E-02-0100",
    "detector/api/1.8.0/config/x_pixels_in_detector": 1030,
    "detector/api/1.8.0/config/y_pixels_in_detector": 1065,
    "detector/api/1.8.0/config/bit_depth_image": 32,
    "detector/api/1.8.0/config/auto_summation": True,
    "detector/api/1.8.0/config/compression": "bslz4",
    "detector/api/1.8.0/config/beam_center_x": 510.5,
    "detector/api/1.8.0/config/beam_center_y": 530.0,
    "detector/api/1.8.0/status/state": "idle",
    "stream/api/1.8.0/config/mode": "disabled",
    "stream/api/1.8.0/config/format": "cbor",
    "stream/api/1.8.0/config/header_detail": "all",
}


class Unit:
    """Answers GET; anything else is an error of ours."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "GET" and not request.content
        value = self.answers.get(request.url.path.strip("/"))
        if value is None:
            return httpx.Response(404, text="Parameter does not exist")
        return httpx.Response(200, json={"value": value, "access_mode": "rw"})


def found(**changes: Any) -> Detected:
    answers = EIGER | {name.replace("__", "/").replace("v_", "api/1.8.0/"): value for name, value in changes.items()}
    client = asked("http://det", transport=httpx.MockTransport(Unit(answers)))
    return detected(client)


def test_an_eiger2() -> None:
    assert found() == Detected(
        url="http://det",
        version="1.8.0",
        description="Dectris EIGER2 Si 1M",
        number="E-02-0100",
        state="idle",
        shape=(1065, 1030),
        bits=32,
        auto_summation=True,
        compression="bslz4",
        protocol="stream-v2",
        stream_mode="disabled",
        header_detail="all",
        beam_centre=(530.0, 510.5),
        thresholds=(),
    )


def test_firmware_that_knows_no_stream_v2() -> None:
    """An EIGER of 2017: no format, no bit_depth_image, booleans as numbers."""
    answers = {path.replace("1.8.0", "1.6.0"): value for path, value in EIGER.items()}
    answers["detector/api/version"] = "1.6.0"
    answers["detector/api/1.6.0/config/auto_summation"] = 1
    answers["detector/api/1.6.0/config/bit_depth_readout"] = 16
    del answers["stream/api/1.6.0/config/format"], answers["detector/api/1.6.0/config/bit_depth_image"]
    old = detected(asked("http://det", transport=httpx.MockTransport(Unit(answers))))
    assert (old.version, old.protocol, old.bits, old.auto_summation) == ("1.6.0", "simplon-v1", 16, True)


def test_thresholds_that_are_enabled_are_channels() -> None:
    assert found(
        detector__v_config__threshold__1__mode="enabled",
        detector__v_config__threshold__2__mode="enabled",
        detector__v_config__threshold__difference__mode="disabled",
    ).thresholds == ("1", "2")


def test_a_beam_centre_that_nobody_has_set() -> None:
    assert found(detector__v_config__beam_center_x=0).beam_centre is None


def test_text_goes_into_comments_in_one_line() -> None:
    assert found(detector__v_config__description='x\n[server]\nurl = "evil"').description == 'x [server] url = "evil"'


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stream__v_config__mode": None}, "offers no ZeroMQ stream"),
        ({"stream__v_config__format": "protobuf"}, "only legacy and cbor"),
        ({"detector__v_config__x_pixels_in_detector": "many"}, "that cannot be"),
        ({"detector__v_config__y_pixels_in_detector": 0}, "that cannot be"),
        ({"detector__v_config__bit_depth_image": 12}, "12 bits a pixel"),
        ({"detector__v_config__x_pixels_in_detector": None}, "refused with 404"),
    ],
)
def test_what_cannot_be_used_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DetectorError, match=words):
        found(**changes)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(404, text="<html>"), "has no SIMPLON interface"),
        (httpx.Response(200, text="<html>hello</html>"), "not JSON"),
        (httpx.Response(200, json={"value": "../../x"}), "no version of a SIMPLON interface"),
        (httpx.Response(200, json=["1.8.0"]), "no version of a SIMPLON interface"),
    ],
)
def test_what_is_no_detector_is_said(answer: httpx.Response, words: str) -> None:
    with pytest.raises(DetectorError, match=words):
        asked("http://web", transport=httpx.MockTransport(lambda request: answer))
