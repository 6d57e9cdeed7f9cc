"""Runs the real `edge serve` and a simulated detector, for the tests beside this file."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edge.demo.children import data_plane
from streams.codecs.results import Result, SeriesEnded
from streams.messages import Acquisition, Compression
from streams.simulation.simulator import Faults, Sender, Simulation
from streams.sockets import Context, Socket, context, push
from streams.subscriber import Subscriber

CONFIG = """
[[source]]
name = "det"
protocol = "{protocol}"
address = "{address}"
memory_mib = {memory_mib}

[[route]]
name = "check"
model = "identity"
pixel_bits = [16]

[results]
publish = "tcp://127.0.0.1:*"
handshake = "tcp://127.0.0.1:*"

[metrics]
address = "127.0.0.1:0"

[series]
grace_s = 0.5
"""


def image(image_id: int, shape: tuple[int, int] = (12, 10)) -> np.ndarray:
    """A picture that tells which one it is."""
    return np.random.default_rng(image_id).integers(0, 65536, shape, np.uint16)


class Station:
    """A detector, the serving process and a subscriber."""

    def __init__(self, ctx: Context, detector: Socket, protocol: str, addresses: dict[str, Any]) -> None:
        self.ctx, self.detector, self.protocol, self.addresses = ctx, detector, protocol, addresses
        self.results = Subscriber(ctx, addresses["handshake"], ["check"], timeout_s=10)

    def simulation(self, images: int, number: int = 1, faults: Faults | None = None, **changes: Any) -> Simulation:
        facts = {"shape": (12, 10), "dtype": "uint16", "compression": Compression.BSLZ4} | changes
        acquisition = Acquisition(number, f"uid-{number}", datetime.now(UTC).isoformat(), images, **facts)
        positions = np.arange(2.0 * images).reshape(images, 2)

        def taken(image_id: int) -> np.ndarray:
            return image(image_id, facts["shape"]).astype(facts["dtype"])

        return Simulation(self.protocol, acquisition, taken, positions, faults=faults or Faults())

    def send(
        self, simulation: Simulation, rate_hz: float | None = None, each: Callable[[int], None] | None = None
    ) -> int:
        return Sender(self.detector, rate_hz).send(simulation.messages(), each)

    def collect(self, timeout_s: float = 30) -> tuple[dict[int, Result], dict[int, list[int]], SeriesEnded]:
        """Results and checksums by image id up to the next series end."""
        results, checksums = {}, {}
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            received = self.results.receive(1)
            if received is None:
                continue
            notice, arrays = received
            if isinstance(notice, Result):
                assert notice.image_id not in results, "a result came twice"
                results[notice.image_id] = notice
                checksums[notice.image_id] = arrays["checksum"].tolist()
            elif isinstance(notice, SeriesEnded):
                return results, checksums, notice
        raise AssertionError(f"no series end within {timeout_s} s; {len(results)} results came")


@contextmanager
def station(tmp_path: Path, protocol: str = "stream-v2", memory_mib: int = 4, settings: str = "") -> Iterator[Station]:
    """A running `edge serve` with the identity model, its detector and its subscriber; `settings` is more TOML."""
    with context() as ctx:
        detector = push(ctx)
        address = detector.bind("tcp://127.0.0.1:*")
        config = CONFIG.format(protocol=protocol, address=address, memory_mib=memory_mib) + settings
        with data_plane(config, tmp_path) as addresses:
            at = Station(ctx, detector, protocol, dict(addresses))
            try:
                yield at
            finally:
                at.results.close()


def descendants(pid: int) -> dict[int, str]:
    """Living processes below `pid`: name by process id."""
    below: dict[int, str] = {}
    parents = {pid}
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            state, parent = rest.split()[:2]
            if state != "Z":
                table[int(entry.name)] = (int(parent), name)
    while found := {child: name for child, (parent, name) in table.items() if parent in parents and child not in below}:
        below |= found
        parents = set(found)
    return below


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    """Poll `condition`; fail with `what` when it stays false."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.02)


def shared_memory(pid: int) -> set[str]:
    """Regions in /dev/shm that belong to the serving process `pid`."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(f"edge-{pid}-")}
