"""An agent on threads of its own, so that nobody has to wait for its thoughts: one thread thinks, one learns.

The thinking thread does what it is told in the order of the calls. The learning thread gets a snapshot, trains length
scales and builds a new surrogate; the thinking thread takes that over between two jobs, so that no request waits for
training. All calls return at once and are safe from any thread.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Event, RLock
from types import TracebackType
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from edge.agent.hyperparameters import TrainingStopped
from edge.agent.messages import Agent, Observation, Suggestion
from edge.agent.training import Trained, Training

LOG = logging.getLogger(__name__)

T = TypeVar("T")

CLOSE_S = 5.0
"""How long `close` waits for an agent that is in the middle of a thought."""
MOST_KEYS = 10_000
THOUGHTS = 10_000


class ServiceClosed(RuntimeError):
    """What a future holds whose turn never came."""


@runtime_checkable
class Trainable(Protocol):
    """An agent that can leave its training to somebody else."""

    def training_due(self) -> Training | None:
        """A job for another thread, if it is time for one; each is handed out once."""
        ...

    def adopt(self, trained: Trained) -> None:
        """Think with what the job returned from now on."""
        ...


@runtime_checkable
class Keyed(Protocol):
    """An agent that remembers what it suggested for which request."""

    def suggest_for(self, key: str, n: int) -> list[Suggestion]:
        """As `Agent.suggest`; the same again for the same key."""
        ...


class AgentService:
    """Runs `agent` until it is closed. Nobody else may touch the agent in between."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._thinking = ThreadPoolExecutor(1, thread_name_prefix="agent-thinks")
        self._learning = ThreadPoolExecutor(1, thread_name_prefix="agent-learns")
        # Of the three below. A job that is done at once calls back on the thread that holds it.
        self._lock = RLock()
        self._closed = False
        self._requests: OrderedDict[str, Future[list[Suggestion]]] = OrderedDict()
        self._jobs: set[Future[None]] = set()  # of both threads, not yet done
        self._stop = Event()
        self._training = False  # written by the thinking thread only
        self._seconds: deque[float] = deque(maxlen=THOUGHTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def learning(self) -> bool:
        """Whether a training is under way, up to its being taken over."""
        return self._training

    @property
    def suggest_ms(self) -> dict[str, float]:
        """Percentiles of the time that the agent took for a request, in ms: p50, p99; NaN before the first."""
        seconds = list(self._seconds)
        p50, p99 = np.percentile(seconds, (50, 99)) * 1e3 if seconds else (float("nan"), float("nan"))
        return {"p50": float(p50), "p99": float(p99)}

    def request(self, key: str, n: int = 1) -> Future[list[Suggestion]]:
        """`n` suggestions, given all that was ingested before. The same key gives the same future, unless that failed.

        The future cannot be cancelled: a plan that was paused asks again with the same key and loses nothing. It holds
        the agent's exception, or ServiceClosed. Raises RuntimeError after `close`.
        """
        with self._lock:
            if key not in self._requests or _failed(self._requests[key]):
                self._requests[key] = self._do(lambda: self._suggest(key, n))
                if len(self._requests) > MOST_KEYS:
                    self._requests.popitem(last=False)
            return self._requests[key]

    def ingest(self, observations: Sequence[Observation]) -> Future[None]:
        """Hand over what was measured; the future holds the agent's ValueError where it refused it."""
        taken = tuple(observations)
        with self._lock:
            answer = self._do(lambda: self._agent.ingest(taken))
            # A job of its own: whatever is wrong with training, the observations are taken.
            self._submit(self._thinking, self._train, partial(_report, "begin to train"))
            return answer

    def abandon(self, suggestion_ids: Sequence[str]) -> Future[None]:
        """These will not be measured."""
        taken = tuple(suggestion_ids)
        with self._lock:
            return self._do(lambda: self._agent.abandon(taken))

    def close(self) -> None:
        """Finish what was asked for (the last observation is taken), stop learning, and end both threads.

        Takes `CLOSE_S` at most, however long the agent thinks; what then still waits gets ServiceClosed.
        """
        with self._lock:
            self._closed = True
        self._stop.set()
        self._learning.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            left = set(self._jobs)
        unfinished = wait(left, CLOSE_S).not_done
        self._thinking.shutdown(wait=False, cancel_futures=True)
        if unfinished:
            LOG.warning("the agent still thinks after %g s; its thread is left to end by itself", CLOSE_S)
            return
        self._thinking.shutdown()
        self._learning.shutdown()

    def _do(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` on the thinking thread, after all that was asked for before."""
        if self._closed:
            raise RuntimeError("the agent service is closed: start a new one")
        answer: Future[T] = Future()
        answer.set_running_or_notify_cancel()  # asyncio.wrap_future would pass a cancellation on
        self._submit(self._thinking, call, lambda done: _pass_on(done, answer))
        return answer

    def _submit(self, pool: ThreadPoolExecutor, call: Callable[[], T], then: Callable[[Future[T]], None]) -> None:
        job = pool.submit(call)
        self._jobs.add(job)  # type: ignore[arg-type]
        job.add_done_callback(self._jobs.discard)
        job.add_done_callback(then)

    def _suggest(self, key: str, n: int) -> list[Suggestion]:
        began = time.perf_counter()
        found = self._agent.suggest_for(key, n) if isinstance(self._agent, Keyed) else self._agent.suggest(n)
        self._seconds.append(time.perf_counter() - began)
        return found

    def _train(self) -> None:
        if not self._training and isinstance(self._agent, Trainable):
            training = self._agent.training_due()
            if training is not None:
                self._training = True
                with self._lock:
                    if not self._closed:
                        self._submit(self._learning, lambda: training.run(self._stop.is_set), self._learned)

    def _learned(self, done: Future[Trained]) -> None:
        """On the learning thread: hand over to the thinking one."""
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, TrainingStopped):
            LOG.error("training of the length scales failed; the old ones stay", exc_info=error)
        with self._lock:
            if not self._closed:
                self._submit(self._thinking, lambda: self._take_over(done), partial(_report, "take over its training"))

    def _take_over(self, done: Future[Trained]) -> None:
        self._training = False
        if done.exception() is None and isinstance(self._agent, Trainable):
            self._agent.adopt(done.result())


def _pass_on(done: Future[T], answer: Future[T]) -> None:
    if done.cancelled():
        answer.set_exception(ServiceClosed("the agent service was closed before it came to this"))
    elif (error := done.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


def _failed(future: Future[T]) -> bool:
    return future.done() and future.exception() is not None


def _report(what: str, done: Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        LOG.error("the agent could not %s; it goes on with what it knew before", what, exc_info=error)
