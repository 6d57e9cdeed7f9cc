"""Which processes of a worker count, and what they add up to."""

from edge.pipeline.account import RouteAccount
from edge.workers.parts import LOST, Part, PublishedIds, account_so_far, counting, merged_account


def part(published: int, failed: int = 0, *, records: bool = True, final: bool = False) -> Part:
    found, account = Part(records), RouteAccount()
    for _ in range(published + failed):
        account.accept()
    account.publish(*[1] * published)
    for _ in range(failed):
        account.fail("poisoned")
    found.accounts["check"], found.final = account.as_dict(), final
    return found


def test_of_processes_that_did_the_same_series_again_one_counts():
    first, again, third = part(2), part(2), part(1)
    assert counting({(1, 1): first, (1, 2): again, (1, 3): third}, "check") == [again]
    third.final = True
    assert counting({(1, 1): first, (1, 2): again, (1, 3): third}, "check") == [third]


def test_who_finds_all_of_it_settled_takes_nothing_away_from_who_did_it():
    did, nothing = part(1, 1, final=True), Part(records=True)
    nothing.final = True
    parts = {(1, 1): did, (1, 2): nothing}
    account = merged_account(counting(parts, "check"), "check", published=1, arrived=0)
    assert (account.received, account.failed, account.balanced) == (2, {"poisoned": 1}, True)


def test_without_captures_all_processes_count():
    parts = {(1, 1): part(2, records=False), (1, 2): part(1, records=False, final=True), (2, 1): part(3, records=False)}
    assert account_so_far(counting(parts, "check"), "check").received == 6


def test_what_the_one_that_counts_did_not_tell_of_is_lost():
    parts = {(1, 1): part(1), (1, 2): part(2)}
    account = merged_account(counting(parts, "check"), "check", published=2, arrived=4)
    assert (account.received, account.published, account.failed) == (4, 2, {LOST: 2})


def test_ids_that_were_put_in_are_in():
    ids = PublishedIds()
    assert ids.add(5000)
    assert not ids.add(5000)
    assert 5000 in ids
    assert 5001 not in ids
    assert 1 not in ids
