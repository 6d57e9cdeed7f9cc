"""Words of several workers in unlikely orders, unique ids that are used again, and processes that do a series again."""

import logging
from collections.abc import Callable, Sequence

import pytest

from edge.workers import words
from edge.workers.merged import MergedSource
from edge.workers.parts import LOST
from edge.workers.starts import AwaitingDecoder
from edge.workers.telling import TellingBook
from streams.ledger.shares import Share
from streams.messages import Compression, Frame, Message, Part, SeriesEnd, SeriesStart
from tests.unit.workers.test_merged import MS, Fake, Worker, facts, merged, obey

STEP = 100 * MS


def start(date: str | None, images: int | None = 4, uid: str = "uid") -> SeriesStart:
    return SeriesStart("det", uid, 1, images, ("image",), header={"arm_date": date} if date else {})


def frame(image_id: int, uid: str = "uid") -> Frame:
    return Frame("det", uid, 1, image_id, "image", (1, 1), "|u1", Compression.NONE, b"x")


def begin(worker: Worker, begun: SeriesStart, now_ns: int = 0) -> None:
    worker.source.began(worker.place, words.pack_start(begun), begun, now_ns)


def pass_time(source: MergedSource, workers: Sequence[Worker], now_ns: int, until_ns: int) -> int:
    """All who are there say that they are."""
    while now_ns < until_ns:
        now_ns += STEP
        for worker in workers:
            worker.place.heard_ns = now_ns
        source.advance(now_ns)
        obey(workers, now_ns)
    return now_ns


def come_back(worker: Worker, now_ns: int) -> None:
    """Another process in its place, that goes through the capture."""
    worker.place.begin(True, now_ns)
    worker.place.say(facts(recovering=True), (), now_ns)
    worker.accounts, worker.told = {}, sum(number == worker.place.worker for number, _ in worker.fake.told)


# the end before anything else


@pytest.mark.parametrize("announced_first", [True, False])
def test_an_end_that_is_told_before_anything_else_of_a_series_ends_it(announced_first: bool):
    source, fake, workers = merged(3)
    one, two, three = workers
    three.end(now_ns=0)
    assert not source.records
    if announced_first:
        one.start(1, now_ns=5 * MS)
        two.take(0, now_ns=6 * MS)
    else:
        two.take(0, now_ns=5 * MS)
        one.start(1, now_ns=6 * MS)
    two.infer(0)
    pass_time(source, workers, 6 * MS, 300 * MS)
    (ended,) = fake.ended
    assert (ended.reason, ended.verdict, fake.results) == ("end", "complete", [0])


def test_an_end_that_is_told_early_leaves_the_grace_period_to_what_is_on_its_way():
    source, fake, workers = merged(2)
    workers[1].end(now_ns=0)
    workers[0].start(2, now_ns=5 * MS)
    workers[0].take(0, now_ns=5 * MS)
    workers[0].infer(0)
    now_ns = pass_time(source, workers, 0, 400 * MS)
    assert not fake.ended
    pass_time(source, workers, now_ns, 800 * MS)
    (ended,) = fake.ended
    assert (ended.reason, ended.verdict, ended.arrivals["missing"]) == ("grace_over", "incomplete", 1)


def test_the_end_of_a_series_without_images_may_be_told_before_its_start():
    source, fake, workers = merged(2)
    workers[1].end(now_ns=0)
    workers[0].start(0, now_ns=5 * MS)
    pass_time(source, workers, 0, 200 * MS)
    assert [(ended.reason, ended.verdict) for ended in fake.ended] == [("end", "complete")]


def test_ends_of_series_that_never_come_are_forgotten():
    source, fake, workers = merged(2)
    for number in range(1000):
        workers[1].end(uid=f"stray{number}")
    workers[0].start(1, uid="stray0")
    workers[0].take(0, uid="stray0")
    pass_time(source, workers, 0, 2000 * MS)
    assert not fake.ended  # an end of that long ago is of no account


# the start after the end of all


@pytest.mark.parametrize("published", [True, False])
def test_a_start_that_comes_when_its_series_is_closed_opens_no_other(published: bool):
    source, fake, workers = merged(2)
    one, two = workers
    two.take(0, 1)
    two.infer(0, 1)
    two.end(now_ns=0)
    now_ns = 0
    while not source.records["uid"].series.close_reason:
        now_ns += STEP
        one.place.heard_ns = two.place.heard_ns = now_ns
        source.advance(now_ns)
    if published:
        obey(workers, now_ns)
        assert fake.ended
    fake.told.clear()
    one.told = two.told = 0
    begin(one, start("2026", images=2), now_ns)
    assert fake.told == [(1, words.Close("det", "uid"))]
    pass_time(source, workers, now_ns, now_ns + 11_000 * MS)
    if not published:
        two.snapshot()
        source.worker_closed(two.place, "uid", now_ns)
    assert [(ended.series_uid, ended.verdict, ended.reason) for ended in fake.ended] == [("uid", "unknown", "end")]
    assert not source.records


# the next start, and who is awaited


def test_the_next_start_waits_for_who_comes_back_and_has_a_capture():
    source, fake, workers = merged(3, records=True)
    one, two, three = workers
    one.start(6)
    one.take(0, 3)
    two.take(1)
    three.take(2, 5)
    two.die(10 * MS)  # with 4 in its capture, not told of
    one.start(3, now_ns=20 * MS, uid="next", series_id=2)
    one.take(0, uid="next", now_ns=21 * MS)
    three.take(1, uid="next", now_ns=22 * MS)
    pass_time(source, [one, three], 30 * MS, 700 * MS)
    assert source.records["uid"].series.close_reason is None
    come_back(two, 710 * MS)
    two.take(1, 4, now_ns=710 * MS)
    for worker, images in ((one, (0, 3)), (three, (2, 5))):
        worker.infer(*images)
    two.infer(1, 4, recovered=True)
    two.take(2, uid="next", now_ns=720 * MS)
    two.place.say(facts(), (), 730 * MS)
    pass_time(source, workers, 730 * MS, 1000 * MS)
    (ended,) = fake.ended
    assert (ended.series_uid, ended.verdict, ended.arrivals["received"]) == ("uid", "complete", 6)
    assert ended.account["published"] == 6


def test_the_next_start_waits_for_nobody_who_does_not_come_back():
    source, fake, workers = merged(2, records=True)
    one, two = workers
    one.start(2)
    one.take(0)
    one.infer(0)
    two.take(1)
    two.die(0)
    one.start(1, now_ns=20 * MS, uid="next", series_id=2)
    now_ns = pass_time(source, [one], 0, 4_800 * MS)
    assert not fake.ended
    pass_time(source, [one], now_ns, 5_200 * MS)
    (ended,) = fake.ended
    assert (ended.series_uid, ended.reason, ended.verdict) == ("uid", "superseded", "incomplete")


def test_an_image_that_its_worker_took_for_a_late_one_has_a_reason():
    source, fake, workers = merged(2)
    one, two = workers
    one.start(2)
    one.take(0)
    one.infer(0)
    two.start(1, uid="next", series_id=2)
    source.arrived(two.place, words.Arrived("det", "uid", 1, "image", [1]), 0)  # after the next start: not inferred
    one.end()
    obey(workers)
    (ended,) = fake.ended
    assert (ended.arrivals["received"], ended.account["received"], ended.account["failed"]) == (2, 2, {LOST: 1})
    assert ended.verdict == "incomplete"


# who does a series again


def test_who_had_told_all_and_does_it_again_counts_once():
    source, fake, workers = merged(2, records=True)
    one, two = workers
    one.start(4)
    one.take(0, 2)
    two.take(1, 3)
    one.infer(0, 2)
    one.end()
    one.obey()
    one.die(10 * MS)
    come_back(one, 500 * MS)
    one.take(0, 2, now_ns=510 * MS)
    one.infer(0, 2, recovered=True)
    one.place.say(facts(), (), 600 * MS)
    two.infer(1, 3)
    pass_time(source, workers, 600 * MS, 800 * MS)
    (ended,) = fake.ended
    assert (ended.verdict, ended.account["received"], ended.account["failed"]) == ("complete", 4, {})
    assert sorted(fake.results) == [0, 1, 2, 3]


def test_who_ends_again_and_again_counts_once():
    source, fake, workers = merged(2, records=True)
    one, two = workers
    one.start(4)
    one.take(0, 2)
    two.take(1, 3)
    one.infer(0, 2)
    two.infer(1, 3)
    two.snapshot()
    two.die(10 * MS)
    for number in range(3):
        come_back(two, (20 + number) * MS)
        two.take(1, 3)
        two.infer(1, 3, recovered=True)
        two.snapshot()
        two.die((21 + number) * MS)
    one.end(now_ns=30 * MS)
    pass_time(source, [one], 30 * MS, 1000 * MS)
    (ended,) = fake.ended
    assert (ended.verdict, ended.account["received"], ended.account["failed"]) == ("complete", 4, {})


def test_a_loss_is_told_though_the_next_process_found_all_of_it_settled():
    source, fake, workers = merged(2, records=True)
    one, two = workers
    one.start(4)
    one.take(0, 2)
    two.take(1, 3)
    one.infer(0)
    one.accounts["uid"].fail("poisoned")
    one.end()
    one.obey()
    one.die(10 * MS)
    come_back(one, 500 * MS)
    one.place.say(facts(), (), 600 * MS)
    two.infer(1, 3)
    pass_time(source, workers, 600 * MS, 800 * MS)
    (ended,) = fake.ended
    assert (ended.verdict, ended.account["received"], ended.account["failed"]) == ("incomplete", 4, {"poisoned": 1})


def test_an_image_of_two_workers_that_one_does_again_is_not_lost():
    source, fake, workers = merged(2, records=True)
    one, two = workers
    one.start(2)
    one.take(0, 1)
    one.infer(0, 1)
    two.take(1)
    two.die(10 * MS)
    come_back(two, 500 * MS)
    two.take(1, now_ns=510 * MS)
    two.infer(1, recovered=True)
    two.place.say(facts(), (), 600 * MS)
    one.end(now_ns=600 * MS)
    pass_time(source, workers, 600 * MS, 800 * MS)
    (ended,) = fake.ended
    assert (ended.verdict, ended.account["received"], ended.account["failed"]) == ("complete", 2, {})
    assert fake.results == [0, 1]


# a unique id that is used again


class Inner:
    """A protocol whose parts are messages."""

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        return list(parts)  # type: ignore[arg-type]

    def closed(self, series_uid: str) -> None:
        """Nothing is remembered."""


class Telling:
    """A worker's decoder and ledger; `deliver` hands it what whoever gathers said."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.begin()

    def begin(self) -> None:
        self.decoder = AwaitingDecoder(Inner(), self._wait)
        self.book = TellingBook("det", Share(1, 2), lambda uid: False, self.decoder.own, lambda: None)
        self.heard = sum(number == self.worker.place.worker for number, _ in self.worker.fake.told)

    def feed(self, message: Message, now_ns: int = 0) -> None:
        """One message from the detector, all the way into the ledger of record."""
        source, place = self.worker.source, self.worker.place
        for each in self.decoder.decode([message], 5):  # type: ignore[list-item]
            if isinstance(each, SeriesStart):
                self.book.open(each, now_ns)
            elif isinstance(each, SeriesEnd):
                self.book.end(each, now_ns)
            elif isinstance(each, Frame):
                self.book.of_frame(each, now_ns)[0].take(each, now_ns)
        for word in self.book.pop_told():
            if isinstance(word, words.Began):
                source.began(place, word.packed, words.unpack_start(word.packed), now_ns)
            elif isinstance(word, words.Ended):
                source.ended(place, word.series_uid, now_ns)
            elif isinstance(word, words.Arrived):
                source.arrived(place, word, now_ns)

    def deliver(self) -> None:
        told = [word for number, word in self.worker.fake.told if number == self.worker.place.worker]
        for word in told[self.heard :]:
            if isinstance(word, words.Start):
                self.decoder.relayed(words.unpack_start(word.packed))
            elif isinstance(word, words.Close):
                self.book.close(word.series_uid)
                self.worker.source.worker_closed(self.worker.place, word.series_uid, 0)
        self.heard = len(told)

    def _wait(self, done: Callable[[], bool], patience_s: float) -> None:
        self.deliver()


def two_workers() -> tuple[MergedSource, Fake, list[Telling]]:
    source, fake, workers = merged(2)
    return source, fake, [Telling(worker) for worker in workers]


def run(tellings: Sequence[Telling], begun: SeriesStart, images: Sequence[int]) -> None:
    """The start and every other image to the first worker, the others to the second."""
    tellings[0].feed(begun)
    for telling in tellings:
        telling.deliver()
    for at, image_id in enumerate(images):
        tellings[at % 2].feed(frame(image_id))
        for telling in tellings:
            telling.deliver()


def only_open(source: MergedSource) -> SeriesStart:
    (record,) = [one for one in source.records.values() if one.series.close_reason is None]
    return record.start


def test_all_workers_and_the_ledger_of_record_name_a_second_series_alike():
    source, fake, tellings = two_workers()
    run(tellings, start("monday"), range(4))
    tellings[1].feed(SeriesEnd("det", "uid", 1))
    run(tellings, start("tuesday"), range(4))
    begun = only_open(source)
    counts = source.records[begun.series_uid].series.counts()
    assert begun.series_uid.startswith("uid~")
    assert (counts.received, counts.duplicate) == (4, 0)
    tellings[1].feed(SeriesEnd("det", "uid", 1))
    for telling in tellings:
        telling.deliver()
    # all images of the first one had come before the second one began, so none is mistaken
    assert [ended.reason for ended in fake.ended] == ["end", "end"]
    assert [ended.arrivals["received"] for ended in fake.ended] == [4, 4]
    run(tellings, start("wednesday"), range(4))
    assert only_open(source).series_uid not in ("uid", begun.series_uid)


def test_a_worker_that_heard_of_the_first_series_not_takes_over_the_name(caplog: pytest.LogCaptureFixture):
    source, _, tellings = two_workers()
    run(tellings, start("monday"), range(4))
    tellings[1].feed(SeriesEnd("det", "uid", 1))
    tellings[0].begin()
    with caplog.at_level(logging.WARNING):
        run(tellings, start("tuesday"), range(4))
    counts = source.records[only_open(source).series_uid].series.counts()
    assert (counts.received, counts.duplicate) == (4, 0)
    assert "has the unique id 'uid' of an earlier one" in caplog.text


def test_where_images_may_be_of_either_series_neither_is_called_complete(caplog: pytest.LogCaptureFixture):
    _, fake, workers = merged(2)
    one, two = (Telling(worker) for worker in workers)
    one.feed(start("monday", images=2))
    two.deliver()
    one.feed(frame(0))
    with caplog.at_level(logging.WARNING):
        one.feed(start("tuesday", images=2))
        two.feed(frame(1))  # of either: it had heard of the first one only
        two.deliver()
        two.feed(frame(1))
    assert "neither is complete" in caplog.text
    one.feed(frame(0))
    one.feed(SeriesEnd("det", "uid", 1))
    for telling in (one, two):
        telling.deliver()
    assert [(ended.series_uid == "uid", ended.verdict) for ended in fake.ended] == [
        (True, "incomplete"),
        (False, "incomplete"),  # for these workers publish nothing
    ]
    assert [ended.account["failed"] for ended in fake.ended] == [{LOST: 1}, {LOST: 2}]
    assert fake.ended[1].arrivals["received"] == 2


def test_a_doubtful_series_that_has_a_result_for_all_is_unknown():
    source, fake, workers = merged(2)
    one, two = workers
    begin(one, start("monday", images=2))
    one.take(0)
    one.infer(0)
    begin(one, start("tuesday", images=1))
    (again,) = [uid for uid in source.records if uid != "uid"]
    two.take(0, uid=again)
    two.infer(0, uid=again)
    two.end(uid="uid")  # the first one is closed: of the second
    pass_time(source, workers, 0, 2 * STEP)
    verdicts = {ended.series_uid: ended.verdict for ended in fake.ended}
    assert verdicts == {"uid": "incomplete", again: "unknown"}
    assert fake.ended[1].account["published"] == 1


def test_a_capture_of_both_series_is_gone_through_under_the_same_names():
    source, _, tellings = two_workers()
    run(tellings, start("monday"), range(4))
    run(tellings, start("tuesday"), range(3))
    name = only_open(source).series_uid
    again = AwaitingDecoder(Inner(), lambda done, patience_s: None)
    again.relayed(source_start := only_open(source))
    capture: list[Message] = [start("monday"), frame(0), start("tuesday"), frame(0), SeriesEnd("det", "uid", 1)]
    found = [each.series_uid for message in capture for each in again.decode([message], 5)]  # type: ignore[list-item]
    assert source_start.series_uid == name
    assert found[2:] == [name] * 3
