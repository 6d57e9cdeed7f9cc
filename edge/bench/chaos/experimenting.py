"""The agent's client: experiments of a few points each, one after the other, through all restarts of the service."""

import random
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import TypeVar

from edge.agent.messages import Observation
from edge.agent.space import Axis, Space
from edge.steering.client import RemoteAgent
from edge.steering.conversation import AgentGone

T = TypeVar("T")
POINTS = 24
EVERY_S = 0.2
WAIT_S = 1.0
SPACE = Space((Axis("x", 0.0, 10.0), Axis("y", -5.0, 5.0)))


class Experiment(threading.Thread):
    """Asks where to measure and tells what was measured, until it is stopped."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(name="experiment", daemon=True)
        self._address, self._name = address, name
        self.stopping = threading.Event()
        self.answered_s = 0.0  # when the newest question was asked that was answered, monotonic
        self.points = 0
        self.experiments = 0
        self.failures: list[str] = []  # answers that should not have been

    def run(self) -> None:
        """See the class."""
        while not self.stopping.is_set():
            self.experiments += 1
            with RemoteAgent(self._address, f"{self._name}-{self.experiments}", SPACE, seed=self.experiments) as agent:
                self._measure(agent)

    def _measure(self, agent: RemoteAgent) -> None:
        dice = random.Random(self.experiments)
        told: dict[str, Observation] = {}
        for number in range(POINTS):
            asked_s = time.monotonic()
            found = self._answer(agent.request(f"point-{number}"))
            if found is None:
                return
            (suggestion,) = found
            if suggestion.observations < len(told):
                self.failures.append(f"{len(told)} observations were taken, the agent knows {suggestion.observations}")
            at = dict(suggestion.position)
            one = Observation(f"observation-{number}", at, dice.uniform(0, 100), 1.0, suggestion.id)
            self._answer(agent.ingest([one]))
            told[one.id] = one
            self.answered_s = asked_s
            self.points += 1
            self.stopping.wait(EVERY_S)

    def _answer(self, future: "Future[T]") -> T | None:
        """What it holds in the end; None where we are to stop."""
        while not self.stopping.is_set():
            try:
                return future.result(WAIT_S)
            except TooLate:
                continue
            except (AgentGone, RuntimeError) as error:
                self.failures.append(str(error))
                return None
        return None
