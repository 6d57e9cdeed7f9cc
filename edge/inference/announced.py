"""The server of an `edge triton` on this host: found by the file that announces it, watched by its process."""

import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from edge.inference import announcement
from edge.inference.announcement import Announcement
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.events import Plan
from edge.inference.repository import model_sha256
from edge.inference.requests import InferenceError

LOG = logging.getLogger(__name__)

POLL_S = 0.1
GONE_S = 0.5
"""How long a server that was withdrawn may take to be gone: `edge triton` ends it before it says so."""
OUTLIVE_S = 5.0
"""How long a server that was still running may take to end when another one is ready: longer than its clean exit."""


class AnnouncedHost:
    """Somebody else's server, but on this host: its end is seen at once, and then it is known to be gone."""

    def __init__(self, path: Path, plan: Plan, on_exit: Callable[[str], None]) -> None:
        self._path = path
        self._plan = plan
        self._on_exit = on_exit
        self._given_up = threading.Event()
        self._watch: _Watch | None = None
        self._left: tuple[str, int] | None = None  # id and process of a server that we left and that still ran

    @property
    def server_pid(self) -> int | None:
        """See Host."""
        watch = self._watch
        return None if watch is None else watch.server_pid

    def open(self) -> InferenceClient:
        """Wait, without end, until a server is announced and answers."""
        said = ""
        while not self._given_up.is_set():
            found, trouble = self._read()
            if found is not None:
                client, trouble = self._connect(found)
                if client is not None:
                    self._watch = _Watch(self._path, found, self._on_exit)
                    self._outlive(found)
                    LOG.info("%s announces tritonserver %d at %s", self._path, found.pid, found.url)
                    return client
            if trouble != said:
                LOG.log(logging.WARNING if found else logging.INFO, "waiting for `edge triton`: %s", trouble)
                said = trouble
            self._given_up.wait(POLL_S)
        raise ServerError(f"no inference server was announced in {self._path} until the wait was ended")

    def abandon(self) -> None:
        """See Host."""
        self._given_up.set()

    def end(self, patience_s: float) -> bool:
        """See Host. The server is not ours to end; whether it has ended is known."""
        watch, self._watch = self._watch, None
        if watch is None:
            return False
        gone = watch.close()
        if watch.process is not None:
            self._left = (watch.id, watch.process)
        return gone

    def explain(self) -> str:
        """See Host."""
        return f" (announced in {self._path})"

    def close(self) -> None:
        """See Host."""
        self.end(0.0)
        self._forget()

    def _outlive(self, found: Announcement) -> None:
        """Wait for the end of the server before this one, where it still ran: it may write to our memory."""
        if self._left is None:
            return
        name, process = self._left
        if name != found.id and not _ended(process, OUTLIVE_S):
            LOG.warning("%s has not ended within %.0f s of being replaced by %s", name, OUTLIVE_S, found.id)
        self._forget()

    def _forget(self) -> None:
        if self._left is not None:
            os.close(self._left[1])
            self._left = None

    def _read(self) -> tuple[Announcement | None, str]:
        try:
            return announcement.read(self._path), f"{self._path} is not there yet"
        except OSError as error:
            return None, f"{self._path} cannot be read: {error.strerror}; run both as the same user"

    def _others(self, found: Announcement) -> str:
        """Why its answers are not those of the models of this process; empty where they are, as far as is known."""
        for served in self._plan.models:
            name = served.spec.name
            theirs = found.models.get(name)
            if found.models and theirs != model_sha256(name, source=self._plan.source):
                which = "does not serve" if theirs is None else "serves another version of"
                return f"tritonserver {found.pid}, announced in {self._path}, {which} {name}: start both anew"
        return ""

    def _connect(self, found: Announcement) -> tuple[InferenceClient | None, str]:
        if other := self._others(found):
            return None, other
        timing = self._plan.timing
        client = InferenceClient(found.url, timing.client_timeout_s, found.token)
        try:
            if client.identity(timing.probe_deadline_s) == found.id:
                return client, ""
        except InferenceError:
            client.close()
            return None, f"tritonserver {found.pid}, announced in {self._path}, does not answer"
        client.close()
        return None, f"{found.url}, announced in {self._path}, is another server by now"


class _Watch:
    """Tells once, from a thread of its own, that the announced server ended or was withdrawn."""

    def __init__(self, path: Path, found: Announcement, on_exit: Callable[[str], None]) -> None:
        self._path = path
        self._found = found
        self._on_exit = on_exit
        self.process = _process(found)
        """Descriptor of the server's process; None where it cannot be seen."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcement-watch", daemon=True)
        self._thread.start()

    @property
    def server_pid(self) -> int | None:
        """The announced server's process, where it can be seen here."""
        return None if self.process is None else self._found.pid

    def close(self) -> bool:
        """End the watch; True where the server's process has ended, False where it runs or cannot be seen.

        A descriptor of a process that runs is left in `process`, the caller's to close.
        """
        self._closed.set()
        self._thread.join()
        if self.process is None or not _ended(self.process, 0.0 if self._announced() else GONE_S):
            return False
        os.close(self.process)
        self.process = None
        return True

    @property
    def id(self) -> str:
        """Of the server."""
        return self._found.id

    def _run(self) -> None:
        while not self._closed.is_set():
            if self.process is None:
                self._closed.wait(POLL_S)
            elif _ended(self.process, POLL_S):
                self._on_exit(f"tritonserver {self._found.pid} has ended")
                return
            if not self._announced():
                self._on_exit(f"{self._path} announces tritonserver {self._found.pid} no more")
                return

    def _announced(self) -> bool:
        try:
            return announcement.read(self._path) == self._found
        except OSError:
            return False


def _process(found: Announcement) -> int | None:
    """Descriptor of the server's process; None where it cannot be seen: another container's, or an old kernel.

    A process id alone proves nothing: the number may be somebody else's here.
    """
    try:
        fd = os.pidfd_open(found.pid)
    except (AttributeError, OSError):
        return None
    try:
        if found.id.encode() in Path(f"/proc/{found.pid}/cmdline").read_bytes():
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _ended(fd: int, within_s: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(int(within_s * 1000)))
