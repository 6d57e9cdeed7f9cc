from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.ledger import lifecycle
from streams.ledger.intervals import spread
from streams.ledger.lifecycle import TRANSITIONS, Arrival, CloseReason, Event, State
from streams.ledger.reconciling import Reconciled
from streams.ledger.series import EARLY_IDS, MAX_CHANNELS, MAX_IMAGE_ID, Series
from streams.ledger.shares import Share
from streams.messages import Absent, Compression, Frame, SeriesStart

GRACE, IDLE = 10, 100


def start(expected: int | None = 4, channels: tuple[str, ...] = ("a",), uid: str = "u") -> SeriesStart:
    return SeriesStart("det", uid, 7, expected, channels)


def frame(image_id: int, channel: str = "a", uid: str = "u") -> Frame:
    return Frame("det", uid, 7, image_id, channel, (1, 1), "<u2", Compression.NONE, b"\0\0")


def opened(expected: int | None = 4, channels: tuple[str, ...] = ("a",)) -> Series:
    return Series(start(expected, channels), announced=True, now_ns=0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30))))
def test_images_whatever_their_channel(taken):
    series = opened(31, ("a", "b"))
    for channel, image_id in taken:
        series.take(frame(image_id, channel), 0)
    images = {image_id for _, image_id in taken}
    assert {image_id for image_id in range(31) if series.has_any(image_id)} == images
    assert series.images_received() == len(images)


@pytest.mark.parametrize(
    ("events", "state", "reason"),
    [
        ([0, 1, 2, 3], State.OPEN, None),
        ([0, 1, 2, 3, "end"], State.CLOSED, CloseReason.END),
        ([0, 1, "end"], State.ENDING, None),
        ([0, 1, "end", 3, 2], State.CLOSED, CloseReason.END),
        ([0, 1, "end", ("time", GRACE)], State.CLOSED, CloseReason.GRACE_OVER),
        ([0, 1, "end", ("time", GRACE - 1)], State.ENDING, None),
        ([0, ("time", IDLE - 1)], State.OPEN, None),
        ([0, ("time", IDLE)], State.CLOSED, CloseReason.IDLE),
        ([0, "superseded"], State.CLOSED, CloseReason.SUPERSEDED),
        ([0, "end", "superseded"], State.CLOSED, CloseReason.GRACE_OVER),
        ([0, "superseded", "end"], State.CLOSED, CloseReason.SUPERSEDED),
        ([0, "shutdown", ("time", IDLE)], State.CLOSED, CloseReason.SHUTDOWN),
    ],
)
def test_state_table(events, state, reason):
    series = opened()
    for event in events:
        if isinstance(event, int):
            series.take(frame(event), 0)
        elif event == "end":
            series.end(0)
        elif event == "superseded":
            series.supersede()
        elif event == "shutdown":
            series.shut_down()
        else:
            series.advance(event[1], grace_ns=GRACE, idle_ns=IDLE)
    assert (series.state, series.close_reason) == (state, reason)


def test_arrivals_are_judged_by_absolute_id():
    series = opened()
    taken = [series.take(frame(i), 0) for i in (2, 0, 2, 4, -1)]
    assert taken == [Arrival.NEW, Arrival.NEW, Arrival.DUPLICATE, Arrival.UNEXPECTED, Arrival.REFUSED]
    series.end(0)
    series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    assert series.take(frame(1), 0) is Arrival.LATE
    counts = series.counts()
    assert (counts.expected, counts.received, counts.missing, counts.awaited) == (4, 2, 2, 0)
    assert (counts.duplicate, counts.late, counts.unexpected, counts.refused) == (1, 1, 1, 1)
    assert series.missing_ids() == {"a": [(1, 2), (3, 4)]}


def test_an_unannounced_channel_is_unexpected():
    assert opened().take(frame(0, "b"), 0) is Arrival.UNEXPECTED


def test_channels_count_separately():
    series = opened(2, ("a", "b"))
    for channel, image_id in (("a", 0), ("b", 0), ("a", 1)):
        assert series.take(frame(image_id, channel), 0) is Arrival.NEW
    assert (series.counts().expected, series.counts().awaited) == (4, 1)


def test_without_a_number_only_holes_are_missing():
    series = opened(None, ())
    for image_id in (0, 1, 4):
        series.take(frame(image_id), 0)
    series.end(0)
    assert series.state is State.ENDING
    series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    counts = series.counts()
    assert (counts.expected, counts.received, counts.missing) == (None, 3, 2)


@given(st.integers(0, 12), st.lists(st.integers(-1, 14), max_size=40), st.booleans())
def test_expected_is_always_received_missing_and_awaited(expected, ids, ends):
    series = opened(expected)
    for image_id in ids:
        series.take(frame(image_id), 0)
        counts = series.counts()
        assert counts.expected == counts.received + counts.missing + counts.awaited
    if ends:
        series.end(0)
        series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    counts = series.counts()
    assert counts.expected == counts.received + counts.missing + counts.awaited
    assert counts.received == len({i for i in ids if 0 <= i < expected})
    assert not ends or counts.awaited == 0


def test_an_impossible_number_of_images_is_no_number():
    series = opened(2**63 - 1, ("a", "b", "c"))
    assert series.counts().expected is None
    assert opened(MAX_IMAGE_ID).counts().expected == MAX_IMAGE_ID


def test_a_source_we_do_not_read_is_neither_idle_nor_late():
    series = opened()
    series.touch(IDLE)
    series.advance(IDLE + 1, grace_ns=GRACE, idle_ns=IDLE)
    assert series.state is State.OPEN
    series.end(IDLE)
    series.touch(IDLE + GRACE)
    series.advance(IDLE + GRACE + 1, grace_ns=GRACE, idle_ns=IDLE)
    assert series.state is State.ENDING


def test_channels_of_an_unannounced_series_are_bounded():
    series = Series(SeriesStart("det", "u", 7, None, ()), announced=False, now_ns=0)
    arrivals = [series.take(frame(0, str(number)), 0) for number in range(MAX_CHANNELS + 1)]
    assert arrivals == [Arrival.NEW] * MAX_CHANNELS + [Arrival.REFUSED]


def test_every_second_image_of_an_endless_series_is_taken_in_bounded_memory(monkeypatch):
    """Another consumer gets the rest: nothing is refused, and the oldest holes become missing for good."""
    monkeypatch.setattr("streams.ledger.series.MAX_RUNS", 100)
    series = opened(None)
    for number in range(1000):
        assert series.take(frame(2 * number), 0) is Arrival.NEW
        counts = series.counts()
        assert counts.received + counts.missing + counts.awaited == 2 * number + 1
    assert (counts.received, counts.missing, counts.awaited) == (1000, 900, 99)
    assert series.take(frame(1), 0) is Arrival.LATE
    assert series.take(frame(1997), 0) is Arrival.NEW
    assert series.take(frame(1996), 0) is Arrival.DUPLICATE


def in_state(state: State, received: int = 2) -> Series:
    """Of four images announced; what is awaited is left to the event."""
    series = opened()
    for image_id in range(received):
        series.take(frame(image_id), 0)
    if state is not State.OPEN:
        series.end(0)
    if state is State.CLOSED:
        series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    assert series.state is state
    return series


def happen(series: Series, event: Event) -> None:
    """Let it come about as it does in life."""
    match event:
        case Event.END:
            series.end(1)
        case Event.END_ALL_IN:
            series._images = series.counts().received  # so that nothing is awaited
            series.end(1)
        case Event.ALL_IN:
            for image_id in (2, 3):
                series.take(frame(image_id), 1)
        case Event.GRACE_OVER:
            series.advance(GRACE + 1, grace_ns=GRACE, idle_ns=IDLE)
        case Event.IDLE:
            series.advance(IDLE, grace_ns=2 * IDLE, idle_ns=IDLE)
        case Event.SUPERSEDED:
            series.supersede()
        case Event.SHUTDOWN:
            series.shut_down()


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_cell_of_the_table(state, event):
    series = in_state(state)
    before = series.close_reason
    happen(series, event)
    following, reason = TRANSITIONS[state, event]
    assert (series.state, series.close_reason) == (following, reason or before)


def test_the_table_is_the_documented_one():
    lines = map(str.strip, lifecycle.__doc__.splitlines())
    rows = [line.split() for line in lines if line.startswith(("OPEN ", "ENDING "))]
    told = {
        (State[row[0]], Event[row[1]]): (State[row[2]], CloseReason(row[3]) if row[2] == "CLOSED" else None)
        for row in rows
    }
    assert {cell: to for cell, to in TRANSITIONS.items() if cell[0] is not State.CLOSED} == told
    assert set(TRANSITIONS) == set(product(State, Event))
    assert all(TRANSITIONS[State.CLOSED, event] == (State.CLOSED, None) for event in Event)


def pulses(first: int, expected: int | None = None) -> Series:
    start_message = SeriesStart("det", "u", 7, expected, ("a",), first_image=first)
    return Series(start_message, announced=True, now_ns=0)


def test_ids_are_counted_from_the_first_image():
    series = pulses(10**10)
    for image_id in (0, 1, 4):
        assert series.take(frame(10**10 + image_id), 0) is Arrival.NEW
    series.advance(IDLE, grace_ns=GRACE, idle_ns=IDLE)
    assert (series.counts().received, series.counts().missing) == (3, 2)
    assert series.missing_ids() == {"a": [(10**10 + 2, 10**10 + 4)]}


def test_an_image_that_the_first_one_overtook_belongs_to_a_series_without_a_number():
    series = pulses(5000)
    taken = [series.take(frame(image_id), 0) for image_id in (5000, 4998, 4998, 5000 - EARLY_IDS - 3)]
    assert taken == [Arrival.NEW, Arrival.NEW, Arrival.DUPLICATE, Arrival.UNEXPECTED]
    assert series.first_image == 4998
    assert series.counts().awaited == 1  # 4999


def test_an_announced_range_is_kept():
    series = pulses(100, expected=3)
    taken = [series.take(frame(image_id), 0) for image_id in (99, 100, 102, 103)]
    assert taken == [Arrival.UNEXPECTED, Arrival.NEW, Arrival.NEW, Arrival.UNEXPECTED]
    series.end(0)
    series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    assert series.missing_ids() == {"a": [(101, 102)]}
    assert (series.counts().expected, series.counts().missing) == (3, 1)


def test_a_controller_tells_the_number_of_a_stream_without_one():
    series = pulses(100)
    for image_id in (100, 101):
        series.take(frame(image_id), 0)
    assert not series.triggered(1)
    assert series.triggered(4)
    assert (series.counts().expected, series.counts().awaited) == (4, 2)


def test_a_share_claims_nothing_and_tells_its_ids():
    series = Series(start(9), announced=True, now_ns=0, share=Share(1, 3))
    for image_id in (0, 3, 6):
        assert series.take(frame(image_id), 0) is Arrival.NEW
    assert series.take(frame(9), 0) is Arrival.UNEXPECTED
    series.end(0)
    series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    counts = series.counts()
    assert (series.close_reason, counts.expected, counts.missing, counts.awaited) == (CloseReason.END, None, 0, 0)
    assert (series.missing_ids(), series.suspicion()) == ({}, None)
    assert series.intervals() == {"a": [(0, 1, 3, 3)]}


def test_ids_that_are_too_many_to_tell_are_not_told_in_part(monkeypatch):
    monkeypatch.setattr("streams.ledger.series.MAX_BLOCKS", 3)
    series = Series(start(None), announced=True, now_ns=0, share=Share(1, 2))
    for image_id in (0, 2, 3, 4, 9, 20, 21):
        series.take(frame(image_id), 0)
    assert series.intervals() == {}


def test_what_the_detector_dropped_explains_what_is_missing():
    series = opened(5)
    assert series.reconciled() is None
    for image_id in (0, 2):
        series.take(frame(image_id), 0)
    series.shut_down()
    series.detector_dropped(1)
    assert series.reconciled() == Reconciled(explained=1, lost=2, beyond=0)


def test_an_exposure_is_dropped_with_all_its_channels():
    series = opened(3, ("a", "b"))
    for image_id, channel in ((0, "a"), (0, "b"), (1, "a")):
        series.take(frame(image_id, channel), 0)
    series.detector_dropped(1)
    assert series.reconciled() == Reconciled(explained=1, lost=0, beyond=0)


def test_an_image_that_comes_again_when_its_series_is_closed_is_no_loss():
    series = opened(2)
    for image_id in (0, 1):
        series.take(frame(image_id), 0)
    series.end(0)
    assert [series.take(frame(image_id, channel), 0) for image_id, channel in ((1, "a"), (2, "a"), (0, "b"))] == [
        Arrival.DUPLICATE, Arrival.LATE, Arrival.LATE,
    ]  # fmt: skip


@pytest.mark.parametrize("share", [None, Share(1, 2)])
def test_where_nobody_said_how_many_the_end_waits_for_what_it_overtook(share):
    series = Series(start(None if share is None else 8), announced=True, now_ns=0, share=share)
    series.take(frame(0), 0)
    series.end(0)
    assert series.state is State.ENDING
    assert series.take(frame(1), GRACE - 1) is Arrival.NEW
    assert series.state is State.ENDING
    series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    assert (series.state, series.close_reason) == (State.CLOSED, CloseReason.END)


@pytest.mark.parametrize(("ids", "reason"), [((0, 1), CloseReason.END), ((0, 2), CloseReason.GRACE_OVER)])
def test_the_next_start_ends_the_wait(ids, reason):
    series = opened(None)
    for image_id in ids:
        series.take(frame(image_id), 0)
    series.end(0)
    series.supersede()
    assert series.close_reason is reason


def test_a_stream_of_duplicates_is_not_idle():
    series = opened()
    series.take(frame(0), 0)
    for now in range(0, 3 * IDLE, IDLE // 2):
        assert series.take(frame(0), now) is Arrival.DUPLICATE
        series.advance(now + 1, grace_ns=GRACE, idle_ns=IDLE)
    assert series.state is State.OPEN


class Ledger(RuleBasedStateMachine):
    """Whatever comes, in whatever order: compared with plain sets, the equation holds after every step."""

    @initialize(
        expected=st.none() | st.integers(0, 12), first=st.sampled_from([0, 50]), announced=st.booleans(),
        channels=st.sampled_from([(), ("a",), ("a", "b")]),
    )  # fmt: skip
    def begin(self, expected, first, announced, channels):
        if not announced:
            expected, first, channels = None, 0, ()
        start_message = SeriesStart("det", "u", 7, expected, channels, first_image=first)
        self.series = Series(start_message, announced=announced, now_ns=0)
        self.base, self.now, self.got, self.was = first, 0, set(), None
        self.absent, self.disbelieved = set(), set()

    @rule(offset=st.integers(-3, 15), channel=st.sampled_from("abc"))
    def frame(self, offset, channel):
        known = (channel, self.base + offset)
        closed = self.series.state is State.CLOSED
        arrival = self.series.take(frame(self.base + offset, channel), self.now)
        assert not closed or arrival in (Arrival.LATE, Arrival.DUPLICATE)
        assert (arrival is Arrival.DUPLICATE) == (known in self.got)
        if arrival is Arrival.NEW:
            self.got.add(known)
            if known in self.absent:
                self.disbelieve(channel)

    def disbelieve(self, channel):
        self.disbelieved.add(channel)
        self.absent = {known for known in self.absent if known[0] != channel}

    @rule(offset=st.integers(-3, 15), channel=st.sampled_from("abc"), count=st.integers(1, 4))
    def no_image(self, offset, channel, count):
        series, images = self.series, self.series.counts().images
        before = series.counts()
        series.absent(Absent("det", "u", 7, self.base + offset, channel, count))
        ids = range(max(self.base + offset, 0), self.base + offset + count)
        if images is not None:
            ids = [image_id for image_id in ids if series.first_image <= image_id < series.first_image + images]
        told = {(channel, image_id) for image_id in ids}
        if self.was is not None or channel not in series.channels or channel in self.disbelieved or told <= self.absent:
            assert series.counts() == before
        elif told & self.got:
            self.disbelieve(channel)
        else:
            self.absent |= told

    @rule(images=st.integers(-1, 15))
    def triggered(self, images):
        before = self.series.counts()
        if self.series.triggered(images):
            assert self.series.counts().images == images
        else:
            assert self.series.counts() == before

    @rule(expected=st.none() | st.integers(0, 12))
    def late_start(self, expected):
        if not self.series.announced and self.series.state is not State.CLOSED:
            self.series.announce(start(expected, ("a",)))

    @rule()
    def end(self):
        self.series.end(self.now)

    @rule(after=st.sampled_from([1, GRACE, IDLE]))
    def time(self, after):
        self.now += after
        self.series.advance(self.now, grace_ns=GRACE, idle_ns=IDLE)

    @rule(how=st.sampled_from(["supersede", "shut_down"]))
    @precondition(lambda self: self.now > 2 * IDLE)
    def stop(self, how):
        getattr(self.series, how)()

    @invariant()
    def holds(self):
        counts = self.series.counts()
        assert counts.received == len(self.got)
        assert min(counts.missing, counts.awaited) >= 0
        if counts.expected is not None:
            assert counts.expected == counts.received + counts.missing + counts.awaited + counts.absent
            assert counts.expected == counts.images * (len(self.series.channels) or 1)
        holes = {
            (channel, image_id)
            for channel, runs in self.series.missing_ids(None).items()
            for begin, stop in runs
            for image_id in range(begin, stop)
        }
        if self.series.channels:
            assert len(holes) == counts.missing + counts.awaited
        assert not holes & (self.absent | self.got)
        told = {
            (channel, image_id)
            for channel, runs in self.series.absent_ids().items()
            for begin, stop in spread(runs, 100)
            for image_id in range(begin, stop)
        }
        assert told == self.absent
        assert counts.absent == sum(map(self.is_counted, told))
        if self.series.state is State.CLOSED:
            assert counts.awaited == 0 and self.series.close_reason is not None
            if self.was is not None:  # only what comes late, or again, is still counted
                again = {"late": counts.late, "duplicate": counts.duplicate}
                assert counts == msgspec.structs.replace(self.was, **again)
            self.was = counts
        for channel, intervals in self.series.intervals().items():
            told = {image_id for begin, stop in spread(intervals, 100) for image_id in range(begin, stop)}
            assert told == {image_id for name, image_id in self.got if name == channel}

    def is_counted(self, known):
        """Whether images are waited for up to there."""
        first, images = self.series.first_image, self.series.counts().images
        last = [image_id for channel, image_id in self.got if channel == known[0]]
        stop = max(last, default=first - 1) + 1 if images is None else first + images
        return first <= known[1] < stop


TestLedger = Ledger.TestCase
