"""Looks at everything that readiness depends on, and answers who asks for it; belongs to the serving loop's thread."""

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.intake import Intake
from edge.pipeline.outside import Listening, Outside
from edge.pipeline.readiness import SETTLE_NS, Facts, RouteFacts, SourceFacts, problems
from edge.pipeline.sinks import Sink
from edge.pipeline.totals import Totals
from streams.codecs.handshake import Problem, Readiness, Ready
from streams.ledger.lifecycle import State
from streams.sockets import Receiving

RECENT_NS = 3_000_000_000
"""For how long something that was not kept on the disk counts: a write that succeeds takes it back no sooner."""


class Connection:
    """Since when a source has been connected without a break."""

    def __init__(self, socket: Receiving, listening: Listening | None) -> None:
        self._socket, self.peers = socket, socket.peers
        self.listening = listening or Listening("")
        self._since_ns: int | None = None
        self._breaks = 0

    def look(self, now_ns: int) -> None:
        """Take in what happened since the last look."""
        _ = (
            self._socket.zmq.EVENTS
        )  # a SUB that was connected anew subscribes when it is used, and one that is blocked is not
        self.peers.poll()
        breaks = 0 if self.listening.bound else self.peers.disconnections  # a bound socket has strangers, too
        if not self.peers.connected:
            self._since_ns = None
        elif self._since_ns is None or breaks != self._breaks:
            self._since_ns = now_ns
        self._breaks = breaks

    def facts(self, recovering: bool, now_ns: int) -> SourceFacts:
        settled = self._since_ns is not None and now_ns - self._since_ns >= SETTLE_NS
        address, bound = self.listening
        return SourceFacts(self.peers.connected, settled, recovering, bound, address)


class Loss:
    """Whether something was lost lately, by a count that only grows."""

    def __init__(self) -> None:
        self._count, self._at_ns = 0, -RECENT_NS

    def look(self, counts: Mapping[str, int], now_ns: int) -> bool:
        count = sum(dict(counts).values())  # copied at once: another thread counts
        if count > self._count:
            self._count, self._at_ns = count, now_ns
        return now_ns - self._at_ns < RECENT_NS


class Observer:
    """Knows whether the next frame would be served.

    Args:
        intakes, runners, sink, totals: of the serving loop; what is seen is entered into `totals`.
        outside: see there.

    Attributes:
        lost: why the inference server is not there.
        stopping: the loop was asked to stop.
        problems: what stands in the way of the next frame of any source, at the last look.
    """

    def __init__(
        self,
        intakes: Sequence[Intake],
        runners: Sequence[RouteRunner],
        sink: Sink,
        totals: Totals,
        outside: Outside,
    ) -> None:
        self.lost, self.stopping = "", False
        self.problems: tuple[Problem, ...] = (Problem("starting", "`edge serve` is starting", "wait"),)
        self._intakes, self._runners, self._sink, self._totals = intakes, runners, sink, totals
        self._outside = outside
        self._connections = {one.name: Connection(one.inlet.socket, outside.listening.get(one.name)) for one in intakes}
        self._doors = {"results": sink.publisher.peers, "handshake": sink.ask.peers}
        self._unrecorded, self._unlogged = Loss(), Loss()
        self._failing: dict[str, str] = {}
        self._said = ""
        self._version, self._started_ns = version("detector-edge"), time.time_ns()

    def look(self, now_ns: int) -> None:
        """At everything, several times a second."""
        for connection in self._connections.values():
            connection.look(now_ns)
        for peers in self._doors.values():
            peers.poll()
        self._failing = self._look_at_disks(now_ns)
        facts = self._facts(now_ns)
        self.problems = problems(facts, Ready())
        self._enter()
        self._outside.seen(facts)
        text = "; ".join(one.why for one in self.problems)
        said = f"not ready: {text}" if text else "ready"
        if said != self._said:
            self._said = said
            self._outside.status(said)

    def answer(self, asked: Ready) -> Readiness:
        """By what is so now, not at the last look."""
        now_ns = time.monotonic_ns()
        self.look(now_ns)
        facts = self._facts(now_ns)
        recorded = any(intake.inlet.recording for intake in self._intakes)
        return Readiness(
            source=asked.source,
            token=asked.token,
            problems=problems(facts, asked),
            origin=self._sink.origin,
            version=self._version,
            started_ns=self._started_ns,
            sources={name: one.connected for name, one in facts.sources.items()},
            models={one.model: one.ready for one in facts.routes.values()},
            subscribers=tuple(sorted(facts.present)),
            series_open=sum(
                one.series.state is not State.CLOSED for intake in self._intakes for one in intake.records.values()
            ),
            recovering=tuple(name for name, one in facts.sources.items() if one.recovering),
            recording=self._kept("recording", recorded),
            results=self._kept("results", self._sink.keeps),
            stopping=self.stopping,
        )

    def _facts(self, now_ns: int) -> Facts:
        ready, everything = self._totals.server_ready, [intake.name for intake in self._intakes]
        return Facts(
            sources={
                one.name: self._connections[one.name].facts(one.inlet.recovering, now_ns) for one in self._intakes
            },
            routes={
                one.route.name: RouteFacts(one.spec.name, ready, frozenset(filter(one.route.takes, everything)))
                for one in self._runners
            },
            lost=self.lost,
            present=self._sink.presence.names,
            required=self._outside.required,
            failing=self._failing,
            stopping=self.stopping,
        )

    def _look_at_disks(self, now_ns: int) -> dict[str, str]:
        """Of the disks that are asked to keep anything."""
        failing: dict[str, str] = {}
        if self._unrecorded.look(self._totals.not_recorded, now_ns):
            failing["recording"] = "the disk refused messages within the last seconds"
        if self._unlogged.look(self._totals.not_logged, now_ns):
            failing["results"] = "the disk refused results within the last seconds"
        return failing | dict(self._outside.disks())

    def _enter(self) -> None:
        totals = self._totals
        totals.ready, totals.subscribers = not self.problems, len(self._sink.presence.names)
        for name, connection in self._connections.items():
            totals.peers[name] = connection.peers.connected
        named = {f"source {name}": one.peers for name, one in self._connections.items()}
        for name, peers in (self._doors | named).items():
            for reason, count in peers.refused.items():
                totals.connections_refused[name, reason] = count

    def _kept(self, what: str, wanted: bool) -> str:
        if not wanted:
            return "off"
        return "failing" if what in self._failing else "ok"
