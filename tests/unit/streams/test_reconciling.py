import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ledger.reconciling import Reconciled, reconcile


@pytest.mark.parametrize(
    ("missing", "dropped", "said"),
    [
        (0, 0, Reconciled(0, 0, 0)),
        (3, 3, Reconciled(3, 0, 0)),
        (5, 3, Reconciled(3, 2, 0)),  # two were lost on the way, or another consumer has them
        (3, 5, Reconciled(3, 0, 2)),  # two were dropped before we listened, or are beyond the last image we know of
    ],
)
def test_drops_explain_what_they_can(missing, dropped, said):
    assert reconcile(missing, dropped) == said


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_nothing_is_counted_twice_or_forgotten(missing, dropped):
    found = reconcile(missing, dropped)
    assert found.explained + found.lost == missing
    assert found.explained + found.beyond == dropped
    assert min(found.explained, found.lost, found.beyond) >= 0
    assert not (found.lost and found.beyond)


@pytest.mark.parametrize("numbers", [(-1, 0), (0, -1)])
def test_negative_numbers_are_no_counts(numbers):
    with pytest.raises(ValueError, match="negative"):
        reconcile(*numbers)
