"""The client's side of the conversation, without socket, clock or thread: what to send when, and what answers mean.

Theory of operation
-------------------
Everything that was asked for stays here until it is answered, and is sent again in its order: whenever the service
says that the experiment is not open (it was started anew), and every `RESEND_S` without an answer (the connection was
cut, and what it held is gone). The experiment is opened before anything else is sent. All requests may be repeated.

Times are seconds of one monotonic clock.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import msgspec

from edge.agent.messages import CannotSuggest
from edge.steering import wire
from edge.steering.words import Definition

RESEND_S = 1.0
WINDOW = 100
"""Requests that are sent and not answered; more wait for their turn."""
TRANSIENT = ("busy", "disk")
"""Failures after which the same is asked again."""


class AgentGone(RuntimeError):
    """The service did not answer within one's patience."""


class AgentRefused(RuntimeError):
    """The service cannot do what was asked, now or later; the text says why."""


@dataclass(eq=False)
class Asked:
    """A request and who waits for its answer."""

    request: wire.Request
    future: "Future[Any]"
    deadline_s: float
    sent_s: float | None = None  # None: it is to be sent
    trouble: str = ""  # why it was not answered yet, where that is known


@dataclass
class Conversation:
    """What one client and the service have said about one experiment. For one thread."""

    experiment: str
    definition: Definition
    refused: AgentRefused | None = None  # the experiment cannot be opened
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _asked: dict[int, Asked] = field(default_factory=dict)  # by number, in the order of asking
    _opening: Asked | None = None
    _open: bool = False

    @property
    def is_open(self) -> bool:
        """As far as is known."""
        return self._open

    @property
    def waiting(self) -> int:
        """Requests without an answer."""
        return len(self._asked)

    def number(self) -> int:
        """For the next request."""
        return next(self._numbers)

    def ask(self, request: wire.Request, future: "Future[Any]", deadline_s: float) -> None:
        """`future` gets the answer, or AgentGone at the deadline."""
        if self.refused is not None:
            future.set_exception(self.refused)
        else:
            self._asked[request.number] = Asked(request, future, deadline_s)

    def due(self, now_s: float) -> list[Asked]:
        """What is to be sent now, in this order; tell each that was by setting its `sent_s`."""
        if not self._asked:
            return []
        if not self._open:
            if self._opening is None:
                self._opening = Asked(wire.Open(self.number(), self.experiment, self.definition), Future(), 0.0)
            return [self._opening] if _is_due(self._opening, now_s) else []
        return [asked for asked in islice(self._asked.values(), WINDOW) if _is_due(asked, now_s)]

    def heard(self, answer: wire.Answer) -> None:
        """Take in an answer; one that nobody waits for means nothing."""
        if self._opening is not None and answer.number == self._opening.request.number:
            self._heard_of_opening(answer)
            return
        asked = self._asked.get(answer.number)
        if asked is None:
            return
        if isinstance(answer, wire.Failed) and answer.kind == "not_open":
            self._open, self._opening = False, None
        elif isinstance(answer, wire.Failed) and answer.kind in TRANSIENT:
            asked.trouble = answer.text
        else:
            del self._asked[answer.number]
            _settle(asked, answer)

    def expire(self, now_s: float) -> list[Asked]:
        """Give up what has waited long enough."""
        over = [asked for asked in self._asked.values() if now_s >= asked.deadline_s]
        for asked in over:
            del self._asked[asked.request.number]
            trouble = asked.trouble or (self._opening.trouble if self._opening else "")
            asked.future.set_exception(AgentGone(f"the agent's service gave no answer{trouble and f' ({trouble})'}"))
        return over

    def give_up(self) -> None:
        """Nobody waits any longer."""
        self.expire(float("inf"))

    def _heard_of_opening(self, answer: wire.Answer) -> None:
        assert self._opening is not None
        if isinstance(answer, wire.Failed) and answer.kind in (*TRANSIENT, "not_open"):
            self._opening.trouble = answer.text
            return
        self._opening = None
        if isinstance(answer, wire.Opened):
            self._open = True
            for asked in self._asked.values():
                asked.sent_s = None
        elif isinstance(answer, wire.Failed):
            self.refused = AgentRefused(f"experiment {self.experiment!r} cannot be opened: {answer.text}")
            for asked in self._asked.values():
                asked.future.set_exception(self.refused)
            self._asked.clear()


def _is_due(asked: Asked, now_s: float) -> bool:
    return asked.sent_s is None or now_s - asked.sent_s >= RESEND_S


def _settle(asked: Asked, answer: wire.Answer) -> None:
    """Hand over what the answer says."""
    if isinstance(answer, wire.Suggested) and isinstance(asked.request, wire.Ask):
        asked.future.set_result([one.meant() for one in answer.suggestions])
    elif isinstance(answer, wire.Taken) and not isinstance(asked.request, wire.Ask):
        asked.future.set_result(None)
    elif isinstance(answer, wire.Failed):
        asked.future.set_exception(_error(answer))
    else:
        said = type(answer).__name__
        asked.future.set_exception(AgentRefused(f"the service answers {msgspec.to_builtins(asked.request)} by {said}"))


def _error(answer: wire.Failed) -> Exception:
    if answer.kind == "refused":
        return ValueError(answer.text)
    return CannotSuggest(answer.text) if answer.kind == "cannot_suggest" else AgentRefused(answer.text)
