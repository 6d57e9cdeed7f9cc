from collections import Counter

import pytest

from edge.http.refusals import LOG_EVERY_S, Refusals


def test_every_refusal_is_counted_and_a_flood_does_not_fill_the_log(caplog: pytest.LogCaptureFixture):
    now, counts = 100.0, Counter[str]()
    refusals = Refusals(counts, lambda: now)
    for _ in range(1000):
        refusals.add("malformed", "10.0.0.1", "nonsense")
    refusals.add("tls", "10.0.0.2", "garbage")
    assert counts == {"malformed": 1000, "tls": 1}
    assert caplog.messages == ["HTTP: refused 10.0.0.1: nonsense", "HTTP: refused 10.0.0.2: garbage"]
    now += LOG_EVERY_S
    refusals.add("malformed", "10.0.0.3", "again")
    assert caplog.messages[-1] == "HTTP: refused 10.0.0.3: again (999 more since the last such line)"
