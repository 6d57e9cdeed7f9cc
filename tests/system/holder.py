"""A process that keeps a server ready until it is killed: `python -m tests.system.holder MODELS CACHE`.

Prints one JSON line with what it owns, then sleeps.
"""

import json
import queue
import signal
import sys
from pathlib import Path

from edge.inference.events import Event, Plan, Served
from edge.inference.hosts import EmbeddedHost
from edge.inference.options import ServerOptions
from edge.inference.shared_memory import Namespace
from edge.inference.supervisor import Supervisor
from tests.unit.inference.graphs import ECHO


def main(models: Path, cache: Path) -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with Namespace() as namespace:
        arena = namespace.region("frames", 1 << 16)
        plan = Plan((Served(ECHO),), namespace, (arena,), server=ServerOptions(cache_dir=cache), source=models)
        with Supervisor(plan, events.put) as supervisor:
            host = supervisor.host
            assert isinstance(host, EmbeddedHost) and host.triton.running is not None
            owned = {
                "prefix": namespace.prefix,
                "guardian": host.triton.guardian_pid,
                "server": host.triton.running.pid,
                "port": host.triton.running.ports.grpc,
            }
            sys.stdout.write(json.dumps(owned) + "\n")
            sys.stdout.flush()
            signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
