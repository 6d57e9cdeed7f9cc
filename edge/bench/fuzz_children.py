"""The child processes of the fuzzer: they get work, and one that dies or stands still is replaced."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from edge.bench.fuzz_child import Done, Finding, Work, child

PATIENCE = 10
"""How many times `hang_s` a child may be at one input by the clock: others want the processor too."""

BATCH = 256
"""Inputs that one reader sees, one after the other."""

POLL_S = 0.2


@dataclass(frozen=True)
class How:
    """What children are told when they start, and how long one may be at one input."""

    targets: str  # "module:function"
    seed: int
    values: Sequence[Any]  # to be put into documents
    processes: int
    hang_s: float  # processor time


class _Child:
    """A process, its link, and what it is at."""

    def __init__(self, how: How) -> None:
        context = multiprocessing.get_context("spawn")
        self.now = context.Value("l", -1, lock=False)
        self.link, theirs = context.Pipe()
        arguments = (theirs, self.now, how.targets, how.seed, how.values, BATCH, how.hang_s)
        self.process = context.Process(target=child, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.work: Work | None = None
        self.seen, self.since = -1, time.monotonic()

    def stands_still(self, hang_s: float) -> bool:
        """Whether it has been at the same input for too long."""
        at = self.now.value
        if at != self.seen or at < 0:
            self.seen, self.since = at, time.monotonic()
        return time.monotonic() - self.since > hang_s


class Children:
    """The processes; a dead one is replaced."""

    def __init__(self, how: How) -> None:
        self._how = how
        self._children = [_Child(how) for _ in range(how.processes)]

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._children:
            one.process.kill()
            one.process.join()
            one.link.close()

    def give(self, take: Callable[[], Work | None]) -> bool:
        """Give work to those that have none; False where nobody has any."""
        for one in self._children:
            if one.work is None and (work := take()) is not None:
                one.work = work
                one.seen, one.since = -1, time.monotonic()
                one.link.send(work)
        return any(one.work for one in self._children)

    def results(self) -> Iterator[Done | tuple[Work, Finding]]:
        """What is ready within a moment: work that is done, or broken off by an input."""
        ready = wait([one.link for one in self._children if one.work], POLL_S)
        for at, one in enumerate(self._children):
            if one.link not in ready:
                continue
            try:
                done: Done = one.link.recv()
            except (EOFError, ConnectionResetError):
                yield self._broken(at, "")
                continue
            one.work = None
            yield done
        for at, one in enumerate(self._children):
            if one.work and one.stands_still(PATIENCE * self._how.hang_s):
                yield self._broken(at, "hang")

    def _broken(self, at: int, kind: str) -> tuple[Work, Finding]:
        """Replace a child that died (kind "") or hangs; blame the input that it had at hand."""
        one = self._children[at]
        if kind:
            one.process.kill()
        one.process.join()
        one.link.close()
        work, index, code = one.work, one.now.value, one.process.exitcode
        assert work is not None
        self._children[at] = _Child(self._how)
        if index < 0:
            raise RuntimeError(
                f"a child of the fuzzer ended ({_exit(code)}) before it took an input of {work.target} in"
            )
        text = f"not finished after {PATIENCE * self._how.hang_s:g} s" if kind else f"the process ended: {_exit(code)}"
        return work, Finding(work.target, work.batch, index, work.first, kind or "crash", text)


def _exit(code: int | None) -> str:
    return signal.strsignal(-code) or str(code) if code is not None and code < 0 else f"exit code {code}"
