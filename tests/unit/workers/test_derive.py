"""The configuration of each process, and what cannot be shared."""

import pytest

from edge.config import Config, ConfigError, parse
from edge.workers.derive import NEVER_S, check, of_worker


def config(source: dict | None = None, **tables: dict) -> Config:
    written = {"name": "det", "protocol": "stream-v2", "address": "tcp://127.0.0.1:9"} | (source or {})
    return parse({"source": [written], "route": [{"name": "check", "model": "identity"}], **tables})


def test_a_worker_keeps_what_is_its_own_and_nothing_of_the_whole():
    whole = config(
        {"detector_url": "http://127.0.0.1:80"},
        results={"folder": "/data/results", "required_subscribers": ["writer"]},
        recording={"folder": "/data/captures", "quota_gib": 9.0},
        series={"grace_s": 0.5, "idle_s": 3.0},
        metrics={"address": "127.0.0.2:9100"},
    )
    check(whole)
    second = of_worker(whole, 2, 3)
    assert second.recording.folder == "/data/captures/worker-2"
    assert second.recording.quota_gib == 3.0
    assert (second.results.folder, second.results.required_subscribers) == ("", ())
    assert second.metrics.address == "127.0.0.1:0"
    assert (second.series.grace_s, second.series.idle_s) == (NEVER_S, NEVER_S)
    assert second.source[0].detector_url == ""
    assert second.source[0].address == whole.source[0].address


def test_without_captures_there_are_none():
    assert of_worker(config(), 1, 2).recording.folder == ""


@pytest.mark.parametrize(
    ("source", "setting", "says"),
    [
        ({"bind": True}, "bind", "only one process can bind"),
        ({"socket": "sub"}, "socket", "every frame"),
        ({"socket": "req", "protocol": "karabo"}, "socket", "frames of its own"),
        ({"protocol": "simplon-v1"}, "protocol", "do not name their series"),
        ({"protocol": "karabo"}, "protocol", "do not name their series"),
        ({"protocol": "array-1.0"}, "protocol", "do not name their series"),
        ({"protocol": "bsread"}, "protocol", "do not name their series"),
        ({"share": "1/2"}, "share", "leave it out"),
        ({"positions": {"from": "stream", "address": "tcp://127.0.0.1:8", "axes": {"x": "x"}}}, "positions", "header"),
    ],
)
def test_what_cannot_be_shared_is_refused_by_name(source: dict, setting: str, says: str):
    with pytest.raises(ConfigError) as error:
        check(config(source))
    (text,) = [str(problem.text) for problem in error.value.problems if setting in problem.steps]
    assert says in text
