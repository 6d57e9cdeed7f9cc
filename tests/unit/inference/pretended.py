"""An inference server in this process: what the client, the canary and the supervisor need of a real one."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from edge.inference.backoff import Backoff
from edge.inference.events import Plan, Served, Timing
from edge.inference.requests import Completion, InferenceError, Request, Span
from edge.inference.shared_memory import Namespace, Region
from tests.unit.inference.graphs import COUNTS, counts_graph

QUICK = Timing(probe_every_s=0.01, backoff=Backoff(first_s=0.01, jitter=0.0))


class PretendedServer:
    """Serves COUNTS of two bytes a pixel, as a client of a real server would see it.

    `errors` holds what the next calls of a name raise; `calls` is what was asked.
    """

    url = "127.0.0.1:8001"

    def __init__(self) -> None:
        self._session = onnxruntime.InferenceSession(counts_graph())
        self.regions: dict[str, Region] = {}
        self.foreign: list[str] = []
        self.errors: dict[str, InferenceError] = {}
        self.calls: list[str] = []
        self.suspect = ""
        self.doubted = ""
        self.is_ready = True

    def submit(self, request: Request, on_done: Callable[[Completion], None]) -> None:
        frame = request.frame
        bytes_ = self._bytes(frame).reshape(request.shape) if isinstance(frame, Span) else frame
        outputs, shapes = {}, {}
        for name in request.outputs:
            array = np.asarray(self._session.run([name], {"frame": bytes_})[0])
            outputs[name], shapes[name] = array, array.shape
            if isinstance(request.outputs, Mapping):
                self._bytes(request.outputs[name])[:] = array.reshape(-1).view(np.uint8)
        inline = not isinstance(request.outputs, Mapping)
        on_done(Completion(request.request_id, None, outputs if inline else None, shapes))

    def doubt(self, reason: str) -> None:
        self.doubted = reason

    def take_doubt(self) -> str:
        doubt, self.doubted = self.doubted, ""
        return doubt

    def unload(self, model: str) -> None:
        self._call("unload")
        self.is_ready = False

    def register(self, region: Region) -> None:
        self._call("register")
        self.regions[region.name] = region

    def unregister(self, name: str) -> None:
        self._call("unregister")
        self.regions.pop(name, None)

    def registered(self, prefix: str) -> list[str]:
        self._call("registered")
        return [name for name in (*self.regions, *self.foreign) if name.startswith(prefix)]

    def unregister_prefix(self, prefix: str) -> None:
        for name in self.registered(prefix):
            self.unregister(name)

    def model_ready(self, model: str, timeout_s: float = 1.0) -> bool:
        self._call("model_ready")
        return self.is_ready

    def load(self, model: str, timeout_s: float = 1.0) -> None:
        self._call("load")
        self.is_ready = True

    def close(self) -> None:
        self._call("close")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.errors:
            raise self.errors[name]

    def _bytes(self, span: Span) -> np.ndarray:
        return self.regions[span.region].view[span.offset : span.offset + span.nbytes]


class PretendedHost:
    """Gives `server` each time, as a new client."""

    def __init__(self, server: PretendedServer) -> None:
        self.server = server
        self.opened = 0

    server_pid: int | None = None

    def open(self) -> PretendedServer:
        self.opened += 1
        self.server.suspect = ""
        return self.server

    def abandon(self) -> None: ...

    def end(self, patience_s: float) -> bool:
        return True

    def explain(self) -> str:
        return ""

    def close(self) -> None: ...


def plan_of(namespace: Namespace, source: Path, url: str | None = None, regions: tuple[Region, ...] = ()) -> Plan:
    """COUNTS, probed and restarted without much waiting."""
    return Plan((Served(COUNTS),), namespace, regions, url, source=source, timing=QUICK)
