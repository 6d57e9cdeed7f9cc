"""What is done to a running system: each fault is entered, may last, and is left; then the system has to recover.

A fault yields a predicate: whether what it hurt has been replaced, so that results that were under way before are not
taken for a recovery.
"""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from edge.bench.chaos import processes
from edge.bench.chaos.detector import Ending
from edge.bench.chaos.mounts import SHM
from edge.bench.chaos.processes import Process, Role
from edge.bench.chaos.rig import Rig
from edge.inference import announcement
from edge.inference.client import InferenceClient
from edge.inference.requests import InferenceError

Dealt: TypeAlias = Callable[[], bool]
Fault: TypeAlias = Callable[[Rig], AbstractContextManager[Dealt]]


ANNOUNCED_S = 10.0


class NotThere(RuntimeError):
    """What was to be hurt does not run."""


def signalled(role: Role, signum: int) -> Fault:
    """The newest process of the role gets a signal."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[Dealt]:
        victim = _newest(rig, role)
        processes.send(victim, signum)
        yield _replaced(rig, victim)

    return fault


@contextmanager
def memory_limited(rig: Rig) -> Iterator[Dealt]:
    """The models' processes get no more memory than they have, and then larger images come."""
    victims = [each for each in rig.having("model") if processes.alive(each)]
    limits = {victim: resource.prlimit(victim.pid, resource.RLIMIT_AS) for victim in victims}
    for victim, (_, hard) in limits.items():
        pages = int(Path(f"/proc/{victim.pid}/statm").read_text().split()[0])
        resource.prlimit(victim.pid, resource.RLIMIT_AS, (pages * resource.getpagesize(), hard))
    rig.detector.large = True
    rig.detector.end_series()
    try:
        yield _fine
    finally:
        rig.detector.large = False
        rig.detector.end_series()
        for victim, limit in limits.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(victim.pid, resource.RLIMIT_AS, limit)


@contextmanager
def unloaded(rig: Rig) -> Iterator[Dealt]:
    """Somebody who may do that unloads all models."""
    _unload(rig)
    yield _fine


@contextmanager
def broken(rig: Rig) -> Iterator[Dealt]:
    """The files of all models are overwritten with garbage, and they are unloaded."""
    server = _newest(rig, "tritonserver")
    (repository,) = (word.partition("=")[2] for word in server.argv if word.startswith("--model-repository="))
    for path in rig.seen(Path(repository)).glob("*/*/model.onnx"):
        path.write_bytes(b"garbage")
    _unload(rig)
    yield _fine


def _unload(rig: Rig) -> None:
    deadline = time.monotonic() + ANNOUNCED_S
    while (announced := announcement.read(rig.run_folder / "triton.json")) is None:
        if time.monotonic() > deadline:
            raise NotThere("no server is announced")
        time.sleep(0.05)
    with InferenceClient(announced.url, token=announced.token) as client:
        for model in {f"{name}_u16" for name in rig.options.routes.values()}:
            try:
                client.unload(model)
            except InferenceError as error:
                raise NotThere(f"{model} cannot be unloaded: {error}") from error


@contextmanager
def clock_stepped(rig: Rig, seconds: float) -> Iterator[Dealt]:
    """The wall clock is off, and then right again."""
    rig.clock.step(seconds)
    try:
        yield _fine
    finally:
        rig.clock.step(0.0)


@contextmanager
def disk_full(rig: Rig) -> Iterator[Dealt]:
    """The file system of results and captures has no room."""
    if rig.mounts is None:
        raise NotThere(rig.no_mounts)
    with rig.mounts.full(rig.data):
        yield _fine


@contextmanager
def memory_shared_out(rig: Rig) -> Iterator[Dealt]:
    """`/dev/shm` is full, and the data plane has to start anew."""
    if rig.mounts is None:
        raise NotThere(rig.no_mounts)
    victim = _newest(rig, "serve")
    with rig.mounts.full(SHM):
        processes.send(victim, signal.SIGKILL)
        yield _replaced(rig, victim)


@contextmanager
def frames_cut(rig: Rig) -> Iterator[Dealt]:
    """The connection between detector and data plane is reset."""
    rig.frames_proxy.cut()
    yield _fine


@contextmanager
def results_cut(rig: Rig) -> Iterator[Dealt]:
    """The connections between data plane and subscribers are reset."""
    rig.results_proxy.cut()
    rig.handshake_proxy.cut()
    yield _fine


@contextmanager
def frames_silent(rig: Rig) -> Iterator[Dealt]:
    """Nothing passes between detector and data plane."""
    rig.frames_proxy.silence()
    try:
        yield _fine
    finally:
        rig.frames_proxy.restore()


@contextmanager
def results_silent(rig: Rig) -> Iterator[Dealt]:
    """Nothing passes between data plane and subscribers."""
    rig.results_proxy.silence()
    rig.handshake_proxy.silence()
    try:
        yield _fine
    finally:
        rig.results_proxy.restore()
        rig.handshake_proxy.restore()


@contextmanager
def subscriber_stopped(rig: Rig) -> Iterator[Dealt]:
    """The second subscriber reads nothing."""
    second = rig.second
    os.kill(second.process.pid, signal.SIGSTOP)
    try:
        yield lambda: second.process.poll() is None
    finally:
        os.kill(second.process.pid, signal.SIGCONT)


@contextmanager
def subscriber_killed(rig: Rig) -> Iterator[Dealt]:
    """The second subscriber is gone; later there is another."""
    rig.second.process.kill()
    try:
        yield _fine
    finally:
        rig.another_second()


def series_ended(ending: Ending) -> Fault:
    """The detector ends its series before its time, and begins another."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[Dealt]:
        before = rig.detector.current
        rig.detector.end_series(ending)
        yield lambda: rig.detector.current is not before and rig.detector.current is not None

    return fault


def _newest(rig: Rig, role: Role) -> Process:
    found = rig.having(role)
    if not found:
        raise NotThere(f"no process of the system is its {role}")
    return found[-1]


def _replaced(rig: Rig, victim: Process) -> Dealt:
    return lambda: not processes.alive(victim) and any(one != victim for one in rig.having(victim.role))


def _fine() -> bool:
    return True
