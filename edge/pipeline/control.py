"""What whoever controls the detector tells and asks: how many images were triggered, what became of them."""

import logging
from collections.abc import Sequence
from typing import Protocol

from edge.pipeline.record import SeriesRecord
from streams.codecs.handshake import AccountNow, AccountReply, Inquire, Noted, Triggered
from streams.codecs.results import SeriesEnded
from streams.ledger.series import Series

log = logging.getLogger(__name__)

REMEMBERED = 64
"""Accounts of closed series that can still be asked for."""


class Ledger(Protocol):
    """The near end of a source (`edge.pipeline.intake.Intake`)."""

    name: str
    records: dict[str, SeriesRecord]

    def triggered(self, record: SeriesRecord, images: int) -> bool: ...


class Control:
    """Answers for all sources; belongs to the serving loop's thread."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = {ledger.name: ledger for ledger in ledgers}
        self._ended: dict[tuple[str, str, str], SeriesEnded] = {}  # source, unique id, route; oldest first
        self._warned = False

    def remember(self, ended: SeriesEnded) -> None:
        """The account of a series that is closed."""
        self._ended[ended.source, ended.series_uid, ended.route] = ended
        while len(self._ended) > REMEMBERED:
            self._ended.pop(next(iter(self._ended)))

    def answer(self, request: Triggered | Inquire) -> Noted | AccountReply:
        """Do what is asked; never raises for what a peer sent."""
        record = self._record(request)
        if isinstance(request, Triggered):
            known = record is not None and self._ledgers[request.source].triggered(record, request.images)
            if not known and not self._warned:
                self._warned = True  # once: whoever asks must not fill the log
                log.warning(
                    "%d images triggered in series %d of %a, says its controller: no such series is open, or more came",
                    *(request.images, request.series_id, request.source[:64]),
                )
            return Noted(request.source, request.series_id, known)
        now = None
        if record is not None and request.route in record.accounts:
            now = _so_far(record, request.route)
        elif (ended := self._closed(request)) is not None:
            now = AccountNow(ended.series_uid, False, ended.verdict, ended.arrivals, ended.account, ended.missing)
        return AccountReply(request.source, request.series_id, request.route, now)

    def _record(self, request: Triggered | Inquire) -> SeriesRecord | None:
        """The record that is meant, while its account is not final: announced ones first, then the newest.

        A series that nobody announced is made of stray frames of an earlier one, which may have the same number.
        """
        ledger = self._ledgers.get(request.source)
        records = ledger.records.values() if ledger else ()
        meant = [one for one in records if not one.settled and _is_meant(one.series, request)]
        return max(reversed(meant), key=lambda one: one.series.announced, default=None)

    def _closed(self, request: Inquire) -> SeriesEnded | None:
        for ended in reversed(self._ended.values()):
            if (ended.source, ended.series_id, ended.route) == (request.source, request.series_id, request.route) and (
                request.series_uid in ("", ended.series_uid)
            ):
                return ended
        return None


def _is_meant(series: Series, request: Triggered | Inquire) -> bool:
    return series.id == request.series_id and request.series_uid in ("", series.uid)


def _so_far(record: SeriesRecord, route: str) -> AccountNow:
    arrivals = record.series.counts()
    return AccountNow(
        series_uid=record.series.uid,
        open=True,
        verdict="",
        arrivals={name: getattr(arrivals, name) for name in arrivals.__struct_fields__},
        account=record.accounts[route].as_dict(),
        missing={channel: holes for channel, holes in record.series.missing_ids().items() if holes},
    )
