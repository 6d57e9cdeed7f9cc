"""Three workers that share one stream, each with the real intake: merged, their accounts are the truth."""

import pytest

from edge.bench.faultrun import Run
from edge.bench.faults import MESSAGES, ordered
from streams.codecs import PROTOCOLS
from streams.ledger.book import SeriesBook
from streams.ledger.merging import Merged, merge
from streams.ledger.shares import Share
from streams.simulation.onwire import OnWire
from streams.simulation.truth import truth_of

WORKERS = 3


def merged(protocol: str, messages: list[OnWire], consumers: int) -> Merged:
    """Messages dealt in turn to `consumers`, of which the first three are ours."""
    parts = []
    for part in range(WORKERS):
        run = Run(protocol, {}, None, SeriesBook(Share(part + 1, WORKERS)))
        outcome = run.feed(messages[part::consumers])
        assert outcome.broken == []
        (account,) = outcome.accounts
        assert (account.ended.arrivals["missing"], account.ended.missing, account.ended.suspicion) == (0, {}, None)
        assert account.ended.verdict == "unknown"
        parts.append(account.ended)
    return merge(parts, numbered=PROTOCOLS[protocol].series_number)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fault", ["drop", "duplicate", "reorder", "delay"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_merged_account_is_the_truth(protocol, fault, seed):
    simulation, messages = ordered(protocol, fault, seed)
    images, channels = simulation.acquisition.images, len(simulation.acquisition.channels)
    (truth,) = truth_of(messages)
    found = merged(protocol, messages, WORKERS)
    announced = PROTOCOLS[protocol].expected
    asked = set(range(images)) if announced else set(range(min(truth.whole), max(truth.whole) + 1))
    missing = {
        channel: {number for start, stop in holes for number in range(start, stop)}
        for channel, holes in found.missing_ids.items()
    }
    assert set(map(frozenset, missing.values())) <= {frozenset(asked - truth.whole)}
    assert found.missing == channels * len(asked - truth.whole)
    assert found.expected == (images * channels if announced else None)
    assert (found.received, found.duplicate) == (channels * len(truth.whole), channels * len(truth.repeated))
    assert (found.silent, found.untold, found.suspicion) == ((), (), None)
    assert found.verdict == ("incomplete" if found.missing else "complete" if announced else "unknown")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stranger_shows_only_when_they_are_merged(protocol):
    simulation, messages = ordered(protocol, "delay", 0)
    found = merged(protocol, messages, WORKERS + 1)
    assert found.suspicion is not None
    assert found.suspicion.stride == (WORKERS + 1) * simulation.acquisition.images // MESSAGES
    assert "second consumer" in found.suspicion.text
