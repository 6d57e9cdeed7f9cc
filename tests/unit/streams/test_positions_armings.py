"""Which arming of the box belongs to which series: every line of the table, and never a wrong position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ledger.series import Series
from streams.messages import Compression, Frame, SeriesStart
from streams.positions.armings import ArmingBook
from streams.positions.headers import AWAITED, AxisOf, Known, Missing, Verdict, Why
from streams.positions.samples import Armed, Disarmed, PositionJoiner, Samples

IMAGES = 4


class Line:
    """A detector and a box as they are heard; sample `n` of arming `a` is at x = 1000 a + n."""

    def __init__(self) -> None:
        self.book = ArmingBook(lambda: PositionJoiner([AxisOf("x", ("/X",))]))
        self.series: dict[int, Series] = {}
        self.arming = self.number = self.sample = 0

    def opens(self, number: int, announced: bool = True, images: int | None = IMAGES) -> None:
        for series in self.series.values():
            if announced:
                series.supersede()
        start = SeriesStart("det", str(number), number, images, ("image",))
        self.series[number] = Series(start, announced=announced, now_ns=0)
        self.book.opened(self.series[number])

    def images(self, number: int, *ids: int) -> None:
        for image_id in ids:
            frame = Frame("det", str(number), number, image_id, "image", (1, 1), "|u1", Compression.NONE, b"\0")
            self.series[number].take(frame, 0)

    def ends(self, number: int) -> None:
        self.series[number].end(0)

    def arms(self) -> None:
        self.arming += 1
        self.number = self.sample = 0
        assert self.book.enter(Armed())

    def samples(self, count: int) -> bool:
        values = 1000.0 * self.arming + np.arange(self.sample, self.sample + count)
        message = Samples(self.number, {"/X": (self.sample, values)})
        self.number += 1
        self.sample += count
        return self.book.enter(message)

    def disarms(self) -> None:
        self.book.enter(Disarmed(self.number))

    def at(self, number: int, image_id: int = 0) -> Verdict:
        return self.book.position(str(number), image_id)


def x(arming: int, sample: int) -> Known:
    return Known({"x": 1000.0 * arming + sample})


@pytest.mark.parametrize("order", ["detector first", "box first"])
def test_armed_in_either_order_before_the_first_image(order):
    line = Line()
    for number in (1, 2):
        steps = [lambda number=number: line.opens(number), line.arms]
        for step in steps if order == "detector first" else reversed(steps):
            step()
            line.book.quiet()
        assert not line.book.asks
        line.samples(2)
        line.images(number, 0, 1, 2, 3)
        line.samples(2)
        assert [line.at(number, at) for at in range(IMAGES)] == [x(number, at) for at in range(IMAGES)]
        line.disarms()
        line.ends(number)
    assert line.at(1, 3) == x(1, 3)
    line.book.forget("1")
    assert line.at(1, 3) == Missing(Why.UNANNOUNCED)


def armed(line: Line, number: int) -> None:
    """The detector and the box are ready for series `number`."""
    line.opens(number)
    line.arms()
    assert line.book.asks
    line.book.quiet()


def test_positions_behind_the_images():
    line = Line()
    armed(line, 1)
    line.images(1, 0, 1, 2, 3)
    assert line.at(1, 1) == AWAITED
    line.ends(1)
    line.samples(3)
    assert line.at(1, 1) == x(1, 1)
    line.disarms()
    assert line.at(1, 3) == Missing(Why.STOPPED)


def test_a_series_without_the_box():
    line = Line()
    line.opens(1)
    line.book.quiet()
    line.images(1, 0)
    assert line.at(1, 0) == Missing(Why.NOT_ARMED)


def test_a_box_that_starts_when_images_have_come_tells_nothing():
    line = Line()
    line.opens(1)
    line.images(1, 0)
    line.arms()
    assert not line.book.asks
    line.book.quiet()
    line.samples(2)
    assert line.at(1, 0) == line.at(1, 1) == Missing(Why.LATE_START)
    line.opens(2)
    line.book.quiet()
    assert line.at(2, 0) == Missing(Why.NOT_ARMED)


def test_no_quiet_moment_between_the_starts_and_the_first_image():
    line = Line()
    line.opens(1)
    line.arms()
    line.images(1, 0)
    line.book.quiet()
    line.samples(1)
    assert line.at(1, 0) == Missing(Why.NOT_ARMED)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_box_armed_anew_in_the_middle_of_a_series(stopped):
    line = Line()
    armed(line, 1)
    line.samples(2)
    line.images(1, 0, 1)
    if stopped:
        line.disarms()
    line.arms()
    line.book.quiet()
    line.samples(2)
    assert line.at(1, 1) == x(1, 1)
    assert line.at(1, 2) == Missing(Why.STOPPED if stopped else Why.RESTARTED)
    line.images(1, 2, 3)
    line.ends(1)
    line.book.quiet()
    line.opens(2)
    line.book.quiet()
    assert line.at(2, 0) == Missing(Why.NOT_ARMED)
    line.arms()
    line.book.quiet()
    line.samples(1)
    assert line.at(2, 0) == x(3, 0)


def test_a_box_armed_anew_whose_start_was_lost():
    line = Line()
    armed(line, 1)
    line.samples(2)
    line.number = line.sample = 0
    assert not line.samples(1)
    assert line.at(1, 1) == x(1, 1)
    assert line.at(1, 2) == Missing(Why.RESTARTED)
    assert not line.samples(5)
    assert line.at(1, 2) == Missing(Why.RESTARTED)


def test_a_box_armed_twice_before_its_first_sample():
    line = Line()
    armed(line, 1)
    line.disarms()
    line.arms()
    line.book.quiet()
    line.samples(1)
    assert line.at(1, 0) == x(2, 0)


def test_a_box_that_is_disarmed_is_nobodys():
    line = Line()
    line.arms()
    line.disarms()
    line.opens(1)
    assert not line.book.asks
    line.book.quiet()
    assert line.at(1, 0) == Missing(Why.NOT_ARMED)


def test_samples_before_the_series_are_not_of_it():
    line = Line()
    line.arms()
    line.samples(4)
    line.opens(1)
    line.book.quiet()
    assert line.at(1, 0) == Missing(Why.NOT_ARMED)
    line.arms()
    line.book.quiet()
    line.samples(1)
    assert line.at(1, 0) == x(2, 0)


def test_a_series_whose_start_was_missed_takes_no_arming_from_the_next():
    line = Line()
    line.arms()
    line.opens(1, announced=False)
    line.book.quiet()
    line.images(1, 0)
    assert line.at(1, 0) == Missing(Why.UNANNOUNCED)
    line.opens(2)
    line.book.quiet()
    line.samples(1)
    assert line.at(2, 0) == x(1, 0)
    assert line.at(1, 0) == Missing(Why.UNANNOUNCED)


def test_a_series_announced_after_its_first_images_has_had_its_chance():
    line = Line()
    line.arms()
    line.opens(1, announced=False)
    line.images(1, 0)
    series = line.series[1]
    series.announce(SeriesStart("det", "1", 1, IMAGES, ("image",)))
    line.book.opened(series)
    line.book.quiet()
    line.samples(1)
    assert line.at(1, 0) == Missing(Why.NOT_ARMED)


def test_a_detector_armed_anew_while_the_box_goes_on():
    line = Line()
    armed(line, 1)
    line.samples(3)
    line.opens(2)
    line.book.quiet()
    line.samples(3)
    assert line.at(1, 2) == x(1, 2)
    assert line.at(2, 0) == Missing(Why.NOT_ARMED)


def test_an_arming_that_a_series_has_is_not_given_to_the_next():
    line = Line()
    armed(line, 1)
    line.opens(2)
    line.book.quiet()
    line.samples(1)
    assert line.at(2, 0) == Missing(Why.NOT_ARMED)


def test_messages_of_an_arming_whose_start_was_missed_are_nobodys():
    line = Line()
    line.opens(1)
    assert not line.samples(1)
    line.disarms()
    line.book.quiet()
    assert line.at(1, 0) == Missing(Why.NOT_ARMED)


@given(
    lag=st.lists(st.integers(0, 6), min_size=40, max_size=40),
    samples=st.lists(st.integers(0, IMAGES), min_size=4, max_size=4),
    restart=st.lists(st.booleans(), min_size=4, max_size=4),
    early=st.lists(st.booleans(), min_size=4, max_size=4),
    dark=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_however_late_the_detector_is_read_no_position_is_wrong(lag, samples, restart, early, dark):
    """Four series; the box loses its last samples, is armed anew or not at all in some. The detector is read late."""
    line = Line()
    truth: dict[tuple[int, int], int] = {}  # series, image: the arming whose sample of that number is of the image
    queue: list = []
    lags = iter(lag)

    def catch_up() -> None:
        behind = next(lags, 0)
        while len(queue) > behind:
            queue.pop(0)()
        if not queue:
            line.book.quiet()

    for number in (1, 2, 3, 4):
        used = not dark[number - 1]
        if used and early[number - 1]:
            line.arms()
            catch_up()
        queue.append(lambda number=number: line.opens(number))
        catch_up()
        if used and not early[number - 1]:
            line.arms()
        catch_up()
        for image in range(IMAGES):
            if restart[number - 1] and image == 2:
                line.arms()
            if used and image < samples[number - 1]:
                if line.sample == image:
                    truth[number, image] = line.arming
                line.samples(1)
            queue.append(lambda number=number, image=image: line.images(number, image))
            catch_up()
        if used:
            line.disarms()
        queue.append(lambda number=number: line.ends(number))
        catch_up()
    while queue:
        queue.pop(0)()
    for number in (1, 2, 3, 4):
        for image in range(IMAGES):
            verdict = line.at(number, image)
            if isinstance(verdict, Known):
                assert verdict == x(truth[number, image], image)


def test_a_detector_that_is_read_at_once_has_all_its_positions():
    line = Line()
    for number in range(1, 5):
        armed(line, number)
        for image in range(IMAGES):
            line.samples(1)
            line.images(number, image)
        line.ends(number)
        line.disarms()
        assert [line.at(number, at) for at in range(IMAGES)] == [x(number, at) for at in range(IMAGES)]
