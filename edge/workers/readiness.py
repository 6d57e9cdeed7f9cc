"""Whether all workers would serve the next frame: their facts put together. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge.pipeline.readiness import Facts, RouteFacts, SourceFacts
from edge.workers.slots import Place
from streams.codecs.handshake import Problem


def merged_facts(
    told: Sequence[Facts],
    routes: Mapping[str, RouteFacts],
    *,
    sources: Iterable[str],
    present: frozenset[str],
    required: Sequence[str],
    failing: Mapping[str, str],
    stopping: bool,
) -> Facts:
    """What is so for each of the workers that are there.

    Args:
        told: by each of them.
        routes: all that are configured; whether their models are ready is what the workers say.
        present, required, failing, stopping: as in `Facts`, of whoever gathers.
    """
    return Facts(
        sources={name: _source([one.sources[name] for one in told if name in one.sources]) for name in sources},
        routes={
            name: RouteFacts(route.model, all(_ready(one, name) for one in told), route.sources)
            for name, route in routes.items()
        },
        lost=next((one.lost for one in told if one.lost), ""),
        present=present,
        required=required,
        failing={what: why for one in told for what, why in one.failing.items()} | dict(failing),
        stopping=stopping,
    )


def _source(told: Sequence[SourceFacts]) -> SourceFacts:
    if not told:  # that no worker is there is told as such
        return SourceFacts(connected=1, settled=True)
    return SourceFacts(
        connected=min(one.connected for one in told),
        settled=all(one.settled for one in told),
        recovering=any(one.recovering for one in told),
        bound=told[0].bound,
        address=told[0].address,
    )


def _ready(facts: Facts, route: str) -> bool:
    return route in facts.routes and facts.routes[route].ready


def worker_problems(places: Mapping[int, Place]) -> Iterator[Problem]:
    """Workers that are not there: the detector sends to all, so what they would get waits or is lost."""
    for place in places.values():
        if not place.up or place.facts is None:
            state = "has ended and is started again" if place.life > place.up else "is starting"
            why = f"worker {place.worker} of {len(places)} {state}"
            yield Problem("worker", why, "wait a few seconds; where it repeats, see its log in the run folder")
