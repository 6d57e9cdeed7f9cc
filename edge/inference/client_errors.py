"""What a gRPC status of Triton means for us. Pure."""

import re

from edge.inference.requests import ErrorKind, InferenceError

QUEUE = re.compile(r"queue size|queue timeout|timeout expired|timed out in queue|exceeds maximum queue", re.IGNORECASE)
UNFIT = re.compile(r"stub process .*not healthy|unable to find .*shared memory region", re.IGNORECASE | re.DOTALL)
"""The server lives but is not the one we set up: a model's process died, or it was restarted behind our back."""
REFUSED = re.compile(r"protocol is restricted|explicit model load / unload is not allowed", re.IGNORECASE)
"""The server's own settings forbid the call: waiting does not help."""

TRANSPORT = re.compile(r"RST_STREAM|stream removed|socket closed|connection reset|GOAWAY", re.IGNORECASE)

REQUEST_ID = re.compile(r"^\[request id: [^\]]*\] ")
"""Would make every text a new one; the completion names its request."""

BY_STATUS: dict[str, tuple[ErrorKind, bool]] = {
    "NOT_FOUND": ("model_missing", True),
    "INVALID_ARGUMENT": ("bad_request", True),
    "OUT_OF_RANGE": ("bad_request", True),
    "RESOURCE_EXHAUSTED": ("bad_request", True),  # a message larger than the other side takes
    "ALREADY_EXISTS": ("bad_request", True),
    "DEADLINE_EXCEEDED": ("overloaded", False),
    "CANCELLED": ("unavailable", False),
}


def classify(status: str | None, message: str) -> InferenceError:
    """The error for a gRPC `status` ("StatusCode.UNAVAILABLE") and Triton's message.

    A full queue, a queue timeout, a missing token and a dead server share UNAVAILABLE, and a draining server
    answers NOT_FOUND "... no available versions", so the message decides.
    """
    code = (status or "UNKNOWN").rpartition(".")[2]
    text = REQUEST_ID.sub("", message.strip()) or f"gRPC status {code} without a message"
    if UNFIT.search(text):
        return InferenceError("unavailable", text)
    if TRANSPORT.search(text):  # also comes as RESOURCE_EXHAUSTED, which else means a message too large
        return InferenceError("unavailable", text, settled=False)
    if code == "UNAVAILABLE":
        if REFUSED.search(text):
            return InferenceError("bad_request", text)
        if QUEUE.search(text):
            return InferenceError("overloaded", text)
        return InferenceError("unavailable", text, settled=False)
    if code == "NOT_FOUND" and "no available versions" in text:
        return InferenceError("unavailable", text)
    if code in BY_STATUS:
        kind, settled = BY_STATUS[code]
        return InferenceError(kind, text, settled)
    return InferenceError("failed", text)
