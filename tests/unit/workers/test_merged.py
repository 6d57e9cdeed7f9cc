"""The ledger of record of several workers: whatever the order of their words, and whoever ends, it adds up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.pipeline.account import RouteAccount
from edge.pipeline.readiness import Facts, RouteFacts, SourceFacts
from edge.pipeline.record import SeriesRecord
from edge.workers import words
from edge.workers.merged import MergedSource, Patience
from edge.workers.parts import LOST
from edge.workers.slots import SILENT_NS, Place
from streams.codecs.results import Result, SeriesEnded, SeriesStarted
from streams.ledger.lifecycle import Arrival
from streams.messages import SeriesStart

MS = 1_000_000
PATIENCE = Patience(grace_ns=500 * MS, idle_ns=10_000 * MS, return_ns=5_000 * MS)


@dataclass
class Fake:
    """What the ledger brought about."""

    results: list[int] = field(default_factory=list)
    started: list[SeriesStarted] = field(default_factory=list)
    ended: list[SeriesEnded] = field(default_factory=list)
    told: list[tuple[int, words.Down]] = field(default_factory=list)
    opened_names: list[str] = field(default_factory=list)
    latencies_ns: list[int] = field(default_factory=list)

    def publish(self, route: str, notices: Sequence[tuple[Any, Sequence[Any]]]) -> None:
        for notice, _ in notices:
            assert notice.route == route
            if isinstance(notice, Result):
                self.results.append(notice.image_id)
            elif isinstance(notice, SeriesStarted):
                self.started.append(notice)
            else:
                self.ended.append(notice)

    def tell(self, worker: int, word: words.Down) -> None:
        self.told.append((worker, word))

    def opened(self, record: SeriesRecord) -> None:
        self.opened_names.append(record.series.uid)

    def closing(self, source: str) -> None:
        assert source == "det"

    def reconcile(self, record: SeriesRecord) -> None:
        record.series.detector_dropped(None)

    def closed(self, record: SeriesRecord, ended: Sequence[SeriesEnded]) -> None:
        assert all(account.balanced for account in record.accounts.values())

    def arrived(self, source: str, arrivals: Sequence[Arrival]) -> None:
        assert source == "det"

    def latencies(self, route: str, latencies_ns: Sequence[int]) -> None:
        self.latencies_ns += latencies_ns


def facts(recovering: bool = False) -> Facts:
    source = SourceFacts(1, True, recovering)
    return Facts({"det": source}, {"check": RouteFacts("identity", True, frozenset({"det"}))})


def result(image_id: int, uid: str = "uid", recovered: bool = False) -> Result:
    names = ("check", "identity", "1", "sha", "", 0, 0, 0)
    return Result("det", uid, 1, image_id, "image", *names, recovered=recovered)


class Worker:
    """One process of a worker, as it would tell; what it has in hand is lost with it."""

    def __init__(self, source: MergedSource, place: Place, fake: Fake, records: bool = False) -> None:
        self.source, self.place, self.fake = source, place, fake
        self.accounts: dict[str, RouteAccount] = {}
        self.told = 0  # words of the ledger that were heard
        place.begin(records, 0)
        place.say(facts(), (), 0)

    def start(self, images: int | None, now_ns: int = 0, uid: str = "uid", series_id: int = 1) -> None:
        begun = SeriesStart("det", uid, series_id, images, ("image",))
        self.source.began(self.place, words.pack_start(begun), begun, now_ns)

    def take(self, *image_ids: int, uid: str = "uid", now_ns: int = 0) -> None:
        account = self.accounts.setdefault(uid, RouteAccount())
        for _ in image_ids:
            account.accept()
        self.source.arrived(self.place, words.Arrived("det", uid, 1, "image", list(image_ids)), now_ns)

    def infer(self, *image_ids: int, uid: str = "uid", recovered: bool = False) -> None:
        for _ in image_ids:
            self.accounts[uid].publish(1000)
        made = [words.Made(0, result(image_id, uid, recovered), []) for image_id in image_ids]
        self.source.results(self.place, "check", made, 5)

    def snapshot(self, uid: str = "uid") -> None:
        account = self.accounts[uid].as_dict()
        self.source.account(self.place, words.RouteNow("det", uid, "check", account, {}))

    def end(self, uid: str = "uid", now_ns: int = 0) -> None:
        self.source.ended(self.place, uid, now_ns)

    def obey(self, now_ns: int = 0) -> None:
        """Finish what it was told to close."""
        mine = [word for worker, word in self.fake.told if worker == self.place.worker]
        for word in mine[self.told :]:
            self.told += 1
            if isinstance(word, words.Close):
                if word.series_uid in self.accounts:
                    self.snapshot(word.series_uid)
                self.source.worker_closed(self.place, word.series_uid, now_ns)

    def die(self, now_ns: int = 0) -> None:
        self.place.end(now_ns)


def merged(workers: int, records: bool = False) -> tuple[MergedSource, Fake, list[Worker]]:
    fake, places = Fake(), {number: Place(number) for number in range(1, workers + 1)}
    source = MergedSource("det", ["check"], places, PATIENCE, fake)
    return source, fake, [Worker(source, place, fake, records) for place in places.values()]


def obey(workers: Sequence[Worker], now_ns: int = 0) -> None:
    for worker in workers:
        if worker.place.up:
            worker.obey(now_ns)


def started(worker: Worker, announced: bool = True) -> None:
    notice = SeriesStarted("det", "uid", 1, "check", "", 0, 0, None, announced)
    worker.source.started(notice)


def test_the_end_waits_for_images_that_another_worker_still_has():
    source, fake, (one, two) = merged(2)
    one.start(4)
    one.take(0, 2)
    one.end(now_ns=0)
    two.take(1, now_ns=400 * MS)  # the grace period begins anew
    one.place.heard_ns = two.place.heard_ns = 800 * MS
    source.advance(800 * MS)
    assert not fake.told[1:]  # the start, to the other worker
    two.take(3, now_ns=850 * MS)
    assert [word for _, word in fake.told[1:]] == [words.Close("det", "uid")] * 2
    one.infer(0, 2)
    two.infer(1, 3)
    one.obey()
    assert not fake.ended
    two.obey()
    (ended,) = fake.ended
    assert (ended.verdict, ended.reason, ended.arrivals["received"]) == ("complete", "end", 4)
    assert ended.account["published"] == 4
    assert fake.results == [0, 2, 1, 3]


def test_a_worker_that_is_blocked_or_silent_holds_the_grace_period_up():
    source, _, (one, two) = merged(2)
    one.start(2)
    one.take(0)
    one.end()
    now_ns = 0
    for _ in range(20):
        now_ns += 200 * MS
        one.place.heard_ns = now_ns
        two.place.say(facts(), ("det",), now_ns)
        source.advance(now_ns)
    two.place.say(facts(), (), now_ns)
    for _ in range(10):
        now_ns += SILENT_NS + 1
        one.place.heard_ns = now_ns
        source.advance(now_ns)
    assert source.records["uid"].series.close_reason is None
    for _ in range(6):
        now_ns += 100 * MS
        one.place.heard_ns = two.place.heard_ns = now_ns
        source.advance(now_ns)
    assert source.records["uid"].series.close_reason == "grace_over"


def test_a_start_is_told_to_the_others_and_to_who_comes_later():
    source, fake, (one, two, three) = merged(3)
    two.start(7)
    assert [worker for worker, word in fake.told if isinstance(word, words.Start)] == [1, 3]
    assert words.unpack_start(source.starts()[0]).expected == 7
    three.start(7)  # a detector that says so on each of its sockets
    assert len(fake.told) == 2
    assert one.place.up


def test_one_series_start_is_published_with_the_expected_number_of_all():
    source, fake, (one, two) = merged(2)
    one.start(5)
    started(one)
    started(two)
    assert [(notice.expected, notice.announced) for notice in fake.started] == [(5, True)]
    assert source.starts()


def test_a_start_that_was_overtaken_is_told_when_it_comes():
    _, fake, (one, two) = merged(2)
    two.take(0)
    started(two, announced=False)
    one.start(2)
    started(two, announced=False)  # on its way when the start came
    started(one)
    assert [(notice.expected, notice.announced) for notice in fake.started] == [(None, False), (2, True)]


def test_the_next_start_closes_a_series_only_when_no_worker_can_have_any_of_it():
    source, fake, (one, two) = merged(2)
    one.start(None)
    one.take(0)
    two.take(1)
    one.start(None, uid="next", series_id=2)
    source.advance(100 * MS)
    assert source.records["uid"].series.close_reason is None
    two.take(2, now_ns=100 * MS)
    two.take(0, uid="next", now_ns=100 * MS)
    source.advance(150 * MS)
    assert source.records["uid"].series.close_reason == "superseded"
    one.infer(0)
    two.infer(1, 2)
    obey([one, two])
    assert [(end.series_uid, end.arrivals["received"], end.verdict) for end in fake.ended] == [("uid", 3, "unknown")]


def test_an_image_that_came_to_two_workers_has_one_result():
    _, fake, (one, two) = merged(2)
    one.start(2)
    one.take(0, 1)
    two.take(1)
    one.infer(0, 1)
    two.infer(1)
    one.end()
    obey([one, two])
    (ended,) = fake.ended
    assert fake.results == [0, 1]
    assert (ended.arrivals["received"], ended.arrivals["duplicate"]) == (2, 1)
    assert (ended.account["received"], ended.account["published"], ended.account["failed"]) == (2, 2, {})


def test_an_image_beyond_the_announced_ones_has_no_result():
    _, fake, (one, _) = merged(2)
    one.start(1)
    one.take(0, 9)
    one.infer(0, 9)
    one.end()
    obey([one, _])
    assert fake.results == [0]
    assert (fake.ended[0].arrivals["unexpected"], fake.ended[0].account["published"]) == (1, 1)


def test_what_a_worker_had_in_hand_when_it_ended_is_lost_and_said_so():
    source, fake, (one, two) = merged(2)
    one.start(6)
    one.take(0, 2, 4)
    two.take(1, 3)
    two.infer(1)
    two.die()
    one.infer(0, 2, 4)
    one.end()
    one.place.heard_ns = 600 * MS
    source.advance(600 * MS)
    obey([one, two])
    (ended,) = fake.ended
    assert (ended.verdict, ended.reason, ended.arrivals["missing"]) == ("incomplete", "grace_over", 1)
    assert ended.account["failed"] == {LOST: 1}
    assert (ended.account["received"], ended.account["published"]) == (5, 4)


def test_who_recorded_is_waited_for_and_its_successor_does_it_again():
    source, fake, (one, two) = merged(2, records=True)
    one.start(4)
    one.take(0, 2)
    two.take(1, 3)
    two.infer(1)
    two.die(0)
    one.infer(0, 2)
    one.end()
    obey([one])
    source.advance(1000 * MS)
    assert not fake.ended
    two.place.begin(True, 1500 * MS)
    again = Worker.__new__(Worker)
    again.source, again.place, again.fake, again.accounts, again.told = source, two.place, fake, {}, len(fake.told)
    again.take(1, 3)
    again.infer(1, 3, recovered=True)
    source.advance(1600 * MS)
    assert not fake.ended  # it may have more
    two.place.say(facts(), (), 1700 * MS)
    source.advance(1700 * MS)
    again.told = 0
    again.obey()
    (ended,) = fake.ended
    assert sorted(fake.results) == [0, 1, 2, 3]
    assert (ended.verdict, ended.arrivals["duplicate"], ended.account["received"]) == ("complete", 0, 4)


def test_who_recorded_and_does_not_come_back_is_given_up():
    source, fake, (one, two) = merged(2, records=True)
    one.start(2)
    one.take(0)
    two.take(1)
    two.die(0)
    one.infer(0)
    one.end()
    obey([one])
    source.advance(PATIENCE.return_ns - 1)
    assert not fake.ended
    source.advance(PATIENCE.return_ns)
    assert fake.ended[0].account["failed"] == {LOST: 1}


def test_who_ends_again_and_again_in_its_recovery_is_given_up():
    place = Place(1)
    for _ in range(3):
        place.begin(True, 0)
        assert place.recovering("det")
        place.end(0)
    assert not place.awaited(PATIENCE.return_ns, 1)
    place.begin(True, 0)
    assert not place.recovering("det")


def test_late_images_are_told_to_be_of_no_use():
    _, fake, (one, two) = merged(2)
    one.start(1)
    one.take(0)
    one.infer(0)
    one.end()
    obey([one, two])
    fake.told.clear()
    two.take(5)
    two.infer(5)
    assert fake.told == [(2, words.Close("det", "uid"))]
    assert fake.results == [0]


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "infer", "fail", "state", "end", "die", "return"]), st.integers(0, 2)),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(0, 20), st.booleans(), st.lists(st.integers(0, 2), min_size=20, max_size=20))
def test_whatever_happens_the_account_adds_up_and_there_is_one_end(steps, images, again, dealt):
    """Images are dealt to three workers at random; any of them may end at any time, with what it had."""
    source, fake, workers = merged(3)
    workers[0].start(images)
    queues: list[list[int]] = [[], [], []]
    for image_id in range(images):
        queues[dealt[image_id]].append(image_id)
    hands: list[list[int]] = [[], [], []]
    came: set[int] = set()
    failed: Counter[int] = Counter()
    now_ns = 0
    for what, at in steps:
        now_ns += 10 * MS
        worker, hand = workers[at], hands[at]
        if what == "return" and not worker.place.up:
            workers[at] = Worker(source, worker.place, fake)
            workers[at].told = len([1 for number, _ in fake.told if number == at + 1])
        elif not worker.place.up:
            continue
        elif what == "take" and queues[at]:
            image_id = queues[at].pop(0)
            worker.take(image_id, now_ns=now_ns)
            hand.append(image_id)
            came.add(image_id)
        elif what == "infer" and hand:
            worker.infer(hand.pop(0))
        elif what == "fail" and hand:
            hand.pop(0)
            worker.accounts["uid"].fail("poisoned")
            failed[at] += 1
        elif what == "state" and "uid" in worker.accounts:
            worker.snapshot()
        elif what == "end":
            worker.end(now_ns=now_ns)
        elif what == "die":
            worker.die(now_ns)
            hand.clear()
            if again:  # ZeroMQ had them for the worker that is gone
                queues[at].clear()
    for _ in range(300):
        now_ns += 50 * MS
        for worker, hand in zip(workers, hands, strict=True):
            worker.place.heard_ns = now_ns
            if worker.place.up:
                worker.infer(*hand) if hand else None
                hand.clear()
        source.advance(now_ns)
        obey(workers, now_ns)
    (ended,) = fake.ended
    arrivals, account = ended.arrivals, ended.account
    assert arrivals["expected"] == images
    assert (arrivals["received"], arrivals["missing"]) == (len(came), images - len(came))
    assert len(fake.results) == len(set(fake.results)) == account["published"]
    assert account["received"] == len(came)
    lost = sum(account["failed"].values()) + sum(account["dropped"].values())
    assert account["received"] == account["inferred"] + lost
    assert (ended.verdict == "complete") is (len(fake.results) == images)
    assert not source.records


class Recording(Worker):
    """Takes in what is in its capture first, as its results may not have left."""

    def begin_again(self, capture: Sequence[int], now_ns: int) -> None:
        self.place.begin(True, now_ns)
        self.accounts = {}
        if capture:
            self.take(*capture, now_ns=now_ns)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 20), st.lists(st.integers(0, 2), min_size=20, max_size=20))
def test_with_captures_nothing_is_lost_that_any_process_had(steps, images, dealt):
    """Any process may end at any time; the next one in its place does again what was in its hands."""
    source, fake, places = merged(3, records=True)
    workers = [Recording.__new__(Recording) for _ in places]
    for worker, plain in zip(workers, places, strict=True):
        worker.__dict__ = plain.__dict__
    workers[0].start(images)
    queues: list[list[int]] = [[image_id for image_id in range(images) if dealt[image_id] == at] for at in range(3)]
    hands: list[list[int]] = [[], [], []]
    captures: list[list[int]] = [[], [], []]
    now_ns = 0

    def bring_back(at: int) -> None:
        workers[at].begin_again(captures[at], now_ns)
        workers[at].told = len([1 for number, _ in fake.told if number == at + 1])
        hands[at] = list(captures[at])

    def infer(at: int, image_ids: Sequence[int]) -> None:
        for image_id in image_ids:
            workers[at].infer(image_id, recovered=workers[at].place.recovering("det"))

    for what, at in steps:
        now_ns += 10 * MS
        place = workers[at].place
        if what == "return" and not place.up:
            bring_back(at)
        elif not place.up:
            continue
        elif what == "take" and queues[at] and not place.recovering("det"):
            image_id = queues[at].pop(0)
            workers[at].take(image_id, now_ns=now_ns)
            hands[at].append(image_id)
            captures[at].append(image_id)
        elif what == "infer" and hands[at]:
            infer(at, [hands[at].pop(0)])
        elif what == "state" and not hands[at]:
            place.say(facts(), (), now_ns)
        elif what == "die":
            workers[at].die(now_ns)
            place.failed = 0  # given up in another test
    for _ in range(300):
        now_ns += 50 * MS
        for at, worker in enumerate(workers):
            if not worker.place.up:
                bring_back(at)
            infer(at, hands[at])
            hands[at].clear()
            worker.place.say(facts(), (), now_ns)
            if queues[at]:
                image_id = queues[at].pop(0)
                worker.take(image_id, now_ns=now_ns)
                hands[at].append(image_id)
                captures[at].append(image_id)
        if not any(queues):
            workers[1].end(now_ns=now_ns)
        source.advance(now_ns)
        if not any(hands):  # a worker finishes what it has in hand first
            obey(workers, now_ns)
    (ended,) = fake.ended
    assert sorted(fake.results) == list(range(images))
    assert (ended.verdict, ended.reason, ended.arrivals["duplicate"]) == ("complete", "end", 0)
    assert ended.account["received"] == ended.account["published"] == images


def test_why_results_are_untrained_is_told_of_all_workers():
    source, fake, (one, two) = merged(2)
    one.start(2)
    for worker, image_id in ((one, 0), (two, 1)):
        worker.take(image_id)
        worker.accounts["uid"].publish(1000)
        made = msgspec.structs.replace(result(image_id), untrained=("far", f"of image {image_id}"))
        source.results(worker.place, "check", [words.Made(0, made, [])], 5)
    one.end()
    obey([one, two])
    assert fake.ended[0].untrained == ("far", "of image 0", "of image 1")
