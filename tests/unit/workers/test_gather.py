"""What the gathering process says of itself, and how long it listens before it answers."""

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from edge.pipeline.loop import Events
from edge.pipeline.observing import RECENT_NS
from edge.pipeline.presence import Presence
from edge.pipeline.readiness import Facts, RouteFacts, SourceFacts
from edge.pipeline.sinks import SUBSCRIPTIONS_AT_ONCE, ResultSink
from edge.pipeline.totals import Totals
from edge.workers.gather import Around, Gather
from edge.workers.merged import Patience
from streams.codecs.handshake import Readiness, Ready, presence_topic
from streams.sockets import Socket

SECOND = 1_000_000_000


class Publisher:
    """A publishing socket that strangers subscribe to, on and on."""

    def __init__(self, messages: list[bytes]) -> None:
        self.messages, self.taken = messages, 0
        self.peers = SimpleNamespace(poll=lambda: None, connected=0)

    def receive(self) -> list[memoryview]:
        message = self.messages[self.taken] if self.taken < len(self.messages) else b"\x01stranger"
        self.taken += 1
        assert self.taken <= 10 * SUBSCRIPTIONS_AT_ONCE, "it listens for ever"
        return [memoryview(message)]


def gathering(publisher: Publisher, keeps: bool = True, disks: dict[str, str] | None = None) -> Gather:
    ask = SimpleNamespace(peers=publisher.peers)
    keep = (lambda notice, parts: None) if keeps else None
    sink = ResultSink(cast(Socket, publisher), cast(Socket, ask), "tcp://a", "origin", ["check"], 0, keep)
    assert isinstance(sink.presence, Presence)
    routes = {"check": RouteFacts("identity", True, frozenset({"det"}))}
    totals = Totals()
    totals.not_logged = Counter()
    around = Around(disks=lambda: disks or {})
    patience = Patience(SECOND, SECOND, SECOND)
    gather = Gather(1, cast(Socket, None), sink, Events(), {"det": False}, routes, patience, totals, around)
    gather.places[1].begin(False, 0)
    gather.places[1].say(Facts({"det": SourceFacts(1, True)}, routes), (), 0)
    return gather


def ready(gather: Gather) -> Readiness:
    found: Any = gather._reply(Ready("det", token=1))
    assert isinstance(found, Readiness)
    return found


def test_results_that_are_in_no_file_are_told():
    gather = gathering(Publisher([]))
    gather._look(10 * SECOND)
    assert (ready(gather).results, [one.what for one in gather.problems]) == ("ok", [])
    gather._totals.not_logged["check"] += 1
    gather._look(11 * SECOND)
    assert [(one.what, "refused results" in one.why) for one in gather.problems] == [("results", True)]
    assert ready(gather).results == "failing"
    gather._look(11 * SECOND + RECENT_NS)
    assert (ready(gather).results, gather.problems) == ("ok", ())


def test_what_the_disk_says_itself_counts_more():
    gather = gathering(Publisher([]), disks={"results": "no space"})
    gather._totals.not_logged["check"] += 1
    gather._look(10 * SECOND)
    (problem,) = gather.problems
    assert "no space" in problem.why


def test_subscribers_that_come_without_end_do_not_keep_a_controller_waiting():
    publisher = Publisher([b"\x01" + presence_topic("maps")])
    assert ready(gathering(publisher)).subscribers == ("maps",)
    assert publisher.taken <= SUBSCRIPTIONS_AT_ONCE
