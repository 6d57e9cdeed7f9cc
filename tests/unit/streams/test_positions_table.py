import numpy as np
import pytest

from streams.positions.headers import AxisOf, Known, Missing, Why
from streams.positions.table import PositionTable

AXES = [AxisOf("x", ("a",)), AxisOf("y", ("b",), factor=2.0, offset=-1.0)]


def table(ids=None, **columns) -> PositionTable:
    plain = {"x": [1, 2, 3], "y": [10, np.nan, 1e300]} | columns
    arrays = {axis: np.array(column, np.float64) for axis, column in plain.items()}
    return PositionTable(AXES, arrays, None if ids is None else np.array(ids, np.int64))


@pytest.mark.parametrize(
    ("image_id", "verdict"),
    [
        (0, Known({"x": 1.0, "y": 19.0})),
        (1, Missing(Why.NOT_FINITE)),
        (2, Missing(Why.NOT_FINITE)),
        (3, Missing(Why.BEYOND)),
        (-1, Missing(Why.BEYOND)),
        (2**62, Missing(Why.BEYOND)),
    ],
)
def test_row_i_is_image_i(image_id, verdict):
    assert table().position(image_id) == verdict


@pytest.mark.parametrize(
    ("image_id", "verdict"),
    [
        (7, Known({"x": 1.0, "y": 19.0})),
        (5, Missing(Why.NOT_FINITE)),
        (6, Missing(Why.BEYOND)),
        (0, Missing(Why.BEYOND)),
    ],
)
def test_rows_by_a_column_of_ids(image_id, verdict):
    assert table([7, 5, 9]).position(image_id) == verdict


def test_an_id_that_comes_twice_is_no_table():
    with pytest.raises(ValueError, match="5 comes twice"):
        table([5, 7, 5])


def test_columns_are_equally_long():
    with pytest.raises(ValueError, match="x has 3, y has 2"):
        table(y=[1, 2])
    with pytest.raises(ValueError, match="ids has 2"):
        table([1, 2])
