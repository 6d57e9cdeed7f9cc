"""Routes after other routes through a crash: each result is published, none is inferred twice, none is lost."""

from collections import Counter

import numpy as np
import pytest

from edge.pipeline.arena import Arena
from edge.pipeline.cascades import Cascades
from edge.pipeline.control import Control
from edge.pipeline.joining import Joining
from edge.pipeline.publishing import Publisher
from edge.results.recall import Recall
from streams.codecs.results import Result, SeriesEnded, describe
from streams.routing import Condition, Route
from tests.unit.pipeline.doubles import HeapMemory
from tests.unit.pipeline.test_intake import series
from tests.unit.pipeline.test_recovery import Recovering, recorded
from tests.unit.results.notices import packed, result, write_log

ROUTES = [Route("first", "sum"), Route("second", "sum", after="first", when=Condition.parse("total >= 15"))]
TOTALS = {0: 20, 1: 3, 2: 20, 3: 3, 4: 20, 5: 3}
"""What the first route makes of each image."""


class Sink:
    """Keeps what was published."""

    keeps = True

    def __init__(self, recall: Recall) -> None:
        self.recall = recall
        self.results: Counter[tuple[str, int]] = Counter()
        self.ended: dict[str, SeriesEnded] = {}

    def send(self, notice, arrays=()) -> None:
        if isinstance(notice, Result):
            self.results[notice.route, notice.image_id] += 1
        elif isinstance(notice, SeriesEnded):
            self.ended[notice.route] = notice

    def send_all(self, route, messages) -> None:
        self.results.update((route, notice.image_id) for notice, _ in messages)


class Bench(Recovering):
    """Both routes behind a capture, and what was logged: image ids by route."""

    def __init__(self, folder, logged: dict[str, list[int]]) -> None:
        super().__init__("stream-v2", recorded(*series("stream-v2", len(TOTALS))), routes=ROUTES)
        logs = [write_log(folder / f"{route}.log", *_records(route, ids)) for route, ids in logged.items()]
        self.sink = Sink(Recall(logs))
        control = Control([self.intake])
        self.publisher = Publisher(self.sink, Joining(), control, self.totals, Cascades(self.runners, self.totals))
        self.inferred: Counter[tuple[str, int]] = Counter()

    def recover(self) -> None:
        """Go through the capture, infer what is to be inferred, and close the series."""
        publisher = self.publisher
        while self.intake.take_next(publisher.opened, publisher.refused, publisher.recalled):
            self.intake.place(publisher.refused)
            self.check()
        for runner in self.runners:  # the second one has by then what the first one offered
            while len(runner.queue):
                (frame,) = runner.queue.take(1)
                self.inferred[runner.route.name, frame.image_id] += 1
                assert frame.recovered
                arrays = {"total": np.array([[TOTALS[frame.image_id]]], np.int32), "first": np.zeros((1, 2, 2), "f4")}
                publisher.inferred_all(runner, [frame], arrays)
                frame.lane.release(frame.slot)
                self.check()
        for record in self.intake.pop_finished():
            publisher.close(record)
        self.sink.recall.close()

    def check(self) -> None:
        assert all(account.balanced for record in self.intake.records.values() for account in record.accounts.values())


def _records(route: str, ids: list[int]) -> list[bytes]:
    records = []
    for image_id in ids:
        arrays = {"total": np.array([TOTALS[image_id]], np.int32), "first": np.zeros((2, 2), np.float32)}
        specs = tuple(describe(name, array, "1") for name, array in arrays.items())
        notice = result(image_id, series_uid="uid-1", route=route, model_sha256="00", series_id=1, specs=specs)
        records.append(packed(notice, arrays.values()))
    return records


@pytest.mark.parametrize(
    ("logged", "inferred"),
    [
        ({}, {"first": [0, 1, 2, 3, 4, 5], "second": [0, 2, 4]}),
        # 0: all is there; 2: the second is inferred alone; 1, 3: nobody wants more; 4, 5: the first decides
        ({"first": [0, 1, 2, 3], "second": [0]}, {"first": [4, 5], "second": [2, 4]}),
        ({"first": [0, 1, 2, 3, 4, 5]}, {"first": [], "second": [0, 2, 4]}),
        ({"first": [0, 1, 2, 3, 4, 5], "second": [0, 2, 4]}, {"first": [], "second": []}),
        # the first one's log was lost
        ({"second": [0, 2]}, {"first": [0, 1, 2, 3, 4, 5], "second": [4]}),
    ],
)
def test_a_recovery_infers_exactly_what_is_in_no_log(logged, inferred, tmp_path):
    bench = Bench(tmp_path, logged)
    bench.recover()
    assert bench.inferred == {(route, image_id): 1 for route, ids in inferred.items() for image_id in ids}
    wanted = {"first": list(TOTALS), "second": [0, 2, 4]}
    assert bench.sink.results == {(route, image_id): 1 for route, ids in wanted.items() for image_id in ids}
    assert {route: ended.verdict for route, ended in bench.sink.ended.items()} == dict.fromkeys(wanted, "complete")
    account = bench.sink.ended["second"].account
    assert (account["received"], account["published"], account["unwanted"], account["in_flight"]) == (6, 3, 3, 0)
    assert bench.arena.drained


def test_a_series_is_over_only_when_the_last_decision_is_taken(tmp_path):
    bench = Bench(tmp_path, {"first": [0, 1, 2, 3]})
    publisher = bench.publisher
    while bench.intake.take_next(publisher.opened, publisher.refused, publisher.recalled):
        bench.intake.place(publisher.refused)
    (record,) = bench.intake.records.values()
    assert (record.accounts["first"].in_flight, record.accounts["second"].in_flight) == (2, 4)
    assert bench.intake.pop_finished() == []
    bench.sink.recall.close()


def test_an_image_that_has_no_slot_fails_on_both_routes(tmp_path):
    bench = Bench(tmp_path, {"first": [0, 1, 2, 3]})
    bench.arena = bench.intake.arena = bench.intake._placement.arena = Arena(HeapMemory("frames", 8), "det")
    bench.recover()
    failed = {route: ended.account["failed"] for route, ended in bench.sink.ended.items()}
    # 0 and 2 were to go to the second alone
    assert failed == {"first": {"too_large": 2}, "second": {"too_large": 4}}
