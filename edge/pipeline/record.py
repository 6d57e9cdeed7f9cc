"""One series as the data plane sees it: its arrivals and its account on every route."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from edge.pipeline.account import RouteAccount, verdict
from edge.pipeline.joined import PositionAccount
from edge.pipeline.untrained import Range
from streams.codecs.results import SeriesEnded, SeriesStarted, portable
from streams.ledger.lifecycle import State
from streams.ledger.series import Series
from streams.messages import SeriesStart
from streams.recording.segments import Place


class SeriesRecord:
    """Joins the ledger of arrivals with the accounts of the routes."""

    def __init__(
        self, series: Series, routes: Iterable[str], *, recovered: bool = False, settled: bool = False
    ) -> None:
        self.series = series
        self.recovered = recovered  # it was opened from a capture
        self.settled = settled  # an earlier process published all of it: only the ledger goes through it again
        self.accounts = {route: RouteAccount() for route in routes}
        self.positions = {route: PositionAccount() for route in self.accounts}
        self.ranges = {route: Range() for route in self.accounts}  # of the models: whether its images lie within
        self.place: Place | None = None  # of its first message in the capture
        self.geometry: dict[str, dict[str, Any]] = {}  # by route: where things are in its images
        self.position_units: Mapping[str, str] = {}  # by axis, where the configuration names them
        self._warned: set[str] = set()

    @property
    def start(self) -> SeriesStart:
        """The start message under our name of the series: a detector may use a unique id again."""
        start = self.series.start
        return start if start.series_uid == self.series.uid else replace(start, series_uid=self.series.uid)

    def first_time(self, warning: str) -> bool:
        """Whether `warning` is new to this series: each kind is logged once a series."""
        if warning in self._warned:
            return False
        self._warned.add(warning)
        return True

    @property
    def finished(self) -> bool:
        """Closed, and nothing of it on its way any more: its account can be published."""
        return self.series.state is State.CLOSED and all(account.in_flight == 0 for account in self.accounts.values())

    def started(self, route: str) -> SeriesStarted:
        """The notice that opens the series on `route`, not yet stamped."""
        start = self.series.start
        return SeriesStarted(
            source=self.series.source,
            series_uid=self.series.uid,
            series_id=self.series.id,
            route=route,
            origin="",
            seq=0,
            published_ns=0,
            expected=self.series.counts().expected,
            announced=self.series.announced,
            header=portable({**start.header, **self._described(route)}) or {},
            user_data=portable(start.user_data),
            position_units=dict(self.position_units),
            first_image=self.series.first_image,
            untrained=self.ranges[route].reasons,
        )

    def _described(self, route: str) -> dict[str, Any]:
        geometry = self.geometry.get(route)
        return {"geometry": geometry} if geometry else {}

    def ended(self, route: str) -> SeriesEnded:
        """The notice that closes the series on `route`, not yet stamped."""
        arrivals, account = self.series.counts(), self.accounts[route]
        return SeriesEnded(
            source=self.series.source,
            series_uid=self.series.uid,
            series_id=self.series.id,
            route=route,
            origin="",
            seq=0,
            published_ns=0,
            reason=str(self.series.close_reason),
            verdict=verdict(arrivals, account, self.series.dropped),
            arrivals={name: getattr(arrivals, name) for name in arrivals.__struct_fields__},
            account=account.as_dict(),
            latency_ms=account.latency.summary_ms(),
            missing={channel: holes for channel, holes in self.series.missing_ids().items() if holes},
            positions=self.positions[route].as_dict(),
            first_image=self.series.first_image,
            suspicion=self.series.suspicion(),
            detector_dropped=self.series.dropped,
            reconciled=self.series.reconciled(),
            share=str(self.series.share or ""),
            intervals=self.series.intervals() if self.series.share else {},
            absent=self.series.absent_ids() if self.series.share else {},
            untrained=self.ranges[route].given,
        )
