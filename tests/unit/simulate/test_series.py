"""What leaves of a series, when, and what does not. The clock is the test's."""

import numpy as np
import pytest

from edge.simulate.faults import Orders
from edge.simulate.halt import Halt
from edge.simulate.series import Plan, open_series
from streams.messages import Acquisition, CodecError, Frame, SeriesEnd, SeriesStart
from tests.decoded import pixels
from tests.unit.simulate.worlds import SHAPE, Receiver, surroundings


def plan(images=3, **changes):
    acquisition = Acquisition(
        7, "uid", "2026-01-02T03:04:05Z", 2 * images, SHAPE, "uint16", frame_time_s=0.1, triggers=2
    )
    fields = {
        "protocol": "stream-v2", "acquisition": acquisition, "count_time_s": 0.08,
        "streamed": True, "file_name": None, "images_per_file": 1000, "number": 0,
    }  # fmt: skip
    return Plan(**{**fields, **changes})


class Clock(Halt):
    """Time passes only where an exposure waits; `at` maps a time to what happens then."""

    def __init__(self, at=None):
        self.now, self.at = 50.0, dict(at or {})
        self.waited = []
        self.stopped = self.after_frame = False

    def __call__(self):
        return self.now

    def stop(self):
        self.stopped = True

    def wait_until(self, due):
        for moment in sorted(self.at):
            if moment <= due:
                self.at.pop(moment)(self)
                if self.stopped:
                    self.now = moment
                    return True
        self.now = max(self.now, due)
        self.waited.append(round(self.now - 50.0, 6))
        return False


def run(clock, orders=None, around=None, **changes):
    """One trigger: the receiver, the series, and whether it was complete."""
    around = around or surroundings(clock=clock)
    series = open_series(plan(**changes), around)
    complete = series.expose(orders or Orders(), clock)
    return around.socket, series, complete


def frames(receiver):
    return [message for message in receiver.decoded() if isinstance(message, Frame)]


def test_start_images_as_triggered_and_end():
    clock = Clock()
    receiver, series, complete = run(clock)
    assert complete
    assert series.expose(Orders(), clock)
    series.end()
    start, *between, end = receiver.decoded()
    assert isinstance(start, SeriesStart) and isinstance(end, SeriesEnd)
    assert (start.series_id, start.expected, start.series_uid) == (7, 6, end.series_uid)
    assert [frame.image_id for frame in between] == [0, 1, 2, 3, 4, 5]
    assert (series.tally.triggers, series.tally.images, series.tally.dropped) == (2, 6, 0)


def test_an_image_is_made_in_the_middle_of_its_exposure_and_sent_after_its_frame_time():
    clock, sent = Clock(), []

    class Timed(Receiver):
        def send(self, parts, timeout_ms=0):
            sent.append(round(clock() - 50.0, 6))
            return super().send(parts)

    run(clock, around=surroundings(Timed(), clock=clock))
    assert clock.waited == pytest.approx([0.04, 0.1, 0.14, 0.2, 0.24, 0.3])
    assert sent == pytest.approx([0.0, 0.1, 0.2, 0.3])  # the start message, then the images


def test_images_show_the_place_and_the_beam_of_their_moment():
    def render(x, y, exposure_s, beam, rng):
        assert exposure_s == 0.08
        return np.full(SHAPE, round(1000 * x) + round(10 * beam), np.uint16)

    clock = Clock()
    around = surroundings(render=render, clock=clock, positions=True)
    around.beamline.move("x", 0.2, 50.0)
    clock.at[50.12] = lambda _: around.beamline.set_beam(0.5, 50.12)
    receiver, _, _ = run(clock, around=around)
    seen = frames(receiver)
    assert [int(pixels(frame)[0, 0]) for frame in seen] == [40 + 10, 140 + 5, 200 + 5]
    assert [frame.user_data["position"]["x"] for frame in seen] == pytest.approx([0.04, 0.14, 0.2])


def test_positions_are_sent_only_when_asked_for():
    receiver, _, _ = run(Clock())
    assert [frame.user_data for frame in frames(receiver)] == [None] * 3


def test_faults():
    clock = Clock()
    orders = Orders(lose=[1], corrupt=[2], short_triggers=[0])
    receiver, series, complete = run(clock, orders)
    assert complete and series.tally.images == 2  # the trigger was one short; image 1 was exposed and lost
    assert series.expose(orders, clock)
    assert series.tally.images == 5
    assert len(receiver.messages) == 1 + 4
    decoded = []
    for parts in receiver.messages:
        one = Receiver()
        one.messages = [parts]
        try:
            decoded += one.decoded()
        except CodecError:
            decoded.append("corrupt")
    assert decoded[2] == "corrupt"
    assert [frame.image_id for frame in decoded if isinstance(frame, Frame)] == [0, 3, 4]


def ended(orders, images=20):
    """What a receiver got of a series of one trigger, with its end."""
    clock = Clock()
    around = surroundings(clock=clock)
    series = open_series(plan(images=images), around, orders)
    assert series.expose(orders, clock)
    series.end()
    return around.socket, series


def test_faults_of_the_stream_by_chance():
    receiver, series = ended(Orders(stream=["drop=0.3", "duplicate=0.3", "no-start"], seed=3))
    got = [message.image_id for message in receiver.decoded() if isinstance(message, Frame)]
    assert not any(isinstance(message, SeriesStart) for message in receiver.decoded())
    assert len(set(got)) < 20 and len(got) > len(set(got))
    assert (series.tally.images, series.tally.dropped) == (20, 0)
    again, _ = ended(Orders(stream=["drop=0.3", "duplicate=0.3", "no-start"], seed=3))
    assert [len(parts) for parts in again.messages] == [len(parts) for parts in receiver.messages]


def test_what_a_fault_holds_back_leaves_before_the_end():
    receiver, _ = ended(Orders(stream=["reorder=0.5"]))
    *images, end = receiver.decoded()[1:]
    assert isinstance(end, SeriesEnd)
    ids = [frame.image_id for frame in images]
    assert ids != sorted(ids) and sorted(ids) == list(range(20))


def test_pixels_are_changed_and_headers_are_not():
    receiver, _ = ended(Orders(stream=["corrupt=1"]))
    healthy, _ = ended(Orders())
    changed = [message for message in receiver.decoded() if isinstance(message, Frame)]
    meant = [message for message in healthy.decoded() if isinstance(message, Frame)]
    assert [frame.image_id for frame in changed] == [frame.image_id for frame in meant]
    assert all(bytes(a.blob) != bytes(b.blob) for a, b in zip(changed, meant, strict=True))


def test_orders_may_be_replaced_between_triggers():
    clock = Clock()
    around = surroundings(clock=clock)
    series = open_series(plan(), around, Orders(stream=["drop=1"]))
    series.expose(Orders(stream=["drop=1"]), clock)
    series.expose(Orders(), clock)
    assert [frame.image_id for frame in frames(around.socket)] == [3, 4, 5]


def test_a_short_trigger_of_one_image_exposes_none():
    _, series, complete = run(Clock(), Orders(short_triggers=[0]), images=1)
    assert complete and (series.tally.triggers, series.tally.images) == (1, 0)


@pytest.mark.parametrize(("moment", "images"), [(50.02, 0), (50.07, 0), (50.11, 1), (50.29, 2)])
def test_a_stop_loses_the_frame_being_exposed(moment, images):
    clock = Clock({moment: Clock.stop})
    receiver, series, complete = run(clock)
    assert not complete and clock.now == moment
    assert series.tally.images == len(frames(receiver)) == images


@pytest.mark.parametrize(("moment", "images"), [(50.02, 1), (50.11, 2)])
def test_a_cancel_finishes_it(moment, images):
    clock = Clock({moment: Halt.finish_frame})
    _, series, complete = run(clock)
    assert not complete and series.tally.images == images


def test_what_nobody_takes_is_dropped_and_counted():
    clock = Clock()
    _, series, complete = run(clock, around=surroundings(Receiver(refuses=True), clock=clock))
    series.end()
    assert complete and (series.tally.images, series.tally.dropped) == (3, 3)


class Stalling(Receiver):
    """Takes so many messages and then no more; remembers for how long it was asked to wait."""

    def __init__(self, takes):
        super().__init__()
        self.takes, self.patience = takes, []

    def send(self, parts, timeout_ms=0):
        self.patience.append(timeout_ms)
        self.refuses = len(self.messages) == self.takes
        return super().send(parts)


@pytest.mark.parametrize(("takes", "patience"), [(0, [500, 0, 0, 0, 0]), (2, [500, 0, 0, 0, 5000])])
def test_only_the_start_and_an_end_that_somebody_waits_for_are_worth_waiting(takes, patience):
    clock, receiver = Clock(), Stalling(takes)
    _, series, _ = run(clock, around=surroundings(receiver, clock=clock))
    series.end()
    assert receiver.patience == patience


def test_a_disabled_stream_sends_nothing_and_drops_nothing():
    receiver, series, _ = run(Clock(), streamed=False)
    series.end()
    assert receiver.messages == [] and (series.tally.images, series.tally.dropped) == (3, 0)


def test_the_same_commands_give_the_same_noise_whatever_was_sent_before():
    def images(orders, number=0):
        receiver, _, _ = run(Clock(), orders, number=number)
        return {frame.image_id: pixels(frame) for frame in frames(receiver)}

    first, second, later = images(Orders()), images(Orders(lose=[0])), images(Orders(), number=1)
    np.testing.assert_array_equal(first[2], second[2])
    assert not np.array_equal(first[1], first[2]) and not np.array_equal(first[2], later[2])


def test_a_slow_scene_delays_and_loses_nothing():
    clock = Clock()

    def render(x, y, exposure_s, beam, rng):
        clock.now += 0.25
        return np.zeros(SHAPE, np.uint16)

    receiver, series, complete = run(clock, around=surroundings(render=render, clock=clock))
    assert complete and series.tally.images == len(frames(receiver)) == 3


def test_a_full_disk_ends_the_files_and_not_the_series(tmp_path, monkeypatch):
    def full(self, image):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.simulate.writer.SeriesWriter.append", full)
    clock = Clock()
    around = surroundings(clock=clock, folder=tmp_path)
    receiver, series, complete = run(clock, around=around, file_name="s")
    series.end()
    assert complete and len(frames(receiver)) == 3
    assert "No space left" in series.tally.file_error and series.writer is None
