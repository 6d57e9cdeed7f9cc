"""Fixtures of the system tests: a real server, and proof that nothing of it stays."""

import os
import queue
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from edge.inference.backend_env import probe, problems
from edge.inference.errors import ServerError
from edge.inference.events import Event, Plan, Served, ServerReady
from edge.inference.hosts import EmbeddedHost
from edge.inference.options import ServerOptions
from edge.inference.server import Running
from edge.inference.shared_memory import Namespace, Region
from edge.inference.supervisor import Supervisor
from tests.system.witness import PATIENCE_S
from tests.unit.inference.graphs import COUNTS, ECHO, write_models


@dataclass
class Serving:
    """A supervisor in action, and its events."""

    supervisor: Supervisor
    events: "queue.Queue[Event]"
    namespace: Namespace
    arena: Region

    def next_event(self) -> Event:
        return self.events.get(timeout=PATIENCE_S)

    def ready(self) -> ServerReady:
        event = self.next_event()
        assert isinstance(event, ServerReady), event
        return event

    @property
    def running(self) -> Running:
        host = self.supervisor.host
        assert isinstance(host, EmbeddedHost) and host.triton.running is not None
        return host.triton.running


@pytest.fixture(scope="session")
def triton() -> None:
    """Skips where the embedded server cannot run; in continuous integration that is a failure."""
    try:
        found = problems(probe(Path(sys.executable)))
    except ServerError as error:
        found = [str(error)]
    if found and os.environ.get("CI"):
        pytest.fail(f"the embedded server cannot run: {'; '.join(found)}")
    if found:
        pytest.skip(f"the embedded server cannot run: {'; '.join(found)}")


@pytest.fixture(scope="session")
def server_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with COUNTS and ECHO."""
    return write_models(tmp_path_factory.mktemp("models"))


Serve = Callable[..., AbstractContextManager[Serving]]


@pytest.fixture
def serve(triton: None, server_cache: Path, tiny_models: Path) -> Serve:
    """`with serve() as serving`: COUNTS (u16) and ECHO (u8) on an embedded server; keywords go to Plan."""

    @contextmanager
    def start(**changes: object) -> Iterator[Serving]:
        events: queue.Queue[Event] = queue.Queue()
        with Namespace() as namespace:
            arena = namespace.region("frames", 1 << 20)
            settings: dict[str, object] = {
                "models": (Served(COUNTS), Served(ECHO, (1,))),
                "namespace": namespace,
                "regions": (arena,),
                "server": ServerOptions(cache_dir=server_cache),
                "source": tiny_models,
            }
            plan = Plan(**{**settings, **changes})  # pyright: ignore[reportArgumentType]
            with Supervisor(plan, events.put) as supervisor:
                yield Serving(supervisor, events, namespace, arena)

    return start


@pytest.fixture
def libertem() -> ModuleType:
    """LiberTEM's SIMPLON v1 client and simulator. It reads neither uncompressed images nor headers of 9 parts."""
    try:
        import libertem_dectris
    except ImportError:
        message = "libertem-dectris is not installed; the extra `test` has it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return libertem_dectris
