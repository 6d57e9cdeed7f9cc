"""Whether the next frame would be served, and its result heard: plain facts in, what stands in the way out.

What counts, in the order in which it is told (`Problem.what`):

    starting     the data plane has not looked yet
    stopping     the data plane drains and takes no new series
    source       no such source is configured
    connection   nobody is connected to the source's socket, or not yet for `SETTLE_NS`
    route        no such route is configured, or it takes nothing from the source
    model        a model of the routes has not passed its canary on the server that is there now
    recovery     the source's live messages wait until what an earlier process recorded is gone through
    subscriber   somebody who has to listen does not
    recording    captures are configured, and the disk does not take them
    results      result files are configured, and the disk does not take them
    worker       of several processes one is not there (`edge.workers.readiness`)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from streams.codecs.handshake import Problem, Ready

SETTLE_NS = 500_000_000
"""For how long a connection must have stood. Our side of the connection is up half a round trip before the sender's is,
and a PUB drops what it publishes until our subscription has reached it: no message of ours confirms that. Half a second
is many times the round trip in a facility's network. A PUSH and a REP wait for us in any case."""


@dataclass(frozen=True)
class SourceFacts:
    """One source.

    Attributes:
        connected: connections that its socket has.
        settled: there has been one without a break for `SETTLE_NS`.
        recovering: it goes through what an earlier process recorded.
        bound: its socket waits for the detector to connect; else it connects to the detector.
        address: of its socket.
    """

    connected: int
    settled: bool
    recovering: bool = False
    bound: bool = False
    address: str = ""


@dataclass(frozen=True)
class RouteFacts:
    """One route: its model, whether that is ready now, and the sources that it takes from."""

    model: str
    ready: bool
    sources: frozenset[str]


@dataclass(frozen=True)
class Facts:
    """The state of the data plane.

    Attributes:
        sources, routes: by name.
        lost: why the inference server is not there; empty: it is, or no reason is known.
        present, required: subscribers, by name.
        failing: what the disk does not take, and why: `recording`, `results`.
        stopping: it was asked to stop.
    """

    sources: Mapping[str, SourceFacts]
    routes: Mapping[str, RouteFacts]
    lost: str = ""
    present: frozenset[str] = frozenset()
    required: Sequence[str] = ()
    failing: Mapping[str, str] = field(default_factory=dict)
    stopping: bool = False


def problems(facts: Facts, asked: Ready) -> tuple[Problem, ...]:
    """What stands in the way of the next frame of `asked.source` on `asked.routes`; nothing: it is ready."""
    sources = [asked.source] if asked.source else list(facts.sources)
    known = [name for name in sources if name in facts.sources]
    found: list[Problem] = []
    if facts.stopping:
        found.append(Problem("stopping", "`edge serve` is stopping", "start it again; `edge up` does so by itself"))
    for name in sources:
        if name not in facts.sources:
            found.append(_unknown_source(name, facts.sources))
    found += [problem for name in known for problem in _connection(name, facts.sources[name])]
    if known:
        found += _routes(facts, asked.routes, known)
    for name in known:
        if facts.sources[name].recovering:
            why = f"source {name!r} still goes through what an earlier `edge serve` recorded and did not finish"
            found.append(Problem("recovery", why, "wait until it is done; live frames are recorded meanwhile"))
    found += _subscribers(facts, asked.subscribers)
    found += _disks(facts.failing)
    return tuple(found)


def _unknown_source(name: str, sources: Iterable[str]) -> Problem:
    why = f"`edge serve` has no source {name!r}; it has {_listed(sources)}"
    return Problem("source", why, "give the device the name of a [[source]] in edge.toml")


def _connection(name: str, source: SourceFacts) -> Iterator[Problem]:
    at = f" ({source.address})" if source.address else ""
    if not source.connected and source.bound:
        yield Problem(
            "connection",
            f"nobody is connected to source {name!r}{at}",
            "have the detector send to that address, and look whether its stream is enabled",
        )
    elif not source.connected:
        yield Problem(
            "connection",
            f"source {name!r} is not connected to its detector{at}",
            "look whether the detector is on, its stream enabled, and this its address (`address` in edge.toml); with "
            "security.keys a sender that cannot encrypt needs plain = true",
        )
    elif not source.settled:
        why = f"source {name!r} was connected to its detector just now"
        yield Problem("connection", why, f"wait {SETTLE_NS / 1e9:g} s; where it repeats, the connection breaks")


def _routes(facts: Facts, asked: Sequence[str], sources: Sequence[str]) -> Iterator[Problem]:
    for name in asked:
        if name not in facts.routes:
            why = f"`edge serve` has no route {name!r}; it has {_listed(facts.routes)}"
            yield Problem("route", why, "give the device the name of a [[route]] in edge.toml")
        elif not facts.routes[name].sources.intersection(sources):
            why = f"route {name!r} takes nothing from source {_listed(sources)}"
            yield Problem("route", why, "add the source to `sources` of that [[route]] in edge.toml, or leave them out")
    wanted = [facts.routes[name] for name in asked or facts.routes if name in facts.routes]
    models = {route.model for route in wanted if route.sources.intersection(sources) and not route.ready}
    if models:
        one = len(models) == 1
        why = f"{'model' if one else 'models'} {_listed(models)} {'is' if one else 'are'} not ready on the server"
        if facts.lost:
            why += f": {facts.lost}"
        remedy = "wait a few seconds, Triton is started again by itself; else see the log of `edge triton` or `serve`"
        yield Problem("model", why, remedy)


def _subscribers(facts: Facts, asked: Sequence[str]) -> Iterator[Problem]:
    for name in dict.fromkeys((*facts.required, *asked)):
        if name in facts.present:
            continue
        if name in facts.required:
            remedy = "start it, or take it out of `required_subscribers` in edge.toml"
        else:
            remedy = "start it; where it runs, look whether it reaches the address of the results"
        yield Problem("subscriber", f"subscriber {name!r} is not connected", remedy)


def _disks(failing: Mapping[str, str]) -> Iterator[Problem]:
    for what, setting in (("recording", "recording.folder"), ("results", "results.folder")):
        if what in failing:
            remedy = f"free space there, make it writable, or change {setting}"
            yield Problem(what, f"{_KEPT[what]} are not kept: {failing[what]}", remedy)


_KEPT = {"recording": "raw messages", "results": "results"}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)[:10])) or "none"
