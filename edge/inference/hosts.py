"""Where the server runs: as our child, or somewhere else under somebody else's care."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from edge.inference.bring_up import python_shm_bytes
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.events import Plan
from edge.inference.repository import Assembly, assemble
from edge.inference.server import EmbeddedTriton

LOG = logging.getLogger(__name__)
POLL_S = 0.1


class Host(Protocol):
    """Gives a client of a live server."""

    @property
    def server_pid(self) -> int | None:
        """Process id of the server, where it runs on this host and that is known."""
        ...

    def open(self) -> InferenceClient:
        """Start or find the server and wait until it answers. Raises ServerError."""
        ...

    def abandon(self) -> None:
        """Make an `open` in progress on another thread give up soon."""
        ...

    def end(self, patience_s: float) -> bool:
        """Have done with the server; True where nothing of it can touch our memory any more."""
        ...

    def explain(self) -> str:
        """What the server's own log says, as a suffix for an error text; may be empty."""
        ...

    def close(self) -> None:
        """Leave nothing behind. Idempotent."""
        ...


class EmbeddedHost:
    """The server is our child."""

    def __init__(self, plan: Plan, on_exit: Callable[[str], None]) -> None:
        self._plan = plan
        self.triton = EmbeddedTriton(plan.server, plan.namespace, on_exit)

    @property
    def server_pid(self) -> int | None:
        """See Host."""
        running = self.triton.running
        return None if running is None else running.pid

    def open(self) -> InferenceClient:
        """Assemble the repository, start the server."""
        plan = self._plan
        specs = tuple(served.spec for served in plan.models)
        assembly = Assembly("cpu", specs, plan.server.ort_threads, plan.source)
        repository = assemble(assembly, plan.server.cache_dir)
        began = time.monotonic()
        running = self.triton.start(repository, python_shm_bytes(plan.models))
        facts = (running.pid, running.url, time.monotonic() - began, running.log)
        LOG.info("tritonserver %d answers at %s after %.1f s, its log is %s", *facts)
        return InferenceClient(running.url, plan.timing.client_timeout_s, running.token)

    def abandon(self) -> None:
        """See Host."""
        self.triton.abandon()

    def end(self, patience_s: float) -> bool:
        """See Host."""
        self.triton.stop(patience_s)
        return True

    def explain(self) -> str:
        """See Host."""
        return f" (log: {self.triton.log})" if self.triton.log else ""

    def close(self) -> None:
        """See Host."""
        self.triton.close()


class RemoteHost:
    """The server is somebody else's: only a connection begins and ends here."""

    def __init__(self, url: str, plan: Plan) -> None:
        self._url = url
        self._plan = plan
        self._given_up = threading.Event()

    @property
    def server_pid(self) -> int | None:
        """See Host. It may be on another host."""
        return None

    def open(self) -> InferenceClient:
        """Wait until the server answers."""
        timing = self._plan.timing
        client = InferenceClient(self._url, timing.client_timeout_s, self._plan.token)
        deadline = time.monotonic() + timing.connect_s
        waiting = False
        while not client.live(timing.probe_deadline_s):
            if not waiting:
                LOG.info("waiting for %s", self._url)
                waiting = True
            if self._given_up.wait(POLL_S):
                client.close()
                raise ServerError(f"no inference server answered at {self._url} until the wait was ended")
            if time.monotonic() > deadline:
                client.close()
                raise ServerError(f"no inference server answers at {self._url}: is it running, is the address right?")
        return client

    def abandon(self) -> None:
        """See Host."""
        self._given_up.set()

    def end(self, patience_s: float) -> bool:
        """See Host. Nothing is known of a server that somebody else runs."""
        return False

    def explain(self) -> str:
        """See Host."""
        return f" (at {self._url})"

    def close(self) -> None:
        """See Host."""
