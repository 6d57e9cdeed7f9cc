"""What a killed data plane costs: `edge serve` is killed again and again while a detector sends series after series.

Theory of operation
-------------------
One Triton lives through all of it, so that most kills find the data plane at work; with `embedded` each start brings
its own, with frames in shared memory, as users run it. `edge serve` runs with `--record --recover`, is killed (SIGKILL)
at a random moment of its start, of its recovery or of its work, and started again. A `Subscriber` listens all the time.
At the end the last start finishes what is left, and then the capture is the judge (`edge.bench.crashcheck`): each
frame in it needs exactly one result in the files, and exactly one that the subscriber handed out. What ZeroMQ had
fetched for a process that was killed is in no capture: the frames that it costs are counted, and the account of their
series says that they are missing.
"""

import queue
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge.bench.crashactors import DataPlane, Detector, Listener, image
from edge.bench.crashcheck import Judged, judge, unsettled
from edge.demo.children import ChildError
from edge.inference.events import Event, Plan, Served
from edge.inference.hosts import EmbeddedHost
from edge.inference.shared_memory import Namespace
from edge.inference.supervisor import Supervisor
from edge.models import identity
from streams import sockets

LONGEST_WORK_S = 3.0
"""From when it is ready until it is killed."""

AT_WORK = 0.7
"""Part of the kills that come when it is ready; the others come while it starts."""

SETTLED_S = 180.0
CONFIG = """
[[source]]
name = "det"
protocol = "stream-v2"
address = "{detector}"
memory_mib = 16

[[route]]
name = "check"
model = "identity"
pixel_bits = [16]

[server]
transport = "{transport}"

[results]
publish = "{publish}"
handshake = "{handshake}"
folder = "{folder}/results"

[recording]
folder = "{folder}/captures"
quota_gib = 4.0

[metrics]
address = "127.0.0.1:0"

[series]
grace_s = 0.3
idle_s = 3.0
"""


@dataclass(frozen=True)
class Options:
    """What is done."""

    kills: int
    seed: int = 0
    triton_url: str | None = None  # a running one; None: one of our own
    embedded: bool = False  # each start of `edge serve` has a Triton of its own


@dataclass
class Measured:
    """What came of it."""

    kills: int = 0
    kills_at_work: int = 0  # of them, after it had said that it is ready
    sent: int = 0  # frames
    seconds: float = 0.0
    judged: Judged = field(default_factory=Judged)


@contextmanager
def long_lived_triton(options: Options) -> Iterator[str | None]:
    """`host:port` of a Triton with the identity model; None where each start has its own."""
    if options.embedded or options.triton_url is not None:
        yield None if options.embedded else options.triton_url
        return
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with Namespace() as namespace:
        plan = Plan((Served(identity.SPEC),), namespace)
        with Supervisor(plan, events.put) as supervisor:
            assert isinstance(supervisor.host, EmbeddedHost) and supervisor.host.triton.running is not None
            yield supervisor.host.triton.running.url


def measure(folder: Path, options: Options, hear: Callable[[int], None]) -> Measured:
    """Kill it again and again and judge; `hear` is told of each kill.

    Raises:
        ChildError: `edge serve` ended by itself, or did not finish what was left.
        ServerError, SimulatorError, SocketError: Triton did not start, nobody took the frames, a port was taken.
    """
    measured, dice, began = Measured(), random.Random(options.seed), time.monotonic()
    with long_lived_triton(options) as url, sockets.context() as ctx:
        push = sockets.push(ctx, high_water_mark=8)
        publish, handshake = free_address(), free_address()
        config = {"detector": push.bind("tcp://127.0.0.1:*"), "publish": publish, "handshake": handshake}
        config["transport"] = "auto" if options.embedded else "inline"
        (folder / "edge.toml").write_text(CONFIG.format(folder=folder, **config))
        start_s = 0.0  # what the last start took that got to its end
        listener = Listener(ctx, handshake)
        detector = Detector(push, listener.subscribed)
        detector.start()
        listener.start()
        try:
            for number in range(options.kills):
                plane = DataPlane(folder, url, number)
                if number == 0 or dice.random() < AT_WORK:  # nothing is sent before the first start is at work
                    start_s = plane.wait_until_ready()
                    plane.wait(dice.uniform(0.0, LONGEST_WORK_S))
                else:
                    plane.wait(dice.uniform(0.0, start_s))
                measured.kills_at_work += plane.ready
                plane.end(signal.SIGKILL)
                measured.kills += 1
                hear(measured.kills)
            _finish(DataPlane(folder, url, options.kills), detector, folder)
        finally:
            detector.stopping.set()
            listener.stopping.set()
            listener.join()
    measured.sent, measured.seconds = detector.images, time.monotonic() - began
    measured.judged = judge(folder / "captures" / "det", folder / "results", listener.delivered, image)
    measured.judged.repeats = listener.repeats
    return measured


def _finish(plane: DataPlane, detector: Detector, folder: Path) -> None:
    """The last life: it ends in order when everything in the capture is settled."""
    try:
        plane.wait_until_ready()
        plane.wait(LONGEST_WORK_S)
        detector.stopping.set()
        deadline = time.monotonic() + SETTLED_S
        left: set[str] = set()
        while detector.is_alive() or (left := unsettled(folder / "captures" / "det")):
            plane.wait(0.5)
            if time.monotonic() > deadline:
                what = f"series {', '.join(sorted(left)[:5])}" if left else "the detector's last series"
                raise ChildError(f"{what} did not settle within {SETTLED_S:g} s (see {folder})")
        if detector.failure is not None:
            raise detector.failure
    finally:
        if plane.process.poll() is None:
            plane.end(signal.SIGTERM)


def free_address() -> str:
    """An address that the system had free a moment ago: one that stays the same through all starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
