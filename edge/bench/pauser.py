"""Asks a RunEngine to pause at random moments, and takes the time until it is paused.

The moments are a Poisson process: whatever the plan does then, for however short a time, is hit as often as it lasts.
A request is late where this process cannot run the thread that asks (something holds the interpreter); whoever asks
would wait for that too, so it counts: from the moment that was drawn until the state is "paused".
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from bluesky import RunEngine
from bluesky.run_engine import TransitionError  # pyright: ignore[reportPrivateImportUsage]
from bluesky.utils import RunEngineInterrupted

from edge.bench.activity import Watch

GAP_S = 0.4
"""Mean time from a resume to the next request: about one in two points is paused, so the map gets on."""

HOLD_S = 0.1
"""Longest time that a pause is held: some of what ran goes on through the pause, some ends during it."""

GIVE_UP_S = 30.0
"""A request that is not honoured by then counts as this long."""


@dataclass(frozen=True)
class Pause:
    """One request that was honoured. Times in seconds."""

    at_s: float  # from the start of the benchmark until it was due
    doing: str
    learning: bool  # the agent's other thread was training
    from_due_s: float  # from the moment that was drawn until the state was "paused"
    from_call_s: float  # from the call of request_pause


class Pauser:
    """Pauses `engine` until `pauses` are made, from a thread of its own, for as long as the context lasts.

    Args:
        learning: whether the agent trains now.
        hear: called in that thread after each pause.
    """

    def __init__(
        self,
        engine: RunEngine,
        watch: Watch,
        pauses: int,
        rng: np.random.Generator,
        learning: Callable[[], bool],
        hear: Callable[[Pause], None],
    ) -> None:
        self._engine, self._watch, self._pauses = engine, watch, pauses
        self._gaps, self._holds = rng.spawn(2)  # for two threads
        self._learning, self._hear = learning, hear
        self.began_s = time.perf_counter()
        self.made: list[Pause] = []
        self._running, self._paused, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._paused_s = math.nan
        self._thread = threading.Thread(target=self._ask_all, name="pauser")

    @property
    def left(self) -> int:
        return self._pauses - len(self.made)

    def __enter__(self) -> Self:
        self._hook(self._on_state, self._watch)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._running.set()
        self._thread.join()
        self._hook(None, None)

    def run(self, start: Callable[[], object]) -> None:
        """Call `start`, which runs a plan in this thread; resume it after each pause. Raises what ends the plan."""
        carry_on = start
        while True:
            try:
                carry_on()
                return
            except RunEngineInterrupted:
                if self._engine.state != "paused":  # Ctrl-C in this thread
                    raise KeyboardInterrupt from None
            self._ended.wait(self._holds.uniform(0.0, HOLD_S))
            carry_on = self._engine.resume

    def _hook(self, on_state: Callable[[str, str], None] | None, on_message: Watch | None) -> None:
        engine: Any = self._engine  # which declares its hooks as None
        engine.state_hook, engine.msg_hook = on_state, on_message

    def _on_state(self, state: str, before: str) -> None:
        """On the RunEngine's loop, or where it is resumed."""
        if state == "paused":
            self._paused_s = time.perf_counter()
            self._paused.set()
        if state == "running":
            self._running.set()
        else:
            self._running.clear()

    def _ask_all(self) -> None:
        while self.left:
            self._running.wait()
            due_s = time.perf_counter() + self._gaps.exponential(GAP_S)
            if self._ended.wait(due_s - time.perf_counter()):
                return
            if self._running.is_set() and self._watch.run_open:
                self._ask(due_s)

    def _ask(self, due_s: float) -> None:
        doing, learning = self._watch.activity(due_s), self._learning()
        self._paused.clear()
        called_s = time.perf_counter()
        try:
            self._engine.request_pause(defer=False)
        except TransitionError:  # the run ended in this moment
            return
        paused_s = self._paused_s if self._paused.wait(GIVE_UP_S) else called_s + GIVE_UP_S
        made = Pause(due_s - self.began_s, doing, learning, paused_s - due_s, paused_s - called_s)
        self.made.append(made)
        self._hear(made)
