"""Several services that need each other: who may start, who may stop, when all is over. Pure, as its parts are."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.supervision.machine import FINAL, WITH_PROCESS, Backoff, Event, Life, Order, Service, State


@dataclass(frozen=True)
class Change:
    """A service came to another state, or to another reason for it."""

    service: str
    state: State
    reason: str


class Group:
    """The services of one `edge up`.

    A service is started when all that it needs are ready, and stopped when all that need it have ended. A later end
    of what it needs does not touch it: it has to live with that.

    Args:
        services: those that are needed before those that need them.

    Raises:
        ValueError: a service needs one that does not stand before it.
    """

    def __init__(self, services: Sequence[Service], now: float, backoff: Backoff | None = None) -> None:
        backoff = backoff or Backoff()
        self.lives = {service.name: Life(service, now, backoff) for service in services}
        names = list(self.lives)
        for at, service in enumerate(services):
            if not set(service.needs) <= set(names[:at]):
                raise ValueError(f"{service.name} needs {', '.join(service.needs)}; they must stand before it")
        self.stopping = False
        self.failure = ""
        """Why everything ends, where nobody asked for it."""
        self._told: dict[str, tuple[State, str]] = {}

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing will."""
        return all(life.state in FINAL for life in self.lives.values())

    @property
    def all_ready(self) -> bool:
        return all(life.state is State.READY for life in self.lives.values())

    @property
    def deadline(self) -> float | None:
        """When to call `advance` at the latest, though nothing happened."""
        return min((life.deadline for life in self.lives.values() if life.deadline is not None), default=None)

    def advance(self, now: float) -> list[tuple[str, Order]]:
        """What time and the states of the others bring about; what has to be done to whose process."""
        orders = []
        for name, life in self.lives.items():
            if life.deadline is not None and now >= life.deadline:
                orders.append((name, life.late(now)))
            if life.state is State.FAILED and not self.failure and not self.stopping:
                self.failure = f"{name} {life.reason}"
                self.stopping = True
        for name, life in reversed(self.lives.items()):
            if self.stopping and life.wanted and all(each.state in FINAL for each in self._needing(name)):
                orders.append((name, life.take(Event.STOP, now)))
        for name, life in self.lives.items():
            if not self.stopping and all(self.lives[each].state is State.READY for each in life.service.needs):
                orders.append((name, life.take(Event.NEEDS_MET, now)))
        return [(name, order) for name, order in orders if order is not None]

    def put_off(self, seconds: float) -> None:
        """So long the supervisor itself did not run, and neither may its services have: nobody is late by that."""
        for life in self.lives.values():
            if life.deadline is not None and life.state in WITH_PROCESS:
                life.deadline += seconds

    def said(self, name: str, event: Event, now: float) -> None:
        """A word of its process: SAID_READY, BEAT or SAID_STOPPING."""
        self.lives[name].take(event, now)

    def ended(self, name: str, code: int | None, now: float, words: str = "") -> None:
        """Its process is gone; see `Life.ended`."""
        self.lives[name].ended(code, now, words)

    def stop(self) -> None:
        """End everything in order, from the next `advance` on."""
        self.stopping = True

    def stop_now(self, now: float) -> list[tuple[str, Order]]:
        """End everything at once."""
        self.stopping = True
        orders = [(name, life.take(Event.STOP_NOW, now)) for name, life in self.lives.items()]
        return [(name, order) for name, order in orders if order is not None]

    def changes(self) -> list[Change]:
        """What is new since the last call."""
        found = []
        for name, life in self.lives.items():
            if self._told.get(name) != (life.state, life.reason):
                self._told[name] = (life.state, life.reason)
                found.append(Change(name, life.state, life.reason))
        return found

    def running(self) -> list[str]:
        """Services that have a process."""
        return [name for name, life in self.lives.items() if life.state in WITH_PROCESS]

    def _needing(self, name: str) -> list[Life]:
        return [life for life in self.lives.values() if name in life.service.needs]
