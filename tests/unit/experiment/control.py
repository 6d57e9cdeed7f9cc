"""A detector and a data plane in memory: what is triggered comes back as results, but for the faults."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from edge.experiment.errors import CommandRefused, DetectorError
from edge.experiment.inbox import Inbox
from streams.codecs.results import Result, SeriesEnded, SeriesStarted
from streams.controller import AccountNow, Problem, Readiness

SOURCE, ROUTE = "det", "sums"


class SumMeasurement:
    """Value: the sum over the frames of what the route gave."""

    route = ROUTE

    def describe(self) -> dict[str, dict[str, Any]]:
        number = {"dtype": "number", "shape": [], "units": "counts"}
        return {"total": number, "total_variance": number, "order": {"dtype": "number", "shape": [], "units": "1"}}

    def reduce(self, arrays) -> dict[str, float]:
        values = [float(one["sum"][0]) for one in arrays]
        return {"total": sum(values), "total_variance": sum(values), "order": float(values == sorted(values))}


class Station:
    """Both ends: it is the detector's SIMPLON (Commands) and the data plane (Plane).

    Attributes:
        diary: what was asked, in order.
        on_command: called before a command takes effect; may raise.
        lost: image ids that never come; extra: ids that come with the next trigger though nobody triggered them.
        hold: results of triggers are kept back until `release`.
        untrained: what the data plane says of results from now on.
        contradicts: more images than those triggered have come.
        header: of the start message.
        named: series as triggered and account named them: (number, unique id).
    """

    url = "http://memory"
    source, route = SOURCE, ROUTE

    def __init__(self) -> None:
        self.diary: list[Any] = []
        self.config: dict[str, Any] = {}
        self.on_command: dict[str, Callable[[], None]] = {}
        self.now = "idle"
        self.inbox = Inbox(SOURCE)
        self.series = 0
        self.next_image = 0
        self.lost: set[int] = set()
        self.extra: list[int] = []
        self.announce = True
        self.announced_by = SOURCE
        self.channels = ("",)
        self.known = True
        self.failed: dict[str, int] = {}
        self.holding = False
        self.held: list[int] = []
        self.opened: list[Inbox] = []
        self.named: set[tuple[int, str]] = set()
        self.contradicts = False
        self.untrained: tuple[str, ...] = ()
        self.header: dict[str, Any] = {}
        self.ends = True
        self.problems: list[tuple[Problem, ...]] = []  # of the next answers about readiness; behind the last: none

    # the detector
    def state(self) -> str:
        return self.now

    def get(self, name: str, module: str = "detector", kind: str = "config") -> object:
        return {"mode": "enabled"}[name]

    def put(self, name: str, value: object, module: str = "detector") -> None:
        self.config[name] = value

    def arm(self, timeout_s: float | None = None) -> int:
        self._command("arm")
        self.series, self.next_image, self.now = self.series + 1, 0, "ready"
        if self.announce:
            expected = self.config["nimages"] * self.config["ntrigger"]
            self.inbox.put(
                SeriesStarted(self.announced_by, self.uid, self.series, ROUTE, "o", 0, 0, expected, True, self.header),
                {},
            )
        return self.series

    def command(self, name: str, timeout_s: float | None = None) -> None:
        self._command(name)
        if name == "trigger":
            ids = range(self.next_image, self.next_image + self.config["nimages"])
            self.next_image = ids.stop
            for image_id in [*reversed(ids), *self.extra]:
                self._frame(image_id)
            self.extra = []
        elif name in ("disarm", "abort"):
            if self.ends and self.now == "ready":
                self.end_series()
            self.now = "idle"

    def _command(self, name: str) -> None:
        self.diary.append(name)
        self.on_command.get(name, lambda: None)()

    # the data plane
    @property
    def uid(self) -> str:
        return f"uid-{self.series}"

    def open(self) -> Inbox:
        self.inbox = Inbox(SOURCE)
        self.opened.append(self.inbox)
        return self.inbox

    def close(self, inbox: Inbox) -> None:
        self.opened = [one for one in self.opened if one is not inbox]
        inbox.close()

    def ready(self, inbox: Inbox) -> Readiness:
        assert inbox is self.inbox, "the subscriber that has to be present is the one that fills it"
        self.on_command.get("ready", lambda: None)()
        problems = self.problems.pop(0) if self.problems else ()
        return Readiness(SOURCE, 0, problems, "o", "1", 0, {}, {}, (), 0, (), "off", "off", False)

    def triggered(self, series_id: int, images: int, series_uid: str = "") -> bool:
        self.diary.append(("triggered", series_id, images))
        self.named.add((series_id, series_uid))
        self.on_command.get("triggered", lambda: None)()
        return self.known and not self.contradicts

    def account(self, series_id: int, series_uid: str = "") -> AccountNow | None:
        self.diary.append(("account", series_id))
        self.named.add((series_id, series_uid))
        if not self.known:
            return None
        holes = [(one, one + 1) for one in sorted(self.lost)]
        arrivals = {"expected": 1000, "received": 5, "missing": 0, "awaited": 995}
        return AccountNow(self.uid, True, "", arrivals, {"failed": self.failed, "in_flight": 0}, {"": holes})

    def _frame(self, image_id: int) -> None:
        if image_id in self.lost:
            return
        if self.holding:
            self.held.append(image_id)
        else:
            self.deliver(image_id)

    def deliver(self, image_id: int, uid: str | None = None, source: str = SOURCE) -> None:
        for channel in self.channels:
            header = (source, uid or self.uid, self.series, image_id, channel, ROUTE, "m", "1", "", "o", 0, 0, 0)
            self.inbox.put(Result(*header, untrained=self.untrained), {"sum": np.array([float(image_id)])})

    def release(self) -> None:
        self.holding = False
        for image_id in self.held:
            self.deliver(image_id)
        self.held = []

    def end_series(self, reason: str = "end", unexpected: int = 0) -> None:
        verdict = "complete" if not self.lost else "incomplete"
        arrivals = {"received": self.next_image - len(self.lost), "missing": len(self.lost), "unexpected": unexpected}
        account = {"published": self.next_image - len(self.lost)}
        facts = (SOURCE, self.uid, self.series, ROUTE, "o", 9, 0, reason, verdict, arrivals, account, {})
        self.inbox.put(SeriesEnded(*facts), {})


def refuse() -> None:
    raise CommandRefused("PUT http://memory: refused with 500: 'no'")


def silent() -> None:
    raise DetectorError("PUT http://memory: no answer within 1 s")


def gate() -> tuple[threading.Event, threading.Event, Callable[[], None]]:
    """(entered, go, a command handler that tells that it was entered and waits until it may go)."""
    entered, go = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert go.wait(30)

    return entered, go, wait
