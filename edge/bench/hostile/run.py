"""Attacks every listening port of a running system while a detector sends, and looks at what that did."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from edge.bench.chaos import processes
from edge.bench.chaos.bookkeeping import Book
from edge.bench.chaos.frames import pictures
from edge.bench.chaos.judging import Judged
from edge.bench.chaos.processes import Process
from edge.bench.chaos.rig import Rig
from edge.bench.chaos.settings import Options
from edge.bench.hostile.attacks import ATTACKS, Attack
from edge.bench.hostile.ports import Port, descriptors, listening
from edge.inference import announcement
from edge.inference.client import InferenceClient
from edge.inference.requests import InferenceError

RATE_HZ = 40.0
WARM_UP_S = 3.0
CALM_S = 5.0
"""After an attack, until it is looked at what remains."""

SETTLED_S = 60.0
OPTIONS = Options(routes={"check": "identity"}, stray=True)
COUNTERS = ("refused", "malformed", "failed", "dropped", "unexpected", "stale")
"""In the names of metrics that may tell of an attack."""


Looks: TypeAlias = tuple[int, int, int, int]
"""Before, at most meanwhile, half way when it was calm, and afterwards."""


@dataclass
class Measured:
    """What came of it."""

    origin: str = ""  # of the frames
    ports: list[Port] = field(default_factory=list)
    attacks: Counter[tuple[str, int]] = field(default_factory=Counter)  # bursts, by attack and port
    connections: int = 0
    seconds: float = 0.0
    died: list[Process] = field(default_factory=list)  # processes that were there before and not afterwards
    closed: list[Port] = field(default_factory=list)  # ports at which nobody listens any more
    judged: Judged = field(default_factory=Judged)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    memory: Looks = (0, 0, 0, 0)  # bytes
    descriptors: Looks = (0, 0, 0, 0)
    by_role: list[dict[str, int]] = field(default_factory=list)  # bytes of processes: before, half way, afterwards
    counters: dict[str, float] = field(default_factory=dict)  # metrics of the data plane that went up
    agent_counts: dict[str, int] = field(default_factory=dict)
    not_ready: str = ""  # what the data plane says afterwards
    agent_failures: list[str] = field(default_factory=list)
    let_in: list[str] = field(default_factory=list)  # what Triton did for somebody without its token


def measure(
    folder: Path, seconds: float, seed: int, data: Path | None, hear: Callable[[Measured, str], None]
) -> Measured:
    """Attack for so long; `hear` is told what happens.

    Raises:
        ChildError, SocketError: the system did not start.
    """
    shown = pictures(data)
    measured = Measured(shown.origin)
    with Rig(folder, shown, OPTIONS) as rig:
        book = Book(rig)
        book.start()
        rig.detector.rate_hz = RATE_HZ
        rig.detector.sending.set()
        time.sleep(WARM_UP_S)
        before, counted = processes.family(rig.pid), rig.metrics()
        measured.ports = listening(rig.pid)
        watch = _Watch(rig)
        watch.start()
        began = time.monotonic()
        for half in (0, 1):  # the first warms up what allocators keep: memory is bounded where the second adds nothing
            measured.by_role.append(processes.memory_by_role(rig.pid))
            _attack(rig, measured, seconds / 2, seed + half, hear)
            hear(measured, "waiting for what remains")
            time.sleep(CALM_S)
            watch.mark()
        measured.by_role.append(processes.memory_by_role(rig.pid))
        measured.seconds = time.monotonic() - began
        watch.stopping.set()
        watch.join(5)
        measured.memory, measured.descriptors = watch.looks(0), watch.looks(1)
        measured.died = [each for each in before if not processes.alive(each)]
        measured.closed = [port for port in measured.ports if port.number not in _numbers(rig)]
        measured.counters = {
            name: value - counted.get(name, 0.0) for name, value in rig.metrics().items() if _tells(name)
        }
        measured.counters = {name: more for name, more in measured.counters.items() if more > 0}
        measured.not_ready = rig.not_ready()
        measured.let_in = _without_token(rig)
        rig.detector.hold()
        book.close(SETTLED_S)
        measured.judged, measured.verdicts = book.total, dict(book.verdicts)
        measured.agent_failures = rig.agent.failures if rig.agent is not None else []
    return measured


class _Watch(threading.Thread):
    """Memory and descriptors, once a second."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(name="watch", daemon=True)
        self._rig = rig
        self.stopping = threading.Event()
        self._seen: list[tuple[int, int]] = [self._look()]
        self._marked = [self._seen[0]]

    def run(self) -> None:
        """See the class."""
        while not self.stopping.wait(1.0):
            self._seen.append(self._look())

    def mark(self) -> None:
        """It is calm now."""
        self._marked.append(self._look())

    def looks(self, what: int) -> Looks:
        """Of memory (0) or of descriptors (1)."""
        before, half_way, afterwards = (each[what] for each in self._marked)
        return before, max(each[what] for each in self._seen), half_way, afterwards

    def _look(self) -> tuple[int, int]:
        return self._rig.memory_bytes(), descriptors(self._rig.pid)


def _attack(rig: Rig, measured: Measured, seconds: float, seed: int, hear: Callable[[Measured, str], None]) -> None:
    """Each port, each attack in turn, two ports at a time."""
    deadline = time.monotonic() + seconds
    dice = random.Random(seed)
    lock = threading.Lock()
    turns = iter(_turns(dice, measured.ports))

    def attacker(own: random.Random) -> None:
        while time.monotonic() < deadline:
            with lock:
                name, port, attack = next(turns)
            made = attack(port.number, own)
            with lock:
                measured.attacks[name, port.number] += 1
                measured.connections += made
                hear(measured, f"{name} at port {port.number} ({port.owner.role or 'edge'})")

    threads = [threading.Thread(target=attacker, args=(random.Random(dice.random()),), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)


def _turns(dice: random.Random, ports: list[Port]) -> "list[tuple[str, Port, Attack]]":
    """All pairs in a random order, many times over."""
    pairs = [(name, port, attack) for name, attack in ATTACKS.items() for port in ports]
    return [pair for _ in range(1000) for pair in dice.sample(pairs, len(pairs))]


def _numbers(rig: Rig) -> set[int]:
    return {port.number for port in listening(rig.pid)}


def _tells(name: str) -> bool:
    return any(word in name for word in COUNTERS) and "_created" not in name


def _without_token(rig: Rig) -> list[str]:
    """Triton's calls that load code or map memory, by somebody who has no token: none may be answered."""
    announced = announcement.read(rig.run_folder / "triton.json")
    if announced is None:
        return ["no server is announced"]
    found: list[str] = []
    for token in (None, "0" * 32):
        with InferenceClient(announced.url, token=token) as client:
            for name, call in {
                "unload": lambda: client.unload("identity_u16"),  # called at once
                "load": lambda: client.load("identity_u16"),
                "list shared memory": lambda: client.registered(""),
                "let go of all shared memory": lambda: client.unregister_prefix(""),
            }.items():
                try:
                    call()
                except InferenceError:
                    continue
                found.append(f"{name} with {'no' if token is None else 'a wrong'} token")
    return found
