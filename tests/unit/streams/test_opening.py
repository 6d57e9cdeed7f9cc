"""Series for streams that have none: where an image belongs."""

import pytest

from streams.codecs.opening import SeriesOpener
from streams.messages import CodecError

NOW = 10**18


def test_an_image_left_of_a_series_that_is_not_known_is_refused():
    """A receiver that was started in between: the queue holds images of before, at ids far ahead and earlier times."""
    opener = SeriesOpener("det")
    uid = opener.enter(0, 100.0, NOW).uid
    with pytest.raises(CodecError, match="image 5000 was taken before image 0, which came first") as caught:
        opener.enter(5000, 50.0, NOW)
    assert caught.value.reason == "malformed"
    assert opener.known(5000, 50.0) is None
    assert [opener.enter(image_id, 100.0 + image_id, NOW) for image_id in (1, 2)] == [(uid, NOW // 10**9, [])] * 2


def test_an_image_left_of_the_former_series_belongs_to_it():
    opener = SeriesOpener("det")
    former = opener.enter(0, 50.0, NOW).uid
    opener.enter(9, 59.0, NOW)
    assert opener.enter(0, 100.0, NOW).start
    assert opener.enter(10, 60.0, NOW).uid == former


def test_an_image_that_the_first_one_overtook_is_not_refused():
    opener = SeriesOpener("det")
    uid = opener.enter(5, 105.0, NOW).uid
    assert opener.enter(4, 104.0, NOW).uid == uid


def test_a_clock_that_is_set_back_within_a_series_costs_nothing():
    opener = SeriesOpener("det")
    uid = opener.enter(0, 100.0, NOW).uid
    assert [opener.enter(n, seconds, NOW).uid for n, seconds in ((1, 109.0), (2, 101.0), (3, 102.0))] == [uid] * 3


def test_a_message_without_an_image_opens_nothing_but_is_remembered_as_the_newest():
    opener = SeriesOpener("det")
    assert opener.known(0, 1.0) is None
    uid = opener.enter(0, 1.0, NOW).uid
    assert opener.known(7, 8.0).uid == uid
    assert opener.known(7, 8.0, layout=2) is None  # of another series
    assert opener.enter(5, 20.0, NOW).start  # it began anew: 7 was taken before
