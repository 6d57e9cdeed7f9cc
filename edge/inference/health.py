"""Whether a server that is ready still is: asked for its readiness, and again for its models' right answers.

Readiness alone says little: a model whose process is out of memory, or has gone, still is "ready".
"""

import logging
import time
from collections import deque

from edge.inference.bring_up import load
from edge.inference.canaries import Canaries
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.events import Plan
from edge.inference.labour import Labour
from edge.inference.requests import InferenceError

LOG = logging.getLogger(__name__)

PENDING_POLL_S = 0.02
DOUBTS = 5
DOUBTS_WITHIN_S = 60.0
"""So many checks for failed requests in this time, though each was passed: what fits a canary may not fit a batch."""
REMEDY_EVERY_S = 300.0
"""Models are not started anew for that more often: it may be the frames after all."""


class Doubts:
    """Checks that were asked for and passed, over all lives of the server. Pure: the caller says what time it is."""

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=DOUBTS)
        self._remedied: float | None = None

    def passed(self, now_s: float) -> bool:
        """One more; True where there were too many, so that the models should be started anew."""
        self._at.append(now_s)
        many = len(self._at) == DOUBTS and now_s - self._at[0] <= DOUBTS_WITHIN_S
        lately = self._remedied is not None and now_s - self._remedied < REMEDY_EVERY_S
        if not many or lately:
            return False
        self._remedied = now_s
        self._at.clear()
        return True


class Health:
    """Asks one life of the server, when it is due; nothing here waits longer than a probe's deadline or a load."""

    def __init__(self, client: InferenceClient, plan: Plan, canaries: Canaries, doubts: Doubts, labour: Labour) -> None:
        self._client = client
        self._plan = plan
        self._canaries = canaries
        self._doubts = doubts
        self._labour = labour
        self._misses = 0
        self._doubted = False
        self._asked_in_doubt = False
        self._checked_ns: int | None = None
        self._probed_s = self._asked_s = time.monotonic()
        self.sick = False
        """Whether a model, or one of its processes, is not as it should be: found again, it must be loaded anew."""

    def next_s(self) -> float:
        """How long nothing is due."""
        if self._misses:
            return 0.0
        return PENDING_POLL_S if self._canaries.pending else self._plan.timing.probe_every_s

    def trouble(self) -> str:
        """Why the server serves no more; empty where it does."""
        if self._client.suspect:
            self.sick = True
            return self._client.suspect
        try:
            self._probe()
            self._check()
        except InferenceError as error:
            self._misses += 1
            # At an address of somebody else's there may be another server when it answers again.
            enough = self._plan.url is not None or self._misses >= self._plan.timing.misses
            return f"it does not answer: {error}" if enough else ""
        except ServerError as error:
            cause = error.__cause__
            self.sick = not (isinstance(cause, InferenceError) and cause.kind == "unavailable")
            return str(error)
        return ""

    def take_checked_ns(self) -> int | None:
        """When the canary was sent that was asked for by a doubt and has passed since the last call; else None."""
        checked, self._checked_ns = self._checked_ns, None
        return checked

    def _probe(self) -> None:
        """Raises InferenceError where the server does not answer, ServerError where a model cannot be had back."""
        if not self._misses and not self._due(self._probed_s, self._plan.timing.probe_every_s):
            return
        timing = self._plan.timing
        deadline_s = timing.probe_deadline_s if self._plan.url is None else timing.foreign_deadline_s
        for served in self._plan.models:
            for model in served.variants():
                if not self._client.model_ready(model, deadline_s):
                    self._revive(model)
        self._misses = 0
        self._probed_s = time.monotonic()

    def _revive(self, model: str) -> None:
        """Somebody unloaded it. Whoever does not own the server looks for it anew: it may be another one."""
        if not self._plan.owned:
            raise ServerError(f"{model} is not ready any more")
        LOG.warning("%s is not ready any more: it is loaded again", model)
        load(self._client, model, self._plan)
        self._asked_s = -float("inf")

    def _check(self) -> None:
        """Ask the canaries where that is due, take their answers. Raises ServerError, CanaryError."""
        timing = self._plan.timing
        self._doubted = bool(self._client.take_doubt()) or self._doubted
        if self._canaries.pending:
            self._canaries.settle(self._patience_s())
            if not self._canaries.pending and self._asked_in_doubt:
                self._cleared()
        if not self._canaries.pending and (
            self._doubted or (self._plan.owned and self._due(self._asked_s, timing.canary_every_s))
        ):
            self._asked_in_doubt, self._doubted = self._doubted, False
            self._asked_s = time.monotonic()
            self._canaries.ask()

    def _patience_s(self) -> float:
        """How long the canaries on their way may take: one that waits behind a large batch is late, not lost."""
        now_s = time.monotonic()
        hung = [model for model in self._canaries.waiting if not self._labour.at_work(model, now_s)]
        return self._plan.timing.canary_deadline_s if hung else self._plan.timing.client_timeout_s

    def _cleared(self) -> None:
        if self._doubts.passed(time.monotonic()):
            raise ServerError("requests keep failing although the models pass their canaries")
        self._checked_ns = self._canaries.since_ns

    def _due(self, since_s: float, every_s: float) -> bool:
        return time.monotonic() - since_s >= every_s
