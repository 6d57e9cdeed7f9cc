"""The page that Prometheus scrapes, and the two that supervisors and load balancers ask: /healthz and /readyz."""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from edge.http.messages import Answer, Request, Respond

STRANGE_VERSION = re.compile(r"version=(?!\d{1,3}(\.\d{1,3}){0,3}\s*([;,]|\Z))", re.ASCII)
"""The library raises TypeError for a version of a format that is no number."""

NotReady: TypeAlias = Callable[[], Sequence[Any]]
"""What is not ready yet, as JSON can say it; empty when all is. Called from any thread."""


def nothing() -> Sequence[Any]:
    """For a process that is ready when it answers."""
    return ()


def metrics_page(registry: CollectorRegistry, not_ready: NotReady = nothing) -> Respond:
    """GET /metrics, /healthz (this process answers) and /readyz (it can do its work: else 503 and what is missing)."""

    def respond(request: Request) -> Answer:
        if request.path not in ("/", "/metrics", "/healthz", "/readyz"):
            return Answer({"error": "there is /metrics, /healthz and /readyz"}, HTTPStatus.NOT_FOUND)
        if request.method not in ("GET", "HEAD"):
            document = {"error": f"{request.method} is not possible here; use GET"}
            return Answer(document, HTTPStatus.METHOD_NOT_ALLOWED, headers=(("Allow", "GET, HEAD"),))
        match request.path:
            case "/healthz":
                return Answer({"healthy": True})
            case "/readyz":
                return _readiness(not_ready())
        accept = request.headers.get("accept", "")
        encode, content_type = choose_encoder("" if STRANGE_VERSION.search(accept) else accept)
        return Answer(encode(registry), content_type=content_type)

    return respond


def _readiness(missing: Sequence[Any]) -> Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
    return Answer({"ready": not missing, "problems": list(missing)}, status)
