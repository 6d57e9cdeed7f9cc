from collections import Counter

import pytest

from edge.bench.sizing.accounts import Books, total
from tests.unit.bench.sizing.heard import heard


@pytest.mark.parametrize(
    ("ended", "left"),
    [
        (heard(), 0),
        (heard(missing=2), 0),
        (heard(missing=1, unwanted=2, dropped={"overload": 3}, failed={"corrupt": 1}), 0),
        (heard(unpublished={"too_large": 1}), 0),
        (heard(published=9), 1),  # one that nothing is said of
        (heard(published=11), 1),  # one too many
        (heard(results=8), 2),  # published, and not handed out
        (heard(results=11), 1),  # handed out twice
        (heard(missing=1, published=10), 1),  # missing and published
    ],
)
def test_what_no_account_tells_of_and_what_two_do(ended, left):
    books = Books()
    books.enter(ended, 10)
    assert books.unaccounted == left


def test_what_the_subscriber_says_it_missed_is_accounted_for():
    books = Books()
    books.enter(heard(results=7, lost=2), 10)
    assert (books.undelivered, books.subscriber_lost, books.unaccounted) == (3, 2, 1)
    assert books.losses() == {"subscriber too slow": 3}


def test_books_add_up_all_series_of_a_route():
    books = Books()
    books.enter(heard(dropped={"overload": 3}), 10)
    books.enter(heard(missing=2, dropped={"overload": 1}, failed={"corrupt": 1}), 10)
    assert (books.sent, books.published, books.missing, books.series) == (20, 13, 2, 2)
    assert books.losses() == {"dropped: overload": 4, "failed: corrupt": 1, "missing": 2}
    assert books.complete_share == 13 / 20
    assert (books.checked, books.unaccounted, books.undelivered) == (6, 0, 0)


def test_a_difference_in_one_series_is_not_made_up_for_by_another():
    books = Books()
    books.enter(heard(published=9), 10)
    books.enter(heard(published=11), 10)
    assert books.unaccounted == 2
    assert total([books, Books(astray=1)]) == 3


def test_nothing_sent_is_nothing_complete():
    assert Books().complete_share == 0.0
    assert Books().dropped == Counter()
