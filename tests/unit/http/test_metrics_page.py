import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from edge.http.messages import Answer, Request
from edge.http.metrics import metrics_page

REGISTRY = CollectorRegistry()
Gauge("a_gauge", "A gauge", registry=REGISTRY).set(7)
PAGE = metrics_page(REGISTRY)


def asked(method: str, path: str, accept: str = "*/*", missing: Sequence[Any] = ()) -> Answer:
    return metrics_page(REGISTRY, lambda: missing)(Request(method, path, {"accept": accept}))


@pytest.mark.parametrize("path", ["/", "/metrics", "/metrics?name=a"])
def test_the_format_is_the_one_that_is_asked_for(path: str):
    plain = asked("GET", path)
    assert plain.content_type.startswith("text/plain; version=0.0.4") and b"\na_gauge 7.0\n" in plain.content()
    modern = asked("GET", path, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert modern.content_type.startswith("application/openmetrics-text") and modern.content().endswith(b"# EOF\n")


WISHES = st.sampled_from(
    ["application/openmetrics-text", "text/plain", ";version=", "1.0.0", "9.9", "x", ";escaping=", ","]
)


@given(st.text(st.characters(max_codepoint=255), max_size=50) | st.lists(WISHES).map("".join))
@example("text/plain;version=1." + "9" * 5000)
def test_any_wish_for_a_format_is_answered(accept: str):
    assert b"a_gauge 7.0" in PAGE(Request("GET", "/metrics", {"accept": accept})).content()


def test_health_and_readiness():
    assert asked("GET", "/healthz", missing=["x"]) == Answer({"healthy": True})
    problems = [{"what": "source det", "why": "no peer"}]
    ready, waiting = asked("GET", "/readyz"), asked("GET", "/readyz", missing=problems)
    assert (ready.status, json.loads(ready.content())) == (200, {"ready": True, "problems": []})
    assert (waiting.status, json.loads(waiting.content())) == (503, {"ready": False, "problems": problems})


def test_nothing_else_is_there_and_nothing_can_be_changed():
    assert asked("GET", "/../etc/passwd").status == 404
    assert asked("HEAD", "/metrics").status == 200
    refused = asked("POST", "/metrics")
    assert refused.status == 405 and dict(refused.headers) == {"Allow": "GET, HEAD"}
