"""Samples joined to images: the right mean or none, whatever is lost on the way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.positions.headers import AWAITED, AxisOf, Known, Missing, Why
from streams.positions.samples import PositionJoiner, Samples

X, Y = AxisOf("x", ("/X",)), AxisOf("y", ("/Y",), factor=0.5, offset=10.0)


def samples(number: int, first: int, *values: float, name: str = "/X") -> Samples:
    return Samples(number, {name: (first, np.array(values, np.float64))})


def both(number: int, first: int, length: int) -> Samples:
    """Sample `n` is `n` on x and `-n` on y."""
    values = np.arange(first, first + length, dtype=np.float64)
    return Samples(number, {"/X": (first, values), "/Y": (first, -values)})


def test_a_position_is_the_scaled_mean_of_the_samples_of_its_frame():
    joiner = PositionJoiner([X, Y], 4)
    assert joiner.samples(both(0, 0, 6))
    assert joiner.position(0) == Known({"x": 1.5, "y": -1.5 * 0.5 + 10})
    assert joiner.position(1) == AWAITED
    assert joiner.samples(both(1, 6, 2))
    assert joiner.position(1) == Known({"x": 5.5, "y": -5.5 * 0.5 + 10})
    assert joiner.watermark == 2


def test_a_lost_sample_is_not_made_up():
    joiner = PositionJoiner([X], 4)
    joiner.samples(samples(0, 0, 0, 1, 2))
    joiner.samples(samples(2, 4, 4, 5, 6, 7, 8))
    assert joiner.position(0) == Missing(Why.GAP)
    assert joiner.position(1) == Known({"x": 5.5})
    assert joiner.position(2) == AWAITED


def test_a_gap_is_known_before_the_frame_is_over():
    joiner = PositionJoiner([X], 4)
    joiner.samples(samples(0, 1, 1))
    assert joiner.position(0) == Missing(Why.GAP)


def test_an_axis_behind_the_other_is_waited_for():
    joiner = PositionJoiner([X, Y])
    joiner.samples(Samples(0, {"/X": (0, np.array([1.0, 2.0])), "/Y": (0, np.array([4.0]))}))
    assert joiner.position(0) == Known({"x": 1.0, "y": 12.0})
    assert joiner.position(1) == AWAITED
    assert joiner.watermark == 1
    joiner.samples(Samples(1, {"/X": (2, np.array([3.0])), "/Y": (1, np.array([6.0]))}))
    assert joiner.position(1) == Known({"x": 2.0, "y": 13.0})


def test_a_dataset_that_a_message_lacks_is_a_gap():
    joiner = PositionJoiner([X, Y])
    joiner.samples(both(0, 0, 2))
    joiner.samples(samples(1, 2, 2.0))
    assert joiner.position(1) == Known({"x": 1.0, "y": 9.5})
    assert joiner.position(2) == Missing(Why.GAP)


def test_a_dataset_that_never_comes_is_named_as_such():
    joiner = PositionJoiner([X, Y])
    joiner.samples(samples(0, 0, 1.0, 2.0))
    assert joiner.position(1) == Missing(Why.NO_DATASET)
    assert joiner.position(2) == AWAITED


def test_a_message_sent_twice_counts_once():
    joiner = PositionJoiner([X], 2)
    joiner.samples(samples(0, 0, 1.0))
    assert joiner.samples(samples(0, 0, 1.0))
    assert joiner.position(0) == AWAITED
    joiner.samples(samples(1, 1, 2.0))
    assert joiner.position(0) == Known({"x": 1.5})


@pytest.mark.parametrize(
    "message", [samples(0, 0, 9.0), samples(1, 1, 2.0, 3.0), samples(7, 1, 9.0), samples(1, 2, 9.0)]
)
def test_numbers_that_go_back_are_of_another_arming(message):
    joiner = PositionJoiner([X])
    joiner.samples(samples(0, 0, 1.0))
    joiner.samples(samples(1, 1, 2.0))
    assert not joiner.samples(message)
    assert not joiner.samples(samples(8, 8, 8.0))
    assert joiner.position(1) == Known({"x": 2.0})
    assert joiner.position(2) == joiner.position(8) == Missing(Why.RESTARTED)


@pytest.mark.parametrize(("emitted", "why"), [(2, Why.STOPPED), (1, Why.STOPPED), (3, Why.GAP)])
def test_behind_a_stop_nothing_is_waited_for(emitted, why):
    joiner = PositionJoiner([X], 2)
    joiner.samples(samples(0, 0, 1.0, 2.0))
    joiner.samples(samples(1, 2, 3.0))
    joiner.stop(emitted)
    assert joiner.position(0) == Known({"x": 1.5})
    assert joiner.position(1) == joiner.position(2) == Missing(why)
    joiner.restart()
    assert joiner.position(1) == Missing(why)


def test_a_stop_without_any_sample():
    joiner = PositionJoiner([X])
    joiner.stop(0)
    assert not joiner.begun
    assert joiner.position(0) == Missing(Why.STOPPED)


def test_samples_too_large_to_be_a_position():
    joiner = PositionJoiner([X])
    joiner.samples(samples(0, 0, 1e300, np.inf, np.nan, 1.0))
    assert [joiner.position(at) for at in range(4)] == [Missing(Why.NOT_FINITE)] * 3 + [Known({"x": 1.0})]
    huge = PositionJoiner([AxisOf("x", ("/X",), factor=1e30)])
    huge.samples(samples(0, 0, 1e10))
    assert huge.position(0) == Missing(Why.NOT_FINITE)


def test_an_image_that_cannot_be():
    assert PositionJoiner([X]).position(-1) == Missing(Why.BEYOND)


def test_only_the_last_images_are_remembered():
    joiner = PositionJoiner([X], 2, window=4)
    for number in range(20):
        joiner.samples(samples(number, number, float(number)))
    assert [joiner.position(at) for at in range(6)] == [Missing(Why.EVICTED)] * 6
    assert [joiner.position(at) for at in range(6, 10)] == [Known({"x": 2.0 * at + 0.5}) for at in range(6, 10)]
    assert joiner.position(10) == AWAITED


def test_a_jump_far_ahead_costs_no_more_than_the_window():
    joiner = PositionJoiner([X], 1, window=4)
    joiner.samples(samples(0, 0, *range(10)))
    assert joiner.position(9) == Known({"x": 9.0})
    joiner.samples(samples(1, 2**53, 1.0))
    assert joiner.position(9) == Missing(Why.EVICTED)
    assert joiner.position(2**53) == Known({"x": 1.0})
    assert joiner.position(2**53 - 1) == Missing(Why.GAP)


@given(
    each=st.integers(1, 5),
    chunks=st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.booleans()), max_size=20),
    window=st.integers(3, 12),
)
def test_every_image_has_the_mean_of_its_samples_or_a_reason(each, chunks, window):
    """Chunks of random length, some lost whole, some without one axis, against a plain reckoning sample by sample."""
    joiner = PositionJoiner([X, Y], each, window)
    came: tuple[set[int], set[int]] = (set(), set())
    first, seen = 0, 0
    for number, (length, lost, lacking) in enumerate(chunks):
        message = both(number, first, length)
        first += length
        if lost:
            continue
        if lacking:
            message = Samples(number, {"/X": message.datasets["/X"]})
        assert joiner.samples(message)
        seen = first
        came[0].update(range(first - length, first))
        if not lacking:
            came[1].update(range(first - length, first))
    assert joiner.watermark == seen // each
    tops = [max(axis, default=-each) // each for axis in came]
    for image in range(first // each + 2):
        own = set(range(image * each, (image + 1) * each))
        verdict = joiner.position(image)
        if any(image <= top - window for top in tops):
            assert isinstance(verdict, Missing)
        elif all(own <= axis for axis in came):
            mean = image * each + (each - 1) / 2
            assert isinstance(verdict, Known)
            assert verdict.position == pytest.approx({"x": mean, "y": -mean * 0.5 + 10})
        elif any(sample < seen and sample not in axis for axis in came for sample in own):
            assert verdict in (Missing(Why.GAP), Missing(Why.NO_DATASET))
        else:
            assert verdict == AWAITED
