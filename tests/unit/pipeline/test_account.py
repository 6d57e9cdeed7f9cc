import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.pipeline.account import RouteAccount, verdict
from edge.pipeline.latency import LatencyHistogram
from streams.ledger.lifecycle import ArrivalCounts

STEPS = ("skip", "accept", "drop", "fail", "publish", "withhold")


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_the_equations_hold_at_every_moment(steps):
    account = RouteAccount()
    for step in steps:
        if step in ("skip", "accept"):
            getattr(account, step)()
        elif account.in_flight:
            getattr(account, step)(1000 if step == "publish" else "why")
        assert account.balanced
    plain = account.as_dict()
    assert plain["received"] == sum(step in ("skip", "accept") for step in steps)
    assert account.lost == sum(sum(plain[name].values()) for name in ("dropped", "failed", "unpublished"))


def test_a_frame_that_is_declined_is_no_loss():
    account = RouteAccount()
    account.accept()
    account.decline()
    assert account.balanced
    assert (account.received, account.unwanted, account.in_flight, account.lost) == (1, 1, 0, 0)


def test_settling_a_frame_twice_shows():
    account = RouteAccount()
    account.accept()
    account.publish(1)
    account.fail("again")
    assert not account.balanced


def arrivals(**changes) -> ArrivalCounts:
    counts = {"expected": 2, "images": 2, "received": 2, "missing": 0, "awaited": 0}
    counts |= {"duplicate": 0, "late": 0, "unexpected": 0, "refused": 0} | changes
    return ArrivalCounts(**counts)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "complete"),
        ({"duplicate": 3}, "complete"),
        ({"missing": 1}, "incomplete"),
        ({"late": 1}, "incomplete"),
        ({"unexpected": 1}, "incomplete"),
        ({"refused": 1}, "incomplete"),
        ({"expected": None}, "unknown"),
        ({"expected": None, "missing": 1}, "incomplete"),
    ],
)
def test_verdict_of_arrivals(changes, said):
    assert verdict(arrivals(**changes), RouteAccount()) == said


def test_what_the_detector_dropped_is_a_loss_unless_every_image_came():
    assert verdict(arrivals(expected=None), RouteAccount(), detector_dropped=2) == "incomplete"
    assert verdict(arrivals(expected=None), RouteAccount(), detector_dropped=0) == "unknown"
    assert verdict(arrivals(), RouteAccount(), detector_dropped=2) == "complete"


@pytest.mark.parametrize("step", ["drop", "fail", "withhold"])
def test_a_loss_on_the_route_is_a_loss(step):
    account = RouteAccount()
    account.accept()
    getattr(account, step)("why")
    assert verdict(arrivals(), account) == "incomplete"
    assert verdict(arrivals(expected=None), account) == "incomplete"


@given(st.lists(st.integers(1_000, 10**11), min_size=1, max_size=200), st.sampled_from([1, 50, 90, 99, 100]))
def test_percentiles_are_right_to_two_percent(latencies, percent):
    histogram = LatencyHistogram()
    for latency in latencies:
        histogram.add(latency)
    exact = float(np.percentile(latencies, percent, method="inverted_cdf"))
    assert histogram.percentile_ns(percent) == pytest.approx(exact, rel=0.02)


def test_latency_of_nothing_and_of_the_extremes():
    histogram = LatencyHistogram()
    assert histogram.summary_ms() == {}
    for latency in (0, -5, 10**18):
        histogram.add(latency)
    assert histogram.max_ns == 10**18
    assert histogram.percentile_ns(50) <= 1_020
