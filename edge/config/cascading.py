"""What must fit together where a route comes after another one. Pure."""

from collections.abc import Iterator, Mapping

from edge.config.problems import Problem, Steps
from edge.config.tables import RouteConfig
from edge.models.registry import MODELS
from edge.models.spec import ModelSpec, scalars
from streams.routing import Condition, ConditionError


def cascade_problems(routes: tuple[RouteConfig, ...]) -> Iterator[Problem]:
    """All that is wrong with the order of the routes and their conditions."""
    by_name = {route.name: route for route in reversed(routes)}  # the first of two of a name, which is another problem
    for at, route in enumerate(routes):
        steps: Steps = ("route", at)
        if not route.after:
            if route.when:
                yield Problem((*steps, "when"), "looks at a result, and there is none; name a route in after")
            continue
        leader = by_name.get(route.after)
        if leader is None or route.after == route.name:
            others = ", ".join(name for name in dict.fromkeys(each.name for each in routes) if name != route.name)
            yield Problem((*steps, "after"), f"no other [[route]] is called so; there are {others or 'no others'}")
            continue
        circle = _circle(route.name, by_name)
        if circle and route.name == next(each.name for each in routes if each.name in circle):  # said once
            yield Problem((*steps, "after"), f"goes round in a circle ({' after '.join(circle)}); one must come first")
        yield from _same_images(route, leader, by_name, steps)
        yield from _condition(route, leader, steps)


def _circle(name: str, routes: Mapping[str, RouteConfig]) -> list[str]:
    """The names from `name` back to it; empty where it does not come after itself."""
    passed = [name]
    while (before := routes[passed[-1]].after) in routes:
        if before in passed:
            return [*passed, name] if before == name else []
        passed.append(before)
    return []


def _same_images(
    route: RouteConfig, leader: RouteConfig, routes: Mapping[str, RouteConfig], steps: Steps
) -> Iterator[Problem]:
    """It gets what lies in the slots of the route before, and can only leave out some of it."""
    if (route.region, route.binning) != (leader.region, leader.binning):
        what = "region" if route.region != leader.region else "binning"
        yield Problem(
            (*steps, what),
            f"is not that of route {leader.name}, whose images it gets; write the same for both, or no after",
        )
    for what in ("sources", "channels"):
        given = _inherited(leader, what, routes)
        for at, name in enumerate(getattr(route, what)):
            if given and name not in given:
                yield Problem(
                    (*steps, what, at), f"route {leader.name}, which comes before, takes only {', '.join(given)}"
                )


def _inherited(route: RouteConfig, what: str, routes: Mapping[str, RouteConfig]) -> tuple[str, ...]:
    """Sources or channels of a route: where it names none, those of the route before."""
    passed: set[str] = set()
    while not getattr(route, what) and route.after in routes and route.name not in passed:
        passed.add(route.name)
        route = routes[route.after]
    return getattr(route, what)


def _condition(route: RouteConfig, leader: RouteConfig, steps: Steps) -> Iterator[Problem]:
    if not route.when:
        return
    try:
        condition = Condition.parse(route.when)
    except ConditionError as error:
        yield Problem((*steps, "when"), str(error))
        return
    spec = MODELS.get(leader.model)
    if spec is not None and (unknown := condition.unknown(scalars(spec))):
        yield Problem((*steps, "when"), f"model {spec.name} does not answer {', '.join(unknown)}; {_offer(spec)}")


def _offer(spec: ModelSpec) -> str:
    offered = [
        name if length is None else f"{name}[0] to {name}[{length - 1}]" for name, length in scalars(spec).items()
    ]
    if not offered:
        return "its answers are images, not numbers: leave when out, and every image goes on"
    return f"a condition may name {', '.join(offered)}"
