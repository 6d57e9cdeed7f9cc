"""The canaries of one life of a server: asked before it is ready, and again while it serves."""

import time
from dataclasses import dataclass

import numpy as np

from edge.inference import canary
from edge.inference.client import InferenceClient
from edge.inference.errors import CanaryError
from edge.inference.events import Plan, Transport
from edge.inference.repository import version_folder
from edge.inference.shared_memory import Region


@dataclass(frozen=True)
class _Canary:
    model: str
    expected: dict[str, np.ndarray]
    region: Region | None


class Canaries:
    """One for each variant of each model of `plan`, with memory of their own where frames travel by memory."""

    def __init__(self, client: InferenceClient, plan: Plan, transport: Transport) -> None:
        """Nothing is read or asked yet."""
        self._client = client
        self._plan = plan
        self._transport = transport
        self._canaries: list[_Canary] = []
        self._asked: list[canary.Asked] = []
        self.since_ns = 0
        """When they were last asked, on the monotonic clock."""

    def check(self) -> None:
        """Read, ask and wait, one after the other.

        Raises CanaryError where an answer is wrong or there is no canary, SharedMemoryError where there is no
        room, InferenceError where the server goes away meanwhile.
        """
        for served in self._plan.models:
            folder = version_folder(served.spec.name, source=self._plan.source)
            for itemsize in served.itemsizes:
                expected = canary.read_canary(folder, served.spec, itemsize)
                model = served.spec.variant(itemsize)
                made = _Canary(model, expected, self._region(model, expected))
                self._canaries.append(made)
                canary.check(self._client, model, expected, made.region)

    def ask(self) -> None:
        """Send all of them, unless some are on their way."""
        if not self._asked:
            self.since_ns = time.monotonic_ns()
            self._asked = [
                canary.Asked(self._client, each.model, each.expected, each.region) for each in self._canaries
            ]

    @property
    def pending(self) -> bool:
        """Whether some were sent and have not been found right."""
        return bool(self._asked)

    @property
    def waiting(self) -> list[str]:
        """Models that have not answered."""
        return [each.model for each in self._asked]

    def settle(self, deadline_s: float) -> None:
        """Take the answers that have come. Raises CanaryError for a wrong one, or after `deadline_s` without one."""
        self._asked = [each for each in self._asked if not each.settled(0.0)]
        if self._asked and time.monotonic_ns() - self.since_ns > deadline_s * 1e9:
            raise CanaryError(f"{self._asked[0].model} did not answer its canary within {deadline_s:g} s")

    def close(self) -> None:
        """Give their memory back. Idempotent."""
        for each in self._canaries:
            if each.region is not None:
                each.region.close()
        self._canaries.clear()

    def _region(self, model: str, expected: canary.Arrays) -> Region | None:
        if self._transport == "inline":
            return None
        region = Region(f"{self._plan.namespace.prefix}-r-canary-{model}", canary.region_bytes(expected))
        try:
            self._client.register(region)
        except BaseException:
            region.close()
            raise
        return region
