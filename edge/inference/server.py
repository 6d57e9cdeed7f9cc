"""The embedded server: the tritonserver of the `nvidia-pytriton` wheel as a guarded child process."""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.inference.backend_env import BackendEnv, backend_folder, probe, problems
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.guarded import Guarded, Launch
from edge.inference.hiding import hide
from edge.inference.launch import LOOPBACK, LaunchPlan, Ports, command_line, environment, free_ports
from edge.inference.options import STOP_S, ServerOptions
from edge.inference.requests import InferenceError
from edge.inference.shared_memory import Namespace
from edge.inference.triton_log import port_taken, telling_line

LOG = logging.getLogger(__name__)

KEPT_LOGS = 20
PORT_ATTEMPTS = 5
START_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    pid: int
    id: str  # its own, by which it can be told from another server at the same address
    ports: Ports
    token: str = field(repr=False)
    log: Path

    @property
    def url(self) -> str:
        """`host:port` of its gRPC endpoint."""
        return f"{LOOPBACK}:{self.ports.grpc}"

    @property
    def metrics(self) -> str:
        """Where its own metrics are."""
        return f"http://{LOOPBACK}:{self.ports.metrics}/metrics"


class EmbeddedTriton:
    """Starts the server, again and again if need be, and ends it.

    `on_exit(text)` is called from a thread of ours when the server died by itself; it is reaped by then and its
    shared memory is gone.
    """

    def __init__(self, options: ServerOptions, namespace: Namespace, on_exit: Callable[[str], None]) -> None:
        self._options = options
        self._namespace = namespace
        self._on_exit = on_exit
        self._guarded: Guarded | None = None
        self._env: BackendEnv | None = None
        self._starts = 0
        self._exit_text: str | None = None
        self._given_up = threading.Event()
        self.log: Path | None = None
        self.running: Running | None = None

    @property
    def guardian_pid(self) -> int | None:
        """Process id of the guardian, once there was a start."""
        return self._guarded.pid if self._guarded else None

    def start(self, repository: Path, python_shm_bytes: int) -> Running:
        """Start the server on `repository` and wait until it answers.

        Raises ServerError, one line with cause and remedy.
        """
        env = self._environment()
        backends = backend_folder(env, self._options.cache_dir)
        for _ in range(PORT_ATTEMPTS):
            self._starts += 1
            server_id = f"{self._namespace.prefix}-t{self._starts}"
            token = secrets.token_hex(16)
            plan = LaunchPlan(env, backends, repository, server_id, free_ports(), token, python_shm_bytes)
            running = self._launch(plan)
            if self._wait_until_live(plan):
                self.running = running
                if self._exit_text is None:
                    if not hide(token, running.pid):
                        LOG.warning("every user of this machine can read the server's token in its command line")
                    return running
                raise ServerError(f"{self._exit_text} right after its start: {self.telling_line()}")
        raise ServerError(f"tritonserver found its ports taken {PORT_ATTEMPTS} times in a row: see {self.log}")

    def stop(self, patience_s: float = STOP_S) -> None:
        """End the server if it runs; afterwards no process, port or memory of it is left."""
        self.running = None
        if self._guarded is not None:
            self._guarded.end(patience_s)

    def abandon(self) -> None:
        """Make a `start` in progress on another thread give up soon, and later ones too."""
        self._given_up.set()

    def close(self) -> None:
        """End the server and its guardian. Idempotent."""
        self.stop()
        if self._guarded is not None:
            self._guarded.close()
            self._guarded = None

    def telling_line(self) -> str:
        """The line of the log that says best why something failed, and where the log is."""
        if self.log is None:
            return "it was never started"
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError as error:
            return f"its log {self.log} cannot be read ({error.strerror})"
        return f"{telling_line(lines)} (log: {self.log})"

    def _environment(self) -> BackendEnv:
        if self._env is None:
            env = probe(self._options.python)
            found = problems(env)
            if found:
                raise ServerError(f"the embedded server cannot run: {'; '.join(found)}")
            self._env = env
        return self._env

    def _launch(self, plan: LaunchPlan) -> Running:
        if self._guarded is not None and not self._guarded.alive():
            self._guarded.close()
            self._guarded = None
        if self._guarded is None:
            self._guarded = Guarded(self._namespace.prefix, self._namespace.lock_fd, self._exited)
        self._exit_text = None
        self.log = self._log_file(plan.server_id)
        launch = Launch(command_line(plan), environment(plan.env), self.log, plan.shm_prefix)
        return Running(self._guarded.launch(launch), plan.server_id, plan.ports, plan.token, self.log)

    def _wait_until_live(self, plan: LaunchPlan) -> bool:
        """True: it answers. False: a port was taken, try others. Raises ServerError for anything else."""
        deadline = time.monotonic() + START_S
        with InferenceClient(f"{LOOPBACK}:{plan.ports.grpc}", token=plan.token) as client:
            while self._exit_text is None:
                if client.live(1.0) and self._is_ours(client, plan.server_id):
                    return True
                if self._given_up.wait(POLL_S):
                    self.stop(0.0)
                    raise ServerError("tritonserver was stopped while starting")
                if time.monotonic() > deadline:
                    self.stop(0.0)
                    waited = f"did not answer within {START_S:.0f} s"
                    raise ServerError(f"tritonserver {waited}: {self.telling_line()}")
        line = self.telling_line()
        if port_taken(line):
            return False
        raise ServerError(f"{self._exit_text} while starting: {line}")

    def _is_ours(self, client: InferenceClient, server_id: str) -> bool:
        """Whoever answers may be another server that took the port first."""
        try:
            return client.identity(1.0) == server_id
        except InferenceError:
            return False

    def _log_file(self, server_id: str) -> Path:
        folder = (self._options.log_dir or self._options.cache_dir / "logs").absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            old = sorted(folder.glob("triton-edge-*.log"), key=lambda path: path.stat().st_mtime)
            for path in old[: -KEPT_LOGS + 1]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ServerError(f"log folder {folder} cannot be used: {error.strerror}") from error
        return folder / f"triton-{server_id}.log"

    def _exited(self, text: str) -> None:
        self._exit_text = text
        served, self.running = self.running, None
        if served is not None:  # else `start` sees the text
            self._on_exit(text)
