"""JSON over HTTP to a device, with explicit limits of seconds and bytes."""

import json
import time
from typing import Any

import httpx

from edge.experiment.errors import CommandRefused, DetectorError

MAX_ANSWER_BYTES = 1 << 20
MAX_QUOTED = 300
"""Characters of a device's own words in an error message."""


class JsonClient:
    """GET and PUT of JSON documents. May be used from several threads. No I/O before the first request.

    Args:
        base_url: e.g. "http://10.42.41.10".
        timeout_s: where the call does not say otherwise. For each step of an exchange (to connect, to send, each piece
            of the answer's head) and for all of the body: a device that answers in one piece is done in that time.
        transport: stands in for the network in tests.
    """

    def __init__(self, base_url: str, timeout_s: float = 5.0, transport: httpx.BaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        # Detectors sit in a private network: a proxy of the environment would not reach them.
        self._http = httpx.Client(trust_env=False, transport=transport)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """The document at `path`.

        Raises:
            DetectorError: no answer in time, none at all, or not JSON.
            CommandRefused: an HTTP status of 400 or more.
        """
        return self._exchange("GET", path, None, self._timeout_s)

    def put(self, path: str, value: Any = None, timeout_s: float | None = None) -> Any:
        """PUT {"value": value} (no body for None) and return the answer, None where it is empty. Raises as `get`."""
        body = None if value is None else {"value": value}
        return self._exchange("PUT", path, body, self._timeout_s if timeout_s is None else timeout_s)

    def _exchange(self, method: str, path: str, body: Any, timeout_s: float) -> Any:
        url = f"{self.base_url}/{path}"
        asked = f"{method} {url}"
        try:
            with self._http.stream(method, url, json=body, timeout=timeout_s) as answer:
                content = _bounded(answer, time.monotonic() + timeout_s, asked)
        except httpx.TimeoutException as error:
            raise DetectorError(
                f"{asked}: no answer within {timeout_s:g} s; is the device powered and reachable, and busy with "
                "nothing else?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DetectorError(f"{asked}: {error or type(error).__name__}; is this the right address?") from error
        if answer.status_code >= 400:
            raise CommandRefused(f"{asked}: refused with {answer.status_code}: {_quoted(content)}")
        try:
            return json.loads(content) if content.strip() else None
        except ValueError as error:
            raise DetectorError(
                f"{asked}: the answer is not JSON: {_quoted(content)}; is this the device's address, not that of "
                "some other server?"
            ) from error


def _bounded(answer: httpx.Response, deadline: float, asked: str) -> bytes:
    """The body; a peer that sends it for ever, or drop by drop, is cut off."""
    content = bytearray()
    for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise DetectorError(f"{asked}: an answer of more than {MAX_ANSWER_BYTES} bytes; is this the right address?")
        if time.monotonic() > deadline:
            raise DetectorError(f"{asked}: the answer came too slowly")
    return bytes(content)


def _quoted(content: bytes) -> str:
    text = content.decode(errors="replace").strip()
    return repr(text[:MAX_QUOTED]) if text else "no reason given"
