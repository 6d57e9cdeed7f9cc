"""Asks the agent for the next position while the present one is measured, and copes with an agent that does not answer.

Plain code between the messages of a plan: nothing here waits.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from edge.agent.messages import Observation, Suggestion
from edge.experiment.errors import AgentFailed
from edge.experiment.waiting import Factory, settled

log = logging.getLogger(__name__)

FAILURES_ALLOWED = 3
"""Errors of the agent in a row, or refused observations, before the plan gives up; a late answer is no error."""


class Agent(Protocol):
    """What a plan needs of an agent: `edge.agent.service.AgentService` has it. No call blocks."""

    def request(self, key: str, n: int = 1) -> "Future[list[Suggestion]]": ...
    def ingest(self, observations: Sequence[Observation]) -> "Future[None]": ...
    def abandon(self, suggestion_ids: Sequence[str]) -> "Future[None]": ...


@dataclass(frozen=True)
class Proposal:
    """The position to measure next."""

    position: Mapping[str, float]
    suggestion: Suggestion | None  # None: a fallback
    thinking_s: float  # from the request to the answer
    waited_s: float  # how long the plan had nothing else to do
    age_s: float  # from the answer until it was taken
    reason: str = ""  # why a fallback


@dataclass
class _Asked:
    future: "Future[list[Suggestion]]"
    asked_s: float
    answered_s: float = 0.0


class Suggesting:
    """The conversation with the agent during one run.

    Args:
        run_uid: makes the requests unique.
        timeout_s: how long the plan may wait for an answer once it needs it.
        fallback: positions for when there is none.
    """

    def __init__(self, agent: Agent, run_uid: str, timeout_s: float, fallback: Sequence[Mapping[str, float]]) -> None:
        self._agent, self._run_uid, self._timeout_s = agent, run_uid, timeout_s
        self._fallback = iter(fallback)
        self._requests = 0
        self._failures = 0
        self._refusals = 0  # in a row; written by the agent's thread
        self._refused: BaseException | None = None  # the last
        self._asked: _Asked | None = None
        self._needed_s: float | None = None
        self._out: set[str] = set()

    def ask(self) -> None:
        """Request the next position, unless an earlier request is still out: its answer will do."""
        if self._asked is not None:
            return
        self._requests += 1
        try:
            future = self._agent.request(f"{self._run_uid}/{self._requests}")
        except RuntimeError as error:
            raise AgentFailed(f"the agent takes no requests: {error}") from error
        asked = self._asked = _Asked(future, time.monotonic())
        future.add_done_callback(lambda _: setattr(asked, "answered_s", time.monotonic()))

    def answered(self) -> Factory:
        """A factory for the message wait_for: until the agent has answered, or the time since the first call is up."""
        self.ask()
        assert self._asked is not None
        if self._needed_s is None:
            self._needed_s = time.monotonic()
        return settled(self._asked.future, self._needed_s + self._timeout_s)

    def take(self) -> Proposal | None:
        """What to measure next; None where the agent has nothing left.

        Raises:
            AgentFailed: no answer, and no fallback is left; or errors only; or it learns nothing any more.
        """
        self._check_learning()
        asked, now = self._asked, time.monotonic()
        assert asked is not None
        waited_s = 0.0 if self._needed_s is None else now - self._needed_s
        self._needed_s = None
        if not asked.future.done():  # still out: its answer is for the next point
            return self._instead(f"no answer within {self._timeout_s:g} s", now - asked.asked_s, waited_s)
        self._asked = None
        answered_s = asked.answered_s or now  # a future is done before it calls back
        thinking_s = answered_s - asked.asked_s
        error = _error(asked.future)
        if error is not None:
            self._fail(error)
            return self._instead(f"{type(error).__name__}: {error}", thinking_s, waited_s)
        self._failures = 0
        suggestions = asked.future.result()
        if not suggestions:
            return None
        suggestion = suggestions[0]
        self._out.update(one.id for one in suggestions)
        return Proposal(suggestion.position, suggestion, thinking_s, waited_s, now - answered_s)

    def ingest(self, observation: Observation) -> None:
        """Hand the agent what was measured."""
        self._out.discard(observation.suggestion_id or "")
        self._agent.ingest([observation]).add_done_callback(partial(self._ingested, observation))

    def finish(self) -> None:
        """Whatever was suggested and not measured will not be."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.future.add_done_callback(self._came_too_late)
        self._abandon(tuple(self._out))
        self._out.clear()

    def _fail(self, error: BaseException) -> None:
        self._failures += 1
        log.warning("the agent failed (%d in a row): %s", self._failures, error)
        if self._failures >= FAILURES_ALLOWED:
            raise AgentFailed(
                f"the agent failed {self._failures} times in a row, the last time with: {error}"
            ) from error

    def _check_learning(self) -> None:
        if self._refusals >= FAILURES_ALLOWED:
            raise AgentFailed(
                f"the agent refused {self._refusals} observations in a row (their events are kept), the last with: "
                f"{self._refused}; do the actuators read what they were sent to, in the units of the agent's axes?"
            ) from self._refused

    def _instead(self, reason: str, thinking_s: float, waited_s: float) -> Proposal:
        position = next(self._fallback, None)
        if position is None:
            raise AgentFailed(f"the agent gave no suggestion ({reason}), and no fallback position is left")
        log.warning("measuring a fallback position: %s", reason)
        return Proposal(position, None, thinking_s, waited_s, 0.0, reason)

    def _ingested(self, observation: Observation, future: "Future[None]") -> None:
        error = self._refused = _error(future)
        self._refusals = 0 if error is None else self._refusals + 1
        if error is not None:
            log.error("the agent did not take observation %s (its event is kept): %s", observation.id, error)
            if observation.suggestion_id is not None:
                self._abandon((observation.suggestion_id,))

    def _came_too_late(self, future: "Future[list[Suggestion]]") -> None:
        if _error(future) is None:
            self._abandon(tuple(one.id for one in future.result()))

    def _abandon(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        try:
            self._agent.abandon(ids)
        except RuntimeError as error:  # it was closed: nobody needs to be told
            log.info("not told to the agent that %s are abandoned: %s", ids, error)


def _error(future: "Future[Any]") -> BaseException | None:
    return CancelledError("the agent was closed") if future.cancelled() else future.exception()
