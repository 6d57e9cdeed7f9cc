"""The experiments that a service has in memory. Each can be put aside at any time: its log brings it back."""

import fcntl
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from edge.agent.service import AgentService
from edge.steering.log import SUFFIX, ExperimentLog, LogError, LogFull
from edge.steering.recorded import RecordedAgent
from edge.steering.words import Definition

LOG = logging.getLogger(__name__)

T = TypeVar("T")

MOST_OPEN = 4
"""Each may take a gigabyte when it is full, and two threads."""
MOST_LOGS = 10_000
"""In one folder."""


class Differs(ValueError):
    """The experiment is there with another definition."""


class Busy(RuntimeError):
    """Too much is going on; ask again later."""


class Experiment:
    """One that is open: an agent on its threads, which writes its log."""

    def __init__(self, definition: Definition, agent: RecordedAgent, log: ExperimentLog) -> None:
        self.definition = definition
        self.agent = agent
        self.service = AgentService(agent)
        self._log = log
        self._lock = threading.Lock()
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Jobs that are not finished."""
        return self._in_flight

    def follow(self, job: Future[T]) -> Future[T]:
        """Count `job` until it is done."""
        with self._lock:
            self._in_flight += 1
        job.add_done_callback(lambda _: self._finished())
        return job

    def close(self) -> None:
        """Finish what was asked for; nothing is written from then on."""
        self.service.close()
        self._log.close()

    def _finished(self) -> None:
        with self._lock:
            self._in_flight -= 1


class Experiments:
    """Opens and closes experiments on a thread of its own; all calls return at once. For one calling thread.

    Args:
        folder: of the logs; made where it is missing, and locked.

    Raises:
        LogError: another service has the folder.
        OSError: it cannot be made or written.
    """

    def __init__(self, folder: Path, most_open: int = MOST_OPEN) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._folder = folder
        self._most_open = most_open
        self._claim = _claim(folder)
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="agent-opens")
        self._lock = threading.RLock()  # of the two below
        self._opening: dict[str, tuple[Definition, Future[Experiment]]] = {}
        self._open: OrderedDict[str, Experiment] = OrderedDict()  # the longest unused first

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that are open."""
        with self._lock:
            return tuple(self._open)

    def get(self, name: str) -> Experiment | None:
        """The experiment, if it is open."""
        with self._lock:
            found = self._open.get(name)
            if found is not None:
                self._open.move_to_end(name)
            return found

    def open(self, name: str, definition: Definition) -> Future[Experiment]:
        """Open or begin an experiment; where too many are open, the longest unused is put aside.

        The future holds Differs; Busy, where all others are at work; LogFull, where the folder is; LogError, OSError
        or ValueError, where the log cannot be used or the definition makes no sense.
        """
        with self._lock:
            found = self._open.get(name)
            if found is not None:
                return _settled(lambda: _same(name, found, definition))
            if name in self._opening:
                wanted, opening = self._opening[name]
                return opening if wanted == definition else _settled(lambda: _differs(name))
            if not self._make_room():
                return _settled(lambda: _busy(self._most_open))
            future = self._opener.submit(self._make, name, definition)
            self._opening[name] = (definition, future)
        future.add_done_callback(lambda done: self._made(name, done))
        return future

    def close(self, name: str) -> Future[None]:
        """Put an experiment aside, where it is open."""
        with self._lock:
            found = self._open.pop(name, None)
            return self._opener.submit(found.close if found else lambda: None)

    def end(self) -> None:
        """Put all aside, at the same time: one that still thinks takes `edge.agent.service.CLOSE_S`."""
        if self._claim < 0:
            return
        with self._lock:
            for _, opening in self._opening.values():
                opening.cancel()
        self._opener.shutdown()
        with self._lock:
            left = list(self._open.values())
            self._open.clear()
        closers = [threading.Thread(target=one.close, name="agent-closes") for one in left]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
        os.close(self._claim)
        self._claim = -1

    def _make_room(self) -> bool:
        """Whether one more may be opened."""
        if len(self._open) + len(self._opening) < self._most_open:
            return True
        idle = next((name for name, one in self._open.items() if not one.in_flight), None)
        if idle is None:
            return False
        LOG.info("experiment %s is put aside: %d are open", idle, self._most_open)
        self.close(idle)
        return True

    def _make(self, name: str, definition: Definition) -> Experiment:
        """On the opener's thread: what was put aside before is closed by now."""
        path = self._folder / f"{name}{SUFFIX}"
        if not path.exists() and sum(1 for _ in self._folder.iterdir()) > MOST_LOGS:
            raise LogFull(f"{self._folder} has {MOST_LOGS} logs, the most there may be: move old ones away")
        definition.check()  # before anything is begun
        log = ExperimentLog(path, name, definition)
        try:
            if log.definition != definition:
                _differs(name)
            recorded = _resumed(name, log)
        except BaseException:
            log.close()
            raise
        LOG.info("experiment %s: %d observations in its log", name, recorded.counts[0])
        return Experiment(definition, recorded, log)

    def _made(self, name: str, done: Future[Experiment]) -> None:
        with self._lock:
            del self._opening[name]
            if not done.cancelled() and done.exception() is None:
                self._open[name] = done.result()


def _resumed(name: str, log: ExperimentLog) -> RecordedAgent:
    try:
        return RecordedAgent(name, log)
    except ValueError as error:
        raise LogError(f"{log.path} is not the log of such an agent ({error}): move it away to begin anew") from error


def _claim(folder: Path) -> int:
    """A file that this process has locked for as long as it lives."""
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise LogError(f"another `edge agent serve` uses {folder}: stop it, or set another agent.folder") from None
    return fd


def _same(name: str, found: Experiment, definition: Definition) -> Experiment:
    return found if found.definition == definition else _differs(name)


def _differs(name: str) -> Experiment:
    raise Differs(
        f"experiment {name!r} was begun with another space, seed or options: go on with those, or choose another name"
    )


def _busy(most: int) -> Experiment:
    raise Busy(f"{most} experiments are open and all at work, the most there may be")


def _settled(call: Callable[[], T]) -> Future[T]:
    """What `call` returns or raises, as a future that is done."""
    done: Future[T] = Future()
    try:
        done.set_result(call())
    except (ValueError, RuntimeError) as error:
        done.set_exception(error)
    return done
