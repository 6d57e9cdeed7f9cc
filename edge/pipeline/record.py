"""One series as the data plane sees it: its arrivals and its account on every route."""

from collections.abc import Iterable

from edge.pipeline.account import RouteAccount, verdict
from streams.codecs.results import SeriesEnded, SeriesStarted, portable
from streams.series import Series, State


class SeriesRecord:
    """Joins the ledger of arrivals with the accounts of the routes."""

    def __init__(self, series: Series, routes: Iterable[str]) -> None:
        self.series = series
        self.accounts = {route: RouteAccount() for route in routes}
        self._warned: set[str] = set()

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
            source=start.source,
            series_uid=start.series_uid,
            series_id=start.series_id,
            route=route,
            origin="",
            seq=0,
            published_ns=0,
            expected=self.series.counts().expected,
            announced=self.series.announced,
            header=portable(dict(start.header)) or {},
            user_data=portable(start.user_data),
        )

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
            verdict=verdict(arrivals, account),
            arrivals={name: getattr(arrivals, name) for name in arrivals.__struct_fields__},
            account=account.as_dict(),
            latency_ms=account.latency.summary_ms(),
            missing={channel: holes for channel, holes in self.series.missing_ids().items() if holes},
        )
