"""Routes after other routes: an image goes on to the next model, in the same slot, where the result before says so.

Every image is accepted at once into the accounts of all routes that may want it. What a result then decides is that it
is inferred once more, or *declined*: it was wanted by nobody after all. Until then its account has it in flight, so
that a series is not over before the last decision.

Which routes wait for the result of the one before them goes along with the image as `expected`, their names. One that
is not in it has nothing to wait for: it cannot take such images, or its result was found in a log.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec.structs import replace
from numpy.typing import NDArray

from edge.models.spec import scalars
from edge.pipeline.batching import Pending
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.record import SeriesRecord
from edge.pipeline.totals import Totals
from streams.routing import ConditionError, leaders

UPSTREAM = "upstream"
"""Reason of a drop: there is no result of the route before."""

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""What a model answered for one frame, by output, without a batch axis."""

Recall: TypeAlias = Callable[[RouteRunner], Arrays | None]
"""Publishes the logged result of an image on a route once more, and says what it was; None where there is none."""


class Cascades:
    """Which routes come after which, and what becomes of an image on them. Used by the loop's thread.

    Args:
        runners: all routes.
        totals: counters.

    Raises:
        ValueError: the routes cannot be run one after the other.
    """

    def __init__(self, runners: Sequence[RouteRunner], totals: Totals) -> None:
        self._totals = totals
        self._after: dict[str, list[RouteRunner]] = {runner.route.name: [] for runner in runners}
        by_name = {runner.route.name: runner for runner in runners}
        rules = {name: runner.route for name, runner in by_name.items()}
        depths: dict[str, int] = {}
        for name, runner in by_name.items():
            depths[name] = len(leaders(name, rules))
            if runner.route.after:
                _check(runner, by_name[runner.route.after])
                self._after[runner.route.after].append(runner)
        self._ordered = sorted(by_name.values(), key=lambda runner: depths[runner.route.name])

    def after(self, runner: RouteRunner) -> Sequence[RouteRunner]:
        """The routes that come directly after `runner`."""
        return self._after[runner.route.name]

    def begin(
        self, record: SeriesRecord, wanted: Collection[RouteRunner], recall: Recall | None = None
    ) -> tuple[tuple[RouteRunner, ...], tuple[str, ...]]:
        """Where an image goes first.

        What is in a log is published from there, whatever it came after; only the rest is decided. A route after
        one whose result was recalled is decided by that one, and after one that has to infer again it waits.

        Args:
            record: its series.
            wanted: the routes whose accounts have accepted it and that can take it.
            recall: for an image that an earlier process may have inferred.

        Returns:
            The routes that are to infer it now, and `expected`.
        """
        now: list[RouteRunner] = []
        expected: list[str] = []
        known: dict[str, Arrays] = {}  # what was recalled, by route
        coming: set[str] = set()  # routes that are still to infer it, or may be
        declined: set[str] = set()
        for runner in self._ordered:
            if runner not in wanted:
                continue
            name, before = runner.route.name, runner.route.after
            arrays = recall(runner) if recall is not None else None
            if arrays is not None:
                known[name] = arrays
            elif not before or (before in known and _called_for(runner, known[before])):
                now.append(runner)
                coming.add(name)
            elif before in coming:
                expected.append(name)
                coming.add(name)
            elif before in known or before in declined:
                self._decline(record, runner)
                declined.add(name)
            else:
                self._drop(record, runner, UPSTREAM)
        return tuple(now), tuple(expected)

    def offer(self, runner: RouteRunner, frame: Pending, arrays: Arrays) -> None:
        """`runner` has inferred `frame`, and still holds its slot: hand it on to the routes after it that want it."""
        for follower in self._after[runner.route.name]:
            if follower.route.name not in frame.expected:
                continue
            if not _called_for(follower, arrays):
                self._decline_all(frame.record, follower, frame.expected)
            elif follower.admits(frame.lane):
                frame.lane.hold(frame.slot)
                follower.offer(_afresh(frame))
            else:
                follower.refuse(frame.record, frame.expected)

    def lost(
        self, record: SeriesRecord, runner: RouteRunner, expected: Collection[str], reason: str = UPSTREAM
    ) -> None:
        """There will be no result of `runner` for an image: the routes that wait for it drop the image, too.

        At a stop `reason` is the one of `runner` itself: a recovery then takes none of them for done.
        """
        for follower in self._after[runner.route.name]:
            if follower.route.name in expected:
                self._drop(record, follower, reason)
                self.lost(record, follower, expected, reason)

    def _decline_all(self, record: SeriesRecord, runner: RouteRunner, expected: Collection[str]) -> None:
        self._decline(record, runner)
        for follower in self._after[runner.route.name]:
            if follower.route.name in expected:
                self._decline_all(record, follower, expected)

    def _decline(self, record: SeriesRecord, runner: RouteRunner) -> None:
        route = runner.route.name
        record.accounts[route].decline()
        self._totals.outcomes[route, "unwanted", ""] += 1

    def _drop(self, record: SeriesRecord, runner: RouteRunner, reason: str) -> None:
        route = runner.route.name
        record.accounts[route].drop(reason)
        self._totals.outcomes[route, "dropped", reason] += 1


def _check(runner: RouteRunner, leader: RouteRunner) -> None:
    name, before = runner.route.name, leader.route.name
    if runner.selection != leader.selection:
        raise ValueError(f"route {name} takes another region or binning than {before}, whose images it is to get")
    if runner.route.when is not None and (unknown := runner.route.when.unknown(scalars(leader.spec))):
        raise ValueError(f"route {name}: model {leader.spec.name} of {before} does not answer {', '.join(unknown)}")


def _called_for(runner: RouteRunner, arrays: Arrays) -> bool:
    """Whether the result before calls for this route, too. One that does not tell, as an old log may hold, does."""
    try:
        return runner.route.when is None or runner.route.when.holds(arrays)
    except ConditionError:
        return True


def _afresh(frame: Pending) -> Pending:
    """The image for the next route, which knows nothing of the troubles of this one."""
    return replace(frame, attempts=0, tried_epoch=0, failures=0, failed_ns=0, retried_since_ns=0)
