"""Whether all images that were sent are accounted for: what the ends of series say, added up. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge.bench.sizing.listening import Heard


@dataclass
class Books:
    """Series of one route."""

    sent: int = 0
    published: int = 0
    handed_out: int = 0  # by the subscriber
    missing: int = 0  # images that were sent and did not arrive, the data plane says
    unwanted: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    failed: Counter[str] = field(default_factory=Counter)
    unpublished: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    wrong: int = 0
    astray: int = 0  # images of which no word is said, or which are counted twice
    series: int = 0
    subscriber_lost: int = 0  # what the subscriber says it missed, since it began

    def enter(self, heard: Heard, sent: int) -> None:
        """A series of which `sent` images were sent has ended."""
        account = heard.account
        self.sent += sent
        self.published += account["published"]
        self.handed_out += heard.results
        self.missing += heard.arrivals["missing"] or 0
        self.unwanted += account["unwanted"]
        self.dropped.update(account["dropped"])
        self.failed.update(account["failed"])
        self.unpublished.update(account["unpublished"])
        self.checked += heard.checked
        self.wrong += heard.wrong
        self.astray += astray(heard, sent)
        self.series += 1
        self.subscriber_lost = heard.lost

    @property
    def undelivered(self) -> int:
        """Results that were published and that the subscriber was not handed."""
        return self.published - self.handed_out

    @property
    def unaccounted(self) -> int:
        """Images of which no word is said or which are counted twice, here or at the subscriber."""
        return self.astray + max(0, self.undelivered - self.subscriber_lost, -self.undelivered)

    @property
    def complete_share(self) -> float:
        """Part of what was sent that the subscriber was handed a result of."""
        return self.handed_out / self.sent if self.sent else 0.0

    def losses(self) -> dict[str, int]:
        """What has no result, by what happened to it and why."""
        kinds = {"dropped": self.dropped, "failed": self.failed, "unpublished": self.unpublished}
        found = {f"{kind}: {why}": count for kind, reasons in kinds.items() for why, count in reasons.items()}
        told = {"missing": self.missing, "subscriber too slow": max(0, self.undelivered)}
        return {**found, **{what: count for what, count in told.items() if count}}


def astray(heard: Heard, sent: int) -> int:
    """Images of a series that were sent and are neither missing nor settled, or the other way round."""
    account = heard.account
    losses = sum(sum(account[kind].values()) for kind in ("dropped", "failed", "unpublished"))
    settled = account["unwanted"] + losses + account["published"]
    return abs(sent - (heard.arrivals["missing"] or 0) - settled)


def total(books: Iterable[Books]) -> int:
    """Unaccounted on all routes."""
    return sum(one.unaccounted for one in books)
