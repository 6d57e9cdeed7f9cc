from types import SimpleNamespace

import pytest

from edge.pipeline.control import REMEMBERED, Control
from edge.pipeline.record import SeriesRecord
from streams.codecs import handshake
from streams.codecs.handshake import AccountNow, Inquire, Noted, Triggered
from streams.ledger.series import Series
from streams.messages import Compression, Frame, SeriesStart


def record(series_id: int = 7, expected: int | None = 100, uid: str = "u", announced: bool = True) -> SeriesRecord:
    start = SeriesStart("det", uid, series_id, expected, ("image",))
    return SeriesRecord(Series(start, announced=announced, now_ns=0), ["peaks"])


def arrive(one: SeriesRecord, *ids: int) -> None:
    for image_id in ids:
        one.series.take(Frame("det", "u", 7, image_id, "image", (1, 1), "<u2", Compression.NONE, b"\0\0"), 0)
        one.accounts["peaks"].accept()


def control(*records: SeriesRecord) -> Control:
    return Control(
        [
            SimpleNamespace(
                name="det",
                records={one.series.uid: one for one in records},
                triggered=lambda record, images: record.series.triggered(images),
            )
        ]
    )


def account(
    answering: Control, series_id: int = 7, route: str = "peaks", source: str = "det", uid: str = ""
) -> AccountNow | None:
    request = handshake.unpack_request(handshake.pack(Inquire(source, series_id, route, uid)))
    reply = handshake.unpack_reply(handshake.pack(answering.answer(request)))
    assert isinstance(reply, handshake.AccountReply)
    assert (reply.source, reply.series_id, reply.route) == (source, series_id, route)
    return reply.now


def test_what_was_triggered_is_what_is_expected():
    one = record(expected=100)
    arrive(one, 0, 1, 2)
    answering = control(one)
    assert answering.answer(Triggered("det", 7, 4)) == Noted("det", 7, True)
    now = account(answering)
    assert now is not None and now.open and now.verdict == ""
    assert now.arrivals["expected"] == 4 and now.arrivals["awaited"] == 1
    assert now.missing == {"image": [(3, 4)]}
    assert now.account["in_flight"] == 3


def test_a_series_that_ends_before_its_controller_speaks_closes_when_it_does():
    one = record(expected=100)
    arrive(one, 0, 1)
    one.series.end(0)
    assert one.series.counts().awaited == 98
    assert control(one).answer(Triggered("det", 7, 2)) == Noted("det", 7, True)
    counts = one.series.counts()
    assert one.series.state == "closed" and (counts.expected, counts.missing) == (2, 0)


@pytest.mark.parametrize(
    "request_", [Triggered("det", 7, 2), Triggered("det", 7, -1), Triggered("det", 8, 9), Triggered("x", 7, 9)]
)
def test_what_cannot_be_is_refused_and_changes_nothing(request_):
    one = record(expected=100)
    arrive(one, 0, 1, 2)
    before = one.series.counts()
    reply = control(one).answer(request_)
    assert isinstance(reply, Noted) and not reply.known
    assert one.series.counts() == before


def test_a_closed_series_is_remembered_with_its_verdict():
    one = record(expected=1)
    answering = control()
    one.series.shut_down()
    answering.remember(one.ended("peaks"))
    now = account(answering)
    assert now is not None and not now.open and now.verdict == "incomplete"
    assert now.arrivals["missing"] == 1 and now.missing == {"image": [(0, 1)]}
    assert answering.answer(Triggered("det", 7, 0)) == Noted("det", 7, False)


def test_of_two_series_with_one_number_the_newest_answers():
    old, new = record(uid="old"), record(uid="new")
    now = account(control(old, new))
    assert now is not None and now.series_uid == "new"


def test_stray_frames_of_an_earlier_series_do_not_take_its_place():
    meant, stray = record(uid="meant"), record(uid="stray", announced=False)
    for answering in (control(meant, stray), control(stray, meant)):
        now = account(answering)
        assert now is not None and now.series_uid == "meant"
        now = account(answering, uid="stray")
        assert now is not None and now.series_uid == "stray"
        assert account(answering, uid="another") is None
    assert control(meant, stray).answer(Triggered("det", 7, 5, "stray")) == Noted("det", 7, True)
    assert meant.series.counts().expected == 100 and stray.series.counts().expected == 5


def test_closed_series_of_one_number_are_told_apart_by_their_unique_ids():
    answering = control()
    for uid in ("old", "new"):
        one = record(uid=uid)
        one.series.shut_down()
        answering.remember(one.ended("peaks"))
    assert [account(answering, uid=uid).series_uid for uid in ("", "old", "new")] == ["new", "old", "new"]


def test_a_start_message_that_comes_late_does_not_undo_what_the_controller_said():
    one = record(expected=None, announced=False)
    arrive(one, 0, 1)
    assert control(one).answer(Triggered("det", 7, 2)) == Noted("det", 7, True)
    one.series.announce(SeriesStart("det", "u", 7, 40000, ("image",)))
    assert one.series.counts().expected == 2


def test_what_nobody_knows_has_no_account():
    answering = control(record())
    assert account(answering, series_id=8) is None
    assert account(answering, route="ptycho") is None
    assert account(answering, source="other") is None


def test_only_so_many_closed_series_are_remembered():
    answering = control()
    for number in range(REMEMBERED + 1):
        answering.remember(record(series_id=number, uid=str(number)).ended("peaks"))
    assert account(answering, series_id=0) is None
    assert account(answering, series_id=1) is not None
