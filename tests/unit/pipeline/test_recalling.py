"""Images of a capture whose results an earlier process logged: published again, not inferred again."""

import numpy as np
import pytest

from edge.pipeline.cascades import Cascades
from edge.pipeline.control import Control
from edge.pipeline.joining import Joining
from edge.pipeline.publishing import Publisher
from edge.results.recall import Recall
from streams.codecs.results import Result
from tests.unit.pipeline.test_intake import series
from tests.unit.pipeline.test_recovery import Recovering, recorded
from tests.unit.results.notices import result, write_log

LOGGED = {0: None, 2: {"x": 0.5}, 3: None}
"""Position by image."""

FAR = ("energy 12 keV, trained at 8.8 keV",)
"""The label of the last of them."""


class Sink:
    """Keeps what was published."""

    keeps = True

    def __init__(self, recall: Recall) -> None:
        self.recall = recall
        self.sent: list[tuple[Result, list[np.ndarray]]] = []

    def send(self, notice, arrays=()) -> None:
        self.sent.append((notice, list(arrays)))


@pytest.fixture
def bench(tmp_path):
    messages = series("stream-v2", 5)
    bench = Recovering("stream-v2", recorded(*messages))
    uid = "uid-1"
    told = {"series_uid": uid, "route": "r", "model_sha256": "00", "series_id": 1}
    labels = {3: FAR}
    logged = [result(at, position=where, untrained=labels.get(at, ()), **told) for at, where in LOGGED.items()]
    bench.sink = Sink(Recall([write_log(tmp_path / "1.log", *logged)]))
    bench.publisher = Publisher(
        bench.sink, Joining(), Control([bench.intake]), bench.totals, Cascades(bench.runners, bench.totals)
    )
    yield bench
    bench.sink.recall.close()


def take_all(bench) -> None:
    while bench.intake.take_next(bench.opened.append, bench.fail, bench.publisher.recalled):
        bench.intake.place(bench.fail)


def test_only_images_without_a_logged_result_are_inferred(bench):
    take_all(bench)
    assert sorted(bench.images()) == [1, 4]
    assert {notice.image_id: notice.recovered for notice, _ in bench.sink.sent} == dict.fromkeys(LOGGED, True)
    assert {notice.image_id: notice.position for notice, _ in bench.sink.sent} == LOGGED
    for notice, (array,) in bench.sink.sent:
        np.testing.assert_array_equal(array, np.array([notice.image_id, -1.5], np.float32))


def test_they_are_in_the_account_as_published_and_without_a_latency(bench):
    take_all(bench)
    (record,) = bench.intake.records.values()
    account = record.accounts["r"]
    assert (account.received, account.inferred, account.published, account.in_flight) == (5, 3, 3, 2)
    assert account.balanced
    assert account.latency.summary_ms() == {}
    assert bench.totals.recalled["r"] == 3
    assert bench.totals.outcomes["r", "published", ""] == 3
    assert record.positions["r"].as_dict() == {"joined": 1, "missing": {"absent": 2}}
    assert bench.totals.untrained["r"] == 1 and record.ended("r").untrained == FAR


def test_a_position_that_is_asked_for_and_was_not_logged_is_looked_for_again(bench):
    bench.publisher.recalled = _asking(bench.publisher.recalled)
    take_all(bench)
    assert sorted(bench.images()) == [0, 1, 3, 4]


def _asking(recalled):
    def asked(record, runner, frame):
        record.positions[runner.route.name].asked_for = True
        return recalled(record, runner, frame)

    return asked


def test_live_images_are_never_looked_up(bench):
    live = Recovering("stream-v2", live=series("stream-v2", 5))
    while live.intake.take_next(live.opened.append, live.fail, bench.publisher.recalled):
        live.intake.place(live.fail)
    assert len(live.images()) == 5
    assert not bench.sink.sent
