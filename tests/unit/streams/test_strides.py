"""A stride in what is missing: found where a second consumer takes its turn, never in random loss."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ledger.intervals import IntervalSet, blocks, spread
from streams.ledger.strides import LEAST_GAPS, regular_holes


def holes_of(received, stop: int) -> list[tuple[int, int]]:
    members = IntervalSet()
    for image_id in received:
        members.add(image_id)
    return members.holes(stop)


@given(st.lists(st.integers(0, 300), max_size=150))
def test_blocks_are_the_same_ids(ids):
    members = IntervalSet()
    for image_id in ids:
        members.add(image_id)
    intervals = members.intervals()
    told = blocks(intervals)
    assert spread(told, 1000) == intervals
    assert len(told) <= len(intervals)


def test_what_is_dealt_out_in_turn_is_one_block():
    assert blocks([(n, n + 1) for n in range(2, 3000, 3)]) == [(2, 1, 3, 1000)]
    assert blocks([(n, n + 16) for n in range(0, 480, 48)]) == [(0, 16, 48, 10)]


@pytest.mark.parametrize("block", [(-1, 1, 0, 1), (0, 0, 0, 1), (0, 1, 2, 0), (0, 3, 2, 2), (0, 1, 1, 10**9)])
def test_blocks_that_a_stranger_made_up_are_refused(block):
    with pytest.raises(ValueError, match="no intervals"):
        spread([block], 1000)


@pytest.mark.parametrize("pulses", [1, 16])
@pytest.mark.parametrize("consumers", [2, 3, 5])
@pytest.mark.parametrize("turn", [0, 1])
def test_a_second_consumer_is_found(consumers, turn, pulses):
    messages = 20 * consumers
    got = [m * pulses + p for m in range(messages) if m % consumers == turn for p in range(pulses)]
    found = regular_holes(holes_of(got, messages * pulses))
    assert found is not None
    assert (found.stride, found.missing) == (consumers * pulses, (consumers - 1) * pulses)
    assert found.phase == (turn + 1) % consumers * pulses % found.stride
    assert "second consumer" in found.text


def test_the_words_of_the_plain_case():
    found = regular_holes(holes_of(range(0, 40, 2), 40))
    assert found is not None
    assert found.text == "every 2nd image is missing: a second consumer on the detector's port?"


def test_it_is_found_beside_random_losses_and_where_it_came_later():
    dice = random.Random(1)
    got = [n for n in range(2000) if (n < 700 or n % 2) and dice.random() > 0.05]
    found = regular_holes(holes_of(got, 2000))
    assert found is not None and (found.stride, found.phase) == (2, 0)


def test_so_many_gaps_are_needed():
    assert regular_holes(holes_of(range(0, 2 * LEAST_GAPS + 1, 2), 2 * LEAST_GAPS + 1)) is not None
    assert regular_holes(holes_of(range(0, 2 * LEAST_GAPS - 1, 2), 2 * LEAST_GAPS - 1)) is None


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
def test_random_loss_has_no_stride(rate):
    for seed in range(60):
        dice = random.Random(seed)
        for images in (30, 300, 5000):
            got = [n for n in range(images) if dice.random() >= rate]
            assert regular_holes(holes_of(got, images)) is None, (seed, images)


def test_nothing_is_said_of_nothing():
    assert regular_holes([]) is None
    assert regular_holes([(3, 900)]) is None
