"""What whoever controls the detector tells and asks: how many images were triggered, what became of them."""

import logging
from collections.abc import Sequence
from typing import Protocol

from edge.pipeline.record import SeriesRecord
from streams.codecs.handshake import AccountNow, AccountReply, Inquire, Noted, Triggered
from streams.codecs.results import SeriesEnded

log = logging.getLogger(__name__)

REMEMBERED = 64
"""Accounts of closed series that can still be asked for."""


class Ledger(Protocol):
    """The near end of a source (`edge.pipeline.intake.Intake`)."""

    name: str
    records: dict[str, SeriesRecord]


class Control:
    """Answers for all sources; belongs to the serving loop's thread."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = {ledger.name: ledger for ledger in ledgers}
        self._ended: dict[tuple[str, int, str], SeriesEnded] = {}

    def remember(self, ended: SeriesEnded) -> None:
        """The account of a series that is closed."""
        key = (ended.source, ended.series_id, ended.route)
        self._ended.pop(key, None)  # a detector that was restarted numbers from 1 again: the newest counts
        self._ended[key] = ended
        while len(self._ended) > REMEMBERED:
            self._ended.pop(next(iter(self._ended)))

    def answer(self, request: Triggered | Inquire) -> Noted | AccountReply:
        """Do what is asked; never raises for what a peer sent."""
        record = self._record(request.source, request.series_id)
        if isinstance(request, Triggered):
            known = record is not None and record.series.triggered(request.images)
            if not known:
                log.warning(
                    "%d images triggered in series %d of %s, says its controller: no such series is open, or more came",
                    *(request.images, request.series_id, request.source[:64]),
                )
            return Noted(request.source, request.series_id, known)
        ended = self._ended.get((request.source, request.series_id, request.route))
        if record is not None and request.route in record.accounts:
            now = _so_far(record, request.route)
        else:
            now = None if ended is None else _closed(ended)
        return AccountReply(request.source, request.series_id, request.route, now)

    def _record(self, source: str, series_id: int) -> SeriesRecord | None:
        """The newest record of that number whose account is not final."""
        ledger = self._ledgers.get(source)
        if ledger is None:
            return None
        return next((one for one in reversed(ledger.records.values()) if one.series.id == series_id), None)


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


def _closed(ended: SeriesEnded) -> AccountNow:
    return AccountNow(ended.series_uid, False, ended.verdict, ended.arrivals, ended.account, ended.missing)
