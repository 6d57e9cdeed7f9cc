"""What is run to be hurt, and its configuration."""

import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from edge.bench.chaos.detector import SOURCE

PORTS: tuple[str, ...] = ("publish", "handshake", "metrics", "agent", "stray")
"""Of the system itself."""

SYSTEM = (sys.executable, "-P", "-m", "edge", "up", "--stop-at-eof")
CONFIG = """
[[source]]
name = "{source}"
protocol = "stream-v2"
address = "tcp://127.0.0.1:{frames}"
memory_mib = 4

{routes}
[results]
publish = "tcp://127.0.0.1:{publish}"
handshake = "tcp://127.0.0.1:{handshake}"
folder = "{data}/results"

[recording]
folder = "{data}/captures"
quota_gib = {quota_gib}

[metrics]
address = "127.0.0.1:{metrics}"

[series]
grace_s = 0.3
idle_s = 30.0

[up]
folder = "{run}"
"""
ROUTE = """[[route]]
name = "{name}"
model = "{model}"
sources = ["{source}"]
pixel_bits = [16]

"""
STRAY = """
[[source]]
name = "stray"
protocol = "stream-v2"
address = "tcp://127.0.0.1:{stray}"
bind = true
memory_mib = 4
"""
AGENT = """
[agent]
listen = "tcp://127.0.0.1:{agent}"
folder = "{data}/agent"
"""


@dataclass(frozen=True)
class Options:
    """What runs."""

    routes: Mapping[str, str] = field(default_factory=lambda: {"check": "identity", "peaks": "peaks"})  # name: model
    agent: bool = True
    data_mib: int = 1024
    shm_mib: int = 1280
    quota_gib: float = 0.25
    stray: bool = False  # also a source to which anybody may connect
    system: Sequence[str] = SYSTEM  # what is run, before "-c FILE --json"


def text(options: Options, ports: Mapping[str, int], folders: Mapping[str, str]) -> str:
    """The `edge.toml`. `ports` are `PORTS` and "frames", where the detector is; `folders` are "data" and "run"."""
    fields = {"source": SOURCE, "quota_gib": options.quota_gib, **ports, **folders}
    routes = "".join(ROUTE.format(name=name, model=model, **fields) for name, model in options.routes.items())
    made = CONFIG.format(routes=routes, **fields)
    made += STRAY.format(**fields) if options.stray else ""
    return made + (AGENT.format(**fields) if options.agent else "")


def free_ports(count: int) -> list[int]:
    """Ports that the system had free a moment ago, each of five digits."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in probes]
