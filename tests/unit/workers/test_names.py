"""Series that share a unique id have names of their own, which every process finds by itself."""

from typing import Any

import pytest

from edge.workers.names import armed, first_name, second
from streams.messages import SeriesStart


def start(uid: str = "uid", **header: Any) -> SeriesStart:
    return SeriesStart("det", uid, 1, 5, ("image",), header=header)


@pytest.mark.parametrize("name", ["arm_date", "data_collection_date"])
def test_the_second_series_of_an_id_is_named_after_it_and_its_arming(name: str):
    monday, tuesday = second(start(**{name: "monday"})), second(start(**{name: "tuesday"}))
    assert monday == second(start(**{name: "monday"}))
    assert monday.series_uid != tuesday.series_uid
    assert first_name(monday) == first_name(tuesday) == "uid"
    assert (armed(monday), monday.series_id) == ("monday", 1)


@pytest.mark.parametrize("uid", ["uid", "uid~1", "uid~d2431618", "~", ""])
def test_a_detectors_own_name_is_not_taken_for_one(uid: str):
    assert first_name(start(uid, arm_date="monday")) == ""
    assert first_name(second(start(uid, arm_date="monday"))) == uid


def test_a_start_without_a_date_has_a_name_too():
    assert armed(start()) is None
    assert first_name(second(start())) == "uid"
