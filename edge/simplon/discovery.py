"""Asks a SIMPLON detector what it is. GET only: nothing here changes a detector or touches its stream."""

import re
from typing import Any

import httpx

from edge.experiment.errors import CommandRefused, DetectorError
from edge.experiment.http import JsonClient
from edge.experiment.simplon import SimplonClient


def asked(base_url: str, timeout_s: float = 5.0, transport: httpx.BaseTransport | None = None) -> SimplonClient:
    """A client of the version of the interface that the detector at `base_url` has.

    Raises:
        DetectorError: it does not answer, or its answer is not that of a SIMPLON interface.
    """
    http = JsonClient(base_url, timeout_s, transport)
    try:
        answer = http.get("detector/api/version")
    except CommandRefused as error:
        raise DetectorError(
            f"{base_url} answers, but has no SIMPLON interface ({error}); is this the detector's control unit?"
        ) from error
    finally:
        http.close()
    version = answer.get("value") if isinstance(answer, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]+(\.[0-9]+){1,3}", version):
        raise DetectorError(
            f"{base_url}/detector/api/version: {str(answer)[:100]!r} is no version of a SIMPLON interface; is this the "
            "detector's control unit?"
        )
    return SimplonClient(base_url, version=version, timeout_s=timeout_s, transport=transport)


def optional(client: SimplonClient, name: str, module: str = "detector", kind: str = "config") -> Any:
    """The value of a parameter; None where this detector has none of that name.

    Raises:
        DetectorError: no answer.
    """
    try:
        return client.get(name, module, kind)
    except CommandRefused:
        return None
