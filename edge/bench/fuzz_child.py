"""The process that takes hostile inputs in, so that whatever they do to it, somebody is left to tell.

Memory is watched twice: a limit on the address space makes whatever wants more than `ROOM_BYTES` fail, and in one
batch of `TRACED_BATCHES` (it takes five times as long) `tracemalloc` tells what Python and numpy allocate for an input.
"""

import importlib
import resource
import time
import traceback
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from edge.bench.fuzz_inputs import Corpus, corpus, inputs
from edge.bench.fuzz_target import Feed, Target

ROOM_BYTES = 2 << 30
"""Address space beyond what the process has when it begins: twice the largest image, and room to spare."""

TRACED_BATCHES = 8

BASE_BYTES = 4 << 20
KEPT_BYTES = 4 << 20
"""What a reader may remember of a batch."""
BYTES_AN_INPUT_BYTE = 160
"""An empty map of one byte becomes an object of 64, and a place in a list."""
CLAIMED_TIMES = 3
"""What a library hands out, and what it is copied to."""


class Work(NamedTuple):
    """Inputs `first` to `last` (excluded) of a batch; earlier ones of it are not fed."""

    target: str
    batch: int
    first: int
    last: int


class Finding(NamedTuple):
    """An input that did what none may do."""

    target: str
    batch: int
    number: int  # in the batch
    first: int  # of the inputs that the reader had seen since it was made
    kind: str  # "crash", "hang", "over_allocation"
    text: str


class Done(NamedTuple):
    """What became of the inputs of some work."""

    work: Work
    taken: int  # without complaint
    refused: dict[str, int]  # by reason
    findings: list[Finding]
    slowest_s: float
    most_bytes: int  # peak of one input


def child(link: Connection, now: Any, where: str, seed: int, values: Sequence[Any], count: int, hang_s: float) -> None:
    """Take work from `link` until there is nobody any more; `now` is shared memory: the number of the input at hand."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    known = resolve(where)
    made_of: dict[str, Corpus] = {}
    watch = Watch(now, hang_s)
    while (work := _next(link)) is not None:
        target = known[work.target]
        if work.target not in made_of:
            made_of[work.target] = corpus(target.messages(), target.format, values)
        link.send(_batch(work, target, inputs(seed, work.target, work.batch, made_of[work.target], count), watch))


def _next(link: Connection) -> Work | None:
    try:
        return link.recv()
    except EOFError:  # the parent is gone
        return None


def resolve(where: str) -> Mapping[str, Target]:
    """The targets that "module:function" gives."""
    module, _, function = where.partition(":")
    found: Callable[[], Mapping[str, Target]] = getattr(importlib.import_module(module), function)
    return found()


class Watch:
    """Time and memory of one input after the other."""

    def __init__(self, now: Any, hang_s: float) -> None:
        self._now, self._hang_s = now, hang_s
        self.slowest_s, self.most_bytes = 0.0, 0

    def begin(self, traced: bool) -> None:
        """Another batch."""
        self.slowest_s, self.most_bytes = 0.0, 0
        self._traced = traced
        if traced:
            tracemalloc.start()

    def end(self) -> tuple[str, str] | None:
        """Nothing is at hand any more; what was wrong with what the reader keeps (kind, text)."""
        self._now.value = -1
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return ("over_allocation", f"{kept} bytes kept after all of them") if kept > KEPT_BYTES else None

    def before(self, number: int) -> None:
        """An input is about to be fed."""
        self._now.value = number
        tracemalloc.reset_peak()
        self._held = tracemalloc.get_traced_memory()[0]
        self._began = time.process_time()

    def after(self, message: list[bytes], claimed: int) -> tuple[str, str] | None:
        """It was; what was wrong with time and memory (kind, text)."""
        took = time.process_time() - self._began
        self.slowest_s = max(self.slowest_s, took)
        if took > self._hang_s:
            return "hang", f"{took:.1f} s of processor time"
        if not self._traced:
            return None
        peak = tracemalloc.get_traced_memory()[1] - self._held
        self.most_bytes = max(self.most_bytes, peak)
        bound = bound_bytes(message, claimed)
        return ("over_allocation", f"{peak} bytes where {bound} bytes would do") if peak > bound else None


def _batch(work: Work, target: Target, messages: list[list[bytes]], watch: Watch) -> Done:
    feed = target.fresh()
    refused: dict[str, int] = {}
    findings: list[Finding] = []
    taken = 0
    watch.begin(work.batch % TRACED_BATCHES == 0)
    for number in range(work.first, work.last):
        watch.before(number)
        reason, claimed, problem = fed(feed, messages[number], target.allowed)
        problem = problem or watch.after(messages[number], claimed)
        if problem is not None:
            findings.append(Finding(work.target, work.batch, number, work.first, *problem))
        elif reason:
            refused[reason] = refused.get(reason, 0) + 1
        else:
            taken += 1
    if (problem := watch.end()) is not None:
        findings.append(Finding(work.target, work.batch, work.last - 1, work.first, *problem))
    return Done(work, taken, refused, findings, watch.slowest_s, watch.most_bytes)


def fed(
    feed: Feed, message: list[bytes], allowed: tuple[type[BaseException], ...]
) -> tuple[str, int, tuple[str, str] | None]:
    """Feed one input: why it was refused (""), bytes that it claimed, and what went wrong (kind, text)."""
    try:
        claimed, reason = feed([memoryview(part) for part in message])
    except allowed as error:
        return getattr(error, "reason", type(error).__name__), 0, None
    except MemoryError as error:
        return "", 0, ("over_allocation", f"{type(error).__name__}: {error} in {_place(error)}")
    except BaseException as error:  # noqa: BLE001  that there is none is what is measured
        return "", 0, ("crash", f"{type(error).__name__}: {error!s:.200} in {_place(error)}")
    return reason, claimed, None


def bound_bytes(message: list[bytes], claimed: int) -> int:
    """What an input may cost, by its size and by what it rightly claims."""
    return BASE_BYTES + BYTES_AN_INPUT_BYTE * sum(map(len, message)) + CLAIMED_TIMES * claimed


def _place(error: BaseException) -> str:
    """Where it was raised: the innermost line of ours."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != __file__]
    ours = [one for one in frames if "site-packages" not in one.filename and "/lib/python" not in one.filename]
    if not (ours or frames):
        return "?"
    at = (ours or frames)[-1]
    return f"{'/'.join(Path(at.filename).parts[-3:])}:{at.lineno}"
