"""Owns the life of the inference server: start, canary, watch, restart, stop.

start -> live -> regions registered -> models loaded -> canaries right -> ServerReady(epoch) -> ServerChecked(epoch) ...
  ^                                                                            |
  +--- back-off <--- ServerLost(epoch) <--- processes gone <--- died, hung, model broken
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from edge.inference.announced import AnnouncedHost
from edge.inference.bring_up import bring_up
from edge.inference.canaries import Canaries
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.events import Event, Plan, ServerChecked, ServerLost, ServerReady
from edge.inference.health import Doubts, Health
from edge.inference.hosts import EmbeddedHost, Host, RemoteHost
from edge.inference.labour import Labour, processor_s
from edge.inference.repository import model_sha256
from edge.inference.requests import InferenceError

LOG = logging.getLogger(__name__)

STOPPED = "stopped"
JOIN_S = 30.0
DEATH_TOLD_S = 0.5
"""How long the guardian may take to say that the server died, after requests have noticed it."""
ANNOUNCED_BACKOFF_S = 1.0
"""Longest wait before a server of `edge triton` is looked for again: it is `edge triton` that backs off."""

State = Literal["starting", "ready", "down", "stopped"]


class Supervisor:
    """Keeps the models of `plan` ready and tells `on_event`, from a thread of its own, when they are and are not.

    `on_event` must only hand over. `state`, `epoch` and `restarts` are for metrics and health pages.
    """

    def __init__(self, plan: Plan, on_event: Callable[[Event], None]) -> None:
        """Nothing is started yet. Raises RepositoryError where a model is not there."""
        self._plan = plan
        self._on_event = on_event
        self._wake: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._first_error: ServerError | None = None
        self._client: InferenceClient | None = None
        self._doubts = Doubts()
        self._sick_url = ""
        self._host = self._host_of(plan)
        self._thread = threading.Thread(target=self._run, name="inference-supervisor", daemon=True)
        self.state: State = "starting"
        self.epoch = 0
        self.restarts = 0
        self.model_sha256 = {s.spec.name: model_sha256(s.spec.name, source=plan.source) for s in plan.models}

    @property
    def host(self) -> Host:
        """Where the server runs; an `EmbeddedHost` knows its process ids and log."""
        return self._host

    def start(self) -> None:
        """Return when the first `ServerReady` has been delivered.

        Raises ServerError (CanaryError, RepositoryError), one line with cause and remedy, where the first
        attempt fails; nothing is left running then. A server that `edge triton` announces is waited for instead.
        """
        try:
            self._thread.start()
            self._settled.wait()
        except BaseException:  # Ctrl-C while starting or waiting
            self.stop()
            raise
        if self._first_error is not None:
            self._thread.join(JOIN_S)
            raise self._first_error
        if self.epoch == 0:
            raise ServerError("the inference supervisor ended before the server was ready: see the log")

    def stop(self) -> None:
        """End the watch and the embedded server. Bounded and idempotent; regions stay the caller's."""
        self._stopping.set()
        self._wake.put(STOPPED)
        self._host.abandon()
        client = self._client
        if client is not None and self.state != "ready":
            client.close()  # ends a load or canary in progress
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)
        if self._thread.is_alive():
            LOG.error("the inference supervisor did not end within %.0f s", JOIN_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _host_of(self, plan: Plan) -> Host:
        if plan.announced is not None:
            return AnnouncedHost(plan.announced, plan, self._wake.put)
        return RemoteHost(plan.url, plan) if plan.url else EmbeddedHost(plan, self._wake.put)

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                failures = self._serve_once(failures)
                if self._stopping.is_set() or self._first_error is not None:
                    break
                delay = self._plan.timing.backoff.delay_s(failures, random.random())
                if self._plan.announced is not None:
                    delay = min(delay, ANNOUNCED_BACKOFF_S)
                LOG.warning("next start of the inference server in %.2f s", delay)
                self._stopping.wait(delay)
                self.restarts += 1
        finally:
            crashed, self.state = self.state == "ready", "stopped"
            self._host.close()
            if crashed:  # a mistake of ours ends the thread; whoever sends requests must not wait for ever
                self._on_event(ServerLost(self.epoch, "the supervisor failed", self._plan.owned))
            self._settled.set()

    def _serve_once(self, failures: int) -> int:
        """One life of the server; returns the number of failures in a row after it."""
        try:
            client, canaries, ready = self._attempt()
        except (ServerError, InferenceError, OSError) as error:  # OSError: no process, file or memory to be had now
            self._failed(error)
            return failures + 1
        began = time.monotonic()
        self.epoch, self.state = ready.epoch, "ready"
        self._on_event(ready)
        self._settled.set()
        reason = self._watch(client, canaries)
        self.state = "down"
        canaries.close()
        gone = self._part(client, reason)
        LOG.log(logging.INFO if reason == STOPPED else logging.ERROR, "inference server lost: %s", reason)
        self._on_event(ServerLost(ready.epoch, reason, gone))
        return self._plan.timing.backoff.failures_after(failures, time.monotonic() - began)

    def _attempt(self) -> tuple[InferenceClient, Canaries, ServerReady]:
        while not self._wake.empty():  # deaths of earlier attempts
            self._wake.get()
        if self._stopping.is_set():
            raise ServerError(STOPPED)
        self._client = client = self._host.open()
        # Of `edge triton` we have the token, so its models can be started anew; a foreign server's are others' too.
        anew = self._plan.announced is not None and client.url == self._sick_url
        self._sick_url = ""
        transport, canaries = bring_up(client, self._plan, client.url, anew)
        return client, canaries, ServerReady(self.epoch + 1, client, transport)

    def _failed(self, error: ServerError | InferenceError | OSError) -> None:
        text = str(error)
        if isinstance(error, InferenceError):
            went_away = error.kind == "unavailable"
            text = f"the inference server {'went away' if went_away else 'refused'} while models were loaded: {text}"
        if self._client is not None:
            if not self._plan.owned and not (isinstance(error, InferenceError) and not error.settled):
                self._unregister(self._client)  # it answers, so it can be asked
            self._client.close()
            self._client = None
            text += self._host.explain()
        self._host.end(0.0)
        LOG.log(logging.INFO if self._stopping.is_set() else logging.ERROR, "inference server not ready: %s", text)
        if not self._settled.is_set() and self._plan.announced is None:  # `edge triton` starts it again, we wait
            kind = type(error) if isinstance(error, ServerError) else ServerError
            self._first_error = kind(text)

    def _watch(self, client: InferenceClient, canaries: Canaries) -> str:
        """Return why the server serves no more."""
        health = Health(client, self._plan, canaries, self._doubts, Labour(self._processor_s))
        while True:
            try:
                return self._wake.get(timeout=health.next_s())
            except queue.Empty:
                trouble = health.trouble()
            if trouble:
                self._sick_url = client.url if health.sick else ""
                return self._death() or trouble
            checked_ns = health.take_checked_ns()
            if checked_ns is not None:
                self._on_event(ServerChecked(self.epoch, checked_ns))

    def _processor_s(self, model: str) -> float | None:
        server = self._host.server_pid
        return None if server is None else processor_s(server, model)

    def _death(self) -> str:
        """What is known of the end of the server's process, which says more than requests that failed of it."""
        try:
            return self._wake.get(timeout=DEATH_TOLD_S)
        except queue.Empty:
            return ""

    def _part(self, client: InferenceClient, reason: str) -> bool:
        """Close the client and end the server; True where it is gone for certain."""
        stopping = reason == STOPPED
        if stopping and not self._plan.owned:
            self._unregister(client)
        gone = self._host.end(self._plan.timing.stop_s if stopping else 0.0)
        client.close()
        self._client = None
        return gone

    def _unregister(self, client: InferenceClient) -> None:
        try:
            client.unregister_prefix(self._plan.namespace.prefix)
        except InferenceError as error:
            if error.kind != "bad_request":  # else it takes no shared memory from us: none is registered
                LOG.warning("our shared memory stays registered at %s: %s", client.url, error)
