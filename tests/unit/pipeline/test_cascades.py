"""Routes after other routes: who gets an image, when, and what their accounts say of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.conditioning.selection import WHOLE, Selection
from edge.pipeline.batching import Pending
from edge.pipeline.cascades import Cascades
from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane
from edge.pipeline.totals import Totals
from streams.ledger.series import Series
from streams.messages import SeriesStart
from streams.routing import Condition, Route
from tests.unit.pipeline.doubles import SPEC, HeapMemory

CHAIN = {"a": ("", ""), "b": ("a", "total >= 15"), "c": ("b", "total == 20"), "other": ("", ""), "d": ("a", "")}
"""Route: the one before, and the condition."""


class Runner:
    """Keeps what it is offered; admits as many as it is told to."""

    def __init__(self, name: str, after: str = "", when: str = "", selection: Selection = WHOLE) -> None:
        self.route = Route(name, "sum", after=after, when=Condition.parse(when) if when else None)
        self.spec = SPEC
        self.selection = selection
        self.room = 1000
        self.frames: list[Pending] = []
        self.refused: list[tuple[SeriesRecord, tuple[str, ...]]] = []

    def admits(self, lane: Lane) -> bool:
        return len(self.frames) < self.room

    def offer(self, frame: Pending) -> None:
        self.frames.append(frame)

    def refuse(self, record: SeriesRecord, expected: tuple[str, ...]) -> None:
        self.refused.append((record, expected))


class Bench:
    """Routes, one series, and a lane of one slot an image."""

    def __init__(self, routes=None, images: int = 1) -> None:
        self.runners = {name: Runner(name, *rule) for name, rule in (routes or CHAIN).items()}
        self.totals = Totals()
        self.cascades = Cascades(list(self.runners.values()), self.totals)
        series = Series(SeriesStart("det", "u", 1, 8, ("image",)), announced=True, now_ns=0)
        self.record = SeriesRecord(series, list(self.runners))
        self.lane = Lane(HeapMemory("frames", 6 * images), 0, 6, images)

    def begin(self, *wanted: str, recall=None):
        """An image arrives that the routes `wanted` (all of them without) can take."""
        for account in self.record.accounts.values():
            account.accept()
        able = [runner for name, runner in self.runners.items() if not wanted or name in wanted]
        for name in self.runners.keys() - {runner.route.name for runner in able}:
            self.record.accounts[name].fail("wrong_shape")
        found = None if recall is None else lambda runner: self.recalled(runner, recall)
        now, expected = self.cascades.begin(self.record, able, found)
        self.check()
        return [runner.route.name for runner in now], expected

    def recalled(self, runner: Runner, results: dict[str, int]):
        if runner.route.name not in results:
            return None
        self.record.accounts[runner.route.name].recall()
        return answer(results[runner.route.name])

    def place(self, now, expected) -> None:
        """The image is in its slot, and goes to the routes `now`."""
        slot = self.lane.acquire()
        assert slot is not None
        self.lane.fill(slot, len(now))
        for name in now:
            frame = Pending(self.record, self.lane, slot, 0, "image", (2, 3), 1, None, 0, 0, expected=expected)
            self.runners[name].offer(frame)

    def answer(self, name: str, total: int) -> None:
        """Route `name` has inferred its oldest image."""
        runner = self.runners[name]
        frame = runner.frames.pop(0)
        self.cascades.offer(runner, frame, answer(total))
        self.record.accounts[name].publish(1)
        frame.lane.release(frame.slot)
        self.check()

    def fail(self, name: str) -> None:
        """Route `name` cannot infer its oldest image."""
        runner = self.runners[name]
        frame = runner.frames.pop(0)
        self.record.accounts[name].fail("failed")
        self.cascades.lost(self.record, runner, frame.expected)
        frame.lane.release(frame.slot)
        self.check()

    def drop_refused(self) -> None:
        """As the loop does with what a route's policy did not admit."""
        for name, runner in self.runners.items():
            while runner.refused:
                record, expected = runner.refused.pop()
                record.accounts[name].drop("overload")
                self.cascades.lost(record, runner, expected)
        self.check()

    def check(self) -> None:
        assert all(account.balanced for account in self.record.accounts.values())
        held = {frame.slot for runner in self.runners.values() for frame in runner.frames}
        assert self.lane.free == self.lane.count - len(held)

    def said(self) -> dict[str, str]:
        """What became of one image, by route."""
        said = {}
        for name, account in self.record.accounts.items():
            lost = [f"{kind} {reason}" for kind in ("dropped", "failed") for reason in getattr(account, kind)]
            kept = [kind for kind in ("unwanted", "published", "in_flight") if getattr(account, kind)]
            (said[name],) = lost + kept
        return said


def answer(total: int) -> dict[str, np.ndarray]:
    return {"total": np.array([total], np.int32), "first": np.zeros((2, 2), np.float32)}


@pytest.mark.parametrize("routes", [CHAIN, dict(reversed(CHAIN.items()))], ids=["in order", "backwards"])
@pytest.mark.parametrize(
    ("results", "became"),
    [
        ({"a": 20, "b": 20, "c": 0}, {"b": "published", "c": "published"}),
        ({"a": 15, "b": 19}, {"b": "published", "c": "unwanted"}),
        ({"a": 14}, {"b": "unwanted", "c": "unwanted"}),
    ],
)
def test_a_result_decides_who_is_next(results, became, routes):
    bench = Bench(routes)
    now, expected = bench.begin()
    assert (set(now), set(expected)) == ({"a", "other"}, {"b", "c", "d"})
    bench.place(now, expected)
    for name, total in results.items():
        assert not bench.record.finished
        bench.answer(name, total)
    bench.answer("other", 0)
    bench.answer("d", 0)
    assert bench.said() == {"a": "published", "other": "published", "d": "published"} | became
    assert bench.lane.free == 1
    assert bench.totals.outcomes == {
        (name, "unwanted", ""): 1 for name, outcome in became.items() if outcome == "unwanted"
    }


def test_it_is_the_same_slot_and_the_troubles_of_the_route_before_do_not_go_along():
    bench = Bench()
    bench.place(*bench.begin())
    frame = bench.runners["a"].frames[0]
    frame.attempts = frame.failures = frame.tried_epoch = frame.failed_ns = frame.retried_since_ns = 3
    bench.answer("a", 20)
    (after,) = bench.runners["b"].frames
    assert after is not frame
    assert (after.lane, after.slot, after.image_id, after.expected) == (bench.lane, 0, 0, frame.expected)
    assert (after.attempts, after.failures, after.tried_epoch, after.failed_ns, after.retried_since_ns) == (0,) * 5
    assert bench.lane.free == 0


def test_without_a_result_the_routes_after_it_drop_the_image():
    bench = Bench()
    bench.place(*bench.begin())
    bench.fail("a")
    bench.answer("other", 0)
    assert bench.said() == {
        "a": "failed failed",
        "other": "published",
        **dict.fromkeys(("b", "c", "d"), "dropped upstream"),
    }
    assert bench.totals.outcomes == {(name, "dropped", "upstream"): 1 for name in "bcd"}
    assert bench.lane.free == 1


def test_at_a_stop_they_drop_it_for_the_same_reason():
    bench = Bench()
    _, expected = bench.begin()
    bench.record.accounts["a"].drop("shutdown")
    bench.cascades.lost(bench.record, bench.runners["a"], expected, "shutdown")
    bench.check()
    assert bench.said() == {"other": "in_flight"} | dict.fromkeys("abcd", "dropped shutdown")


def test_a_route_that_is_full_drops_what_it_is_offered_and_others_get_it():
    bench = Bench()
    bench.runners["b"].room = 0
    bench.place(*bench.begin())
    bench.answer("a", 20)
    bench.drop_refused()
    bench.answer("other", 0)
    bench.answer("d", 0)
    assert bench.said() == {
        **dict.fromkeys(("a", "other", "d"), "published"),
        "b": "dropped overload",
        "c": "dropped upstream",
    }
    assert bench.lane.free == 1


@pytest.mark.parametrize(
    ("able", "became"),
    [
        ("acd", {"a": "published", "b": "failed wrong_shape", "c": "dropped upstream", "d": "published"}),
        ("bcd", {"a": "failed wrong_shape", **dict.fromkeys("bcd", "dropped upstream")}),
        ("ab", {"a": "published", "b": "published", **dict.fromkeys("cd", "failed wrong_shape")}),
    ],
)
def test_a_route_that_cannot_take_such_images_is_never_offered_one(able, became):
    bench = Bench()
    now, expected = bench.begin("other", *able)
    bench.place(now, expected)
    for name in ("a", "b", "d", "other"):
        if bench.runners[name].frames:
            bench.answer(name, 20)
    assert bench.said() == became | {"other": "published"}
    assert bench.lane.free == 1


@pytest.mark.parametrize(
    ("logged", "now", "expected", "became"),
    [
        ({}, "a other", "b c d", {}),
        ({"a": 20}, "b d other", "c", {}),
        ({"a": 3}, "d other", "", {"b": "unwanted", "c": "unwanted"}),
        ({"a": 20, "b": 20}, "c d other", "", {}),
        ({"a": 20, "b": 3}, "d other", "", {"c": "unwanted"}),
        ({"a": 20, "b": 20, "c": 1, "d": 1, "other": 1}, "", "", {}),
        # what is in a log is published from there even where the route before has to infer again, or would decline now
        ({"b": 20}, "a c other", "d", {}),
        ({"a": 3, "b": 20}, "c d other", "", {}),
        ({"c": 1}, "a other", "b d", {}),
    ],
)
def test_what_an_earlier_process_logged_is_not_inferred_again(logged, now, expected, became):
    bench = Bench()
    first, waiting = bench.begin(recall=logged)
    assert (sorted(first), sorted(waiting)) == (sorted(now.split()), sorted(expected.split()))
    in_flight = dict.fromkeys([*first, *waiting], "in_flight")
    assert bench.said() == dict.fromkeys(logged, "published") | in_flight | became


def test_a_log_that_does_not_tell_what_the_condition_asks_for_has_the_image_inferred():
    bench = Bench({"a": ("", ""), "b": ("a", "total >= 15")})
    bench.recalled = lambda runner, _: {} if runner.route.name == "a" else None
    assert bench.begin(recall={}) == (["b"], ())


@pytest.mark.parametrize(
    ("runners", "said"),
    [
        ([Runner("a"), Runner("b", "z")], "b comes after z, which is no route"),
        ([Runner("a", "b"), Runner("b", "a")], "in a circle"),
        ([Runner("a"), Runner("b", "a", selection=Selection(None, 2))], "b takes another region or binning than a"),
        ([Runner("a"), Runner("b", "a", "first > 1 or sum > 1")], "model sum of a does not answer first, sum"),
    ],
)
def test_routes_that_cannot_follow_each_other(runners, said):
    with pytest.raises(ValueError, match=said):
        Cascades(runners, Totals())


@st.composite
def forests(draw) -> dict[str, tuple[str, str]]:
    """Routes in any order, each first or after one of the others."""
    names = [str(at) for at in range(draw(st.integers(1, 6)))]
    routes = {}
    for at, name in enumerate(names):
        before = draw(st.sampled_from(["", *names[:at]]))
        routes[name] = (before, draw(st.sampled_from(["", "total >= 2", "total == 0"])) if before else "")
    return {name: routes[name] for name in draw(st.permutations(names))}


@given(forests(), st.integers(1, 4), st.data())
def test_every_image_is_accounted_for_on_every_route_and_every_slot_comes_back(routes, images, data):
    bench = Bench(routes, images)
    for runner in bench.runners.values():
        runner.room = data.draw(st.sampled_from([0, 1, 1000])) if runner.route.after else 1000
    for _ in range(images):
        able = data.draw(st.sets(st.sampled_from(sorted(routes)))) | {"nobody"}
        recall = data.draw(st.none() | st.dictionaries(st.sampled_from(sorted(routes)), st.integers(0, 3)))
        now, expected = bench.begin(*able, recall=recall)
        if now:
            bench.place(now, expected)
        else:
            assert not expected
    while busy := sorted(name for name, runner in bench.runners.items() if runner.frames):
        name = data.draw(st.sampled_from(busy))
        if data.draw(st.booleans()):
            bench.answer(name, data.draw(st.integers(0, 3)))
        else:
            bench.fail(name)
        bench.drop_refused()
    assert all(account.in_flight == 0 for account in bench.record.accounts.values())
    assert all(account.received == images for account in bench.record.accounts.values())
    assert bench.lane.free == images
