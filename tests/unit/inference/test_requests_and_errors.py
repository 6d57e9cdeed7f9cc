"""Classification of what goes wrong; requests that contradict themselves."""

import queue

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from edge.inference.client import InferenceClient
from edge.inference.client_errors import classify
from edge.inference.requests import Completion, ErrorKind, Request, Span
from edge.inference.triton_log import port_taken, telling_line


@pytest.mark.parametrize(
    ("status", "message", "kind", "settled"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses", "unavailable", False),
        ("UNAVAILABLE", "Socket closed", "unavailable", False),
        ("UNAVAILABLE", "[request id: 4] Exceeds maximum queue size", "overloaded", True),
        ("UNAVAILABLE", "Request timeout expired", "overloaded", True),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'x'", "bad_request", True),
        ("NOT_FOUND", "Request for unknown model: 'a' has no available versions", "unavailable", True),
        ("NOT_FOUND", "Request for unknown model: 'a' is not found", "model_missing", True),
        ("NOT_FOUND", "Unable to find shared memory region: 'edge-1-00000000-r-a'", "unavailable", True),
        ("INVALID_ARGUMENT", "unexpected shape for input 'frame'", "bad_request", True),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", "bad_request", True),
        ("RESOURCE_EXHAUSTED", "Received RST_STREAM with error code 11", "unavailable", False),
        ("UNAVAILABLE", "explicit model load / unload is not allowed if polling is enabled", "bad_request", True),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "overloaded", False),
        ("CANCELLED", "Locally cancelled by application!", "unavailable", False),
        ("INTERNAL", "Stub process 'a_0_0' is not healthy.", "unavailable", True),
        ("INTERNAL", "Received RST_STREAM with error code 2", "unavailable", False),
        ("INTERNAL", "onnx runtime error 2: bad", "failed", True),
        ("UNKNOWN", "", "failed", True),
    ],
)
def test_status_and_message_make_a_kind(status: str, message: str, kind: ErrorKind, settled: bool) -> None:
    error = classify(f"StatusCode.{status}", message)
    assert (error.kind, error.settled) == (kind, settled)
    assert str(error)


def test_error_text_is_one_line() -> None:
    assert str(classify(None, "first\n  second ")) == "first second"
    assert str(classify("StatusCode.UNAVAILABLE", "[request id: 4] Exceeds queue size")) == "Exceeds queue size"


FRAME = np.zeros((2, 3, 4, 2), np.uint8)


@pytest.mark.parametrize(
    "request_",
    [
        Request(1, "m", (2, 3, 4, 2), Span("r", 0, 47), ()),
        Request(1, "m", (0, 3, 4, 2), Span("r", 0, 0), ()),
        Request(1, "m", (2, 3, 4, 1), FRAME, ()),
        Request(1, "m", (2, 3, 4, 2), FRAME.astype(np.uint16), ()),
        Request(1, "m", (2, 4, 3, 2), FRAME.swapaxes(1, 2), ()),
    ],
)
def test_contradictions_are_the_callers_mistake(request_: Request) -> None:
    with pytest.raises(ValueError, match="request 1"):
        request_.check()


def test_sound_requests_pass() -> None:
    Request(1, "m", (2, 3, 4, 2), Span("r", 64, 48), {}).check()
    Request(1, "m", (2, 3, 4, 2), FRAME, ("out",)).check()


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            'I1122 09:00:00.1 7 a.cc:1] "starting"\nE1122 09:00:00.2 7 main.cc:2] failed to start GRPC service: '
            "Unavailable - Socket '127.0.0.1:1' already in use \nI1122 09:00:00.3 7 b.cc:3] \"bye\"\n",
            "failed to start GRPC service: Unavailable - Socket '127.0.0.1:1' already in use",
        ),
        (
            "tritonserver: error while loading shared libraries: libx.so: cannot open\n",
            "tritonserver: error while loading shared libraries: libx.so: cannot open",
        ),
        ("hello\nworld\n", "world"),
        ("", "its log is empty"),
    ],
)
def test_telling_line(log: str, line: str) -> None:
    assert telling_line(log.splitlines()) == line
    assert port_taken(line) == ("already in use" in line)


@pytest.mark.parametrize("frame", [Span("r", 0, 48), FRAME])
@pytest.mark.parametrize(
    ("status", "message", "suspicion"),
    [
        ("UNAVAILABLE", "Socket closed", "lost its connection"),
        ("RESOURCE_EXHAUSTED", "Received RST_STREAM with error code 11", "lost its connection"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "not answered in time"),
        ("INTERNAL", "Stub process 'a_0_0' is not healthy.", "lost the process"),
        ("UNAVAILABLE", "[request id: 4] Exceeds maximum queue size", ""),
        ("INTERNAL", "onnx runtime error 2: bad", ""),
    ],
)
def test_a_request_that_is_not_settled_makes_the_server_suspect(
    frame: "Span | np.ndarray", status: str, message: str, suspicion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a new epoch gives its memory back, and behind a cut connection there may be another server."""
    outputs = {"out": Span("r", 64, 8)} if isinstance(frame, Span) else ("out",)
    request = Request(1, "m", (2, 3, 4, 2), frame, outputs)

    def infer(*args: object, **options: object) -> None:
        raise InferenceServerException(message, f"StatusCode.{status}")

    with InferenceClient("127.0.0.1:1") as client:
        monkeypatch.setattr(client._grpc, "infer", infer)
        completions = queue.SimpleQueue[Completion]()
        client.submit(request, completions.put)
        completion = completions.get(timeout=30)
        assert completion.error is not None
        assert suspicion in client.suspect and bool(suspicion) == bool(client.suspect)
        if isinstance(frame, Span) and not completion.settled:
            assert client.suspect
        answers: list[Completion] = []
        if suspicion:
            client.submit(request, answers.append)  # nothing is sent to it any more
            assert [(str(answer.error), answer.settled) for answer in answers] == [(client.suspect, True)]
