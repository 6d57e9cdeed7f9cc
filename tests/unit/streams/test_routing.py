"""Conditions on results, and what routes have of those that they come after."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.routing import MAX_CONDITION_CHARS, Comparison, Condition, ConditionError, Route, inherited, leaders

ARRAYS = {
    "count": np.array([3], np.int32),
    "sum": np.array(2.5, np.float32),
    "row": np.array([10.0, np.nan, np.inf], np.float32),
    "image": np.zeros((2, 2), np.float32),
}

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True).filter(lambda name: name not in ("and", "or"))
COMPARISONS = st.builds(
    Comparison,
    NAMES,
    st.none() | st.integers(0, 10**6),
    st.sampled_from([">=", ">", "<=", "<", "==", "!="]),
    st.floats(allow_nan=False, allow_infinity=False),
)
CONDITIONS = st.builds(
    Condition,
    st.lists(st.lists(COMPARISONS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple),
).filter(lambda condition: len(str(condition)) <= MAX_CONDITION_CHARS)


@given(CONDITIONS)
def test_what_is_written_is_read_back(condition):
    assert Condition.parse(str(condition)) == condition


@given(st.text(max_size=60) | st.from_regex(r"[a-z ]*([<>=!]{1,2}|and|or|[0-9.e+-]+|\[[0-9]*\])*", fullmatch=True))
def test_whatever_is_written_is_read_or_refused(text):
    try:
        condition = Condition.parse(text)
    except ConditionError as error:
        assert "conditions look like" in str(error)
    else:
        assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("count >= 3", True),
        ("count>3", False),
        ("count == 3.0", True),
        ("count != 3", False),
        ("  count <= +3e0 ", True),
        ("count < .5", False),
        ("sum > 2.4 and sum < 2.6", True),
        ("row[0] == 10", True),
        ("row [ 0 ] > 1e1", False),
        ("row[2] > 1e300", True),
        ("count[0] == 3", True),
        # `and` binds tighter than `or`, wherever it stands
        ("count == 3 or count == 4 and count == 5", True),
        ("count == 5 and count == 4 or count == 3", True),
        ("count == 3 and count == 4 or count == 5", False),
        ("count == 9 or\n count == 8 or\tcount == -3", False),
        # no comparison with a NaN holds
        ("row[1] == 1", False),
        ("row[1] != 1", False),
        ("row[1] >= 0 or row[1] < 0", False),
    ],
)
def test_conditions_on_a_result(text, holds):
    assert Condition.parse(text).holds(ARRAYS) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at its end: expected the name of an output"),
        ("   ", "at its end: expected the name"),
        ("count", "at its end: expected one of >=, <=, ==, !=, >, <"),
        ("count >= ", "at its end: expected a number"),
        ("count = 15", "at character 7, '= 15': expected one of"),
        ("count => 15", "at character 7, '=> 15': expected one of"),
        ("count >> 15", "at character 7"),
        ("count === 15", "at character 7"),
        ("15 <= count", "at character 1, '15 <= count': expected the name of an output"),
        ("count >= nan", "at character 10, 'nan': expected a number"),
        ("count >= 0x10", "at character 10, '0x10': expected a number"),
        ("count >= 1_000", "expected a number"),
        ("count >= 15px", "expected a number"),
        ("count >= 1e999", "expected a number of less than"),
        ("count >= 15 row[0] > 1", "at character 13, 'row[0] > 1': expected and, or, or nothing more"),
        ("count >= 15 && sum > 1", "at character 13, '&& sum > 1': expected and, or, or nothing"),
        ("count >= 15 AND sum > 1", "at character 13"),
        ("count >= 15 and", "at its end: expected the name of an output"),
        ("count >= 15 or or > 1", "at character 16, 'or > 1': expected the name"),
        ("(count >= 15)", "at character 1, '(count >= 15)': expected the name"),
        ("row[-1] > 0", "at character 4, '[-1] > 0': expected one of"),
        ("row[0 > 0", "at character 4"),
        ("row[0][1] > 0", "at character 7"),
        ("count > sum", "at character 9, 'sum': expected a number"),
        ("__import__('os').system('x')", "at character 11"),
        ("count >= \u0663", "at character 10"),
        ("x > 1 and " * 200, "has 2000 characters"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text, said):
    with pytest.raises(ConditionError, match=re.escape(said)):
        Condition.parse(text)


@pytest.mark.parametrize("text", ["peaks > 1", "row > 1", "row[3] > 1", "image > 1", "image[0] > 1", "sum[0] > 1"])
def test_a_number_that_is_not_there_is_named(text):
    with pytest.raises(
        ConditionError, match=re.escape(f"no number {text.partition(' ')[0]}; it has count [1], sum []")
    ):
        Condition.parse(text).holds(ARRAYS)


def test_what_is_asked_for_and_not_offered():
    offered = {"count": None, "row": 3}
    assert Condition.parse("count > 1 and row[2] > 1 or count < 9").unknown(offered) == []
    asked = "peaks > 1 and row > 1 or row[3] > 2 and count[0] > 1 or peaks < 0"
    assert Condition.parse(asked).unknown(offered) == ["peaks", "row", "row[3]", "count[0]"]


def test_a_route_takes_what_the_one_before_takes_unless_it_says_less():
    routes = inherited(
        [
            Route("c", "m", after="b"),
            Route("b", "m", after="a", channels=("1",)),
            Route("a", "m", sources=("det",), channels=("1", "2")),
            Route("other", "m"),
        ]
    )
    assert [(route.name, route.sources, route.channels) for route in routes] == [
        ("c", ("det",), ("1",)),
        ("b", ("det",), ("1",)),
        ("a", ("det",), ("1", "2")),
        ("other", (), ()),
    ]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"a": "b", "b": "a"}, "circle: a after b after a$"),
        ({"a": "a"}, "circle: a after a$"),
        ({"a": "b", "b": "c", "c": "b"}, "circle: a after b after c after b$"),
        ({"a": "nobody"}, "a comes after nobody, which is no route"),
    ],
)
def test_routes_that_nothing_comes_first_of(after, said):
    routes = {name: Route(name, "m", after=before) for name, before in after.items()}
    with pytest.raises(ValueError, match=said):
        leaders("a", routes)
    with pytest.raises(ValueError, match=r"which is no route|in a circle"):
        inherited(list(routes.values()))
