"""A running system to be hurt: `edge up` in mounts of its own, a detector, subscribers, and proxies between them."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge.bench.chaos import processes
from edge.bench.chaos.clock import Clock
from edge.bench.chaos.detector import SOURCE, Detector
from edge.bench.chaos.experimenting import Experiment
from edge.bench.chaos.frames import Pictures
from edge.bench.chaos.listening import Listener, SecondSubscriber
from edge.bench.chaos.mounts import SHM, Mounts, NoMounts
from edge.bench.chaos.processes import Process, Role
from edge.bench.chaos.settings import PORTS, Options, free_ports, text
from edge.bench.proxy import Proxy
from edge.demo.children import ChildError
from streams import sockets
from streams.controller import Controller
from streams.subscriber import NoAnswer

READY_S = 90.0
STOP_S = 40.0
POLL_S = 0.05


class Rig:
    """Everything, running; made by `with`.

    Raises:
        ChildError: `edge up` did not become ready.
        SocketError: a port was taken.
    """

    def __init__(self, folder: Path, pictures: Pictures, options: Options) -> None:
        self.folder, self.pictures, self.options = folder, pictures, options
        self.routes = tuple(options.routes)
        self.data = folder / "data"
        self.run_folder = Path(tempfile.mkdtemp(prefix="edge-bench-"))  # short: the path of a socket has 107 characters
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None
        self._began_s = 0.0
        self.events: list[dict[str, Any]] = []  # what `edge up --json` says, by this life of it
        self.starts = 0
        self.mounts: Mounts | None = None
        self.no_mounts = ""  # why there are none
        self.agent: Experiment | None = None
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))

    def __enter__(self) -> Self:
        try:
            self._open(self._stack)
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._stack.close()
            for log in (*self.run_folder.glob("*.log*"), *self.run_folder.glob("cache/*/logs/*.log")):
                shutil.copy(log, self.folder)
            shutil.rmtree(self.run_folder, ignore_errors=True)

    def _open(self, stack: ExitStack) -> None:
        self.data.mkdir(parents=True)
        try:
            self.mounts = stack.enter_context(Mounts(self.data, self.options.data_mib, self.options.shm_mib))
        except NoMounts as error:
            self.no_mounts = str(error)
        self.clock = Clock(self.folder / "clock")
        self.ctx = stack.enter_context(sockets.context())
        self.detector = Detector(self.ctx, "tcp://127.0.0.1:*", self.pictures, self.address("handshake"))
        stack.callback(self.detector.join, 10)
        stack.callback(self.detector.stopping.set)
        self.frames_proxy = stack.enter_context(Proxy(int(self.detector.address.rpartition(":")[2]), narrow=True))
        self.results_proxy = stack.enter_context(Proxy(self.ports["publish"]))
        told = f"127.0.0.1:{self.ports['publish']}", f"127.0.0.1:{self.results_proxy.port}"
        self.handshake_proxy = stack.enter_context(
            Proxy(self.ports["handshake"], rewrite=(told[0].encode(), told[1].encode()))
        )
        ask = f"tcp://127.0.0.1:{self.handshake_proxy.port}"
        self.listener = Listener(self.ctx, ask, self.detector.series.get)
        stack.callback(self.listener.join, 10)
        stack.callback(self.listener.stopping.set)
        self._ask = ask
        self.second = SecondSubscriber(ask, self.folder / "second.log")
        stack.callback(lambda: self.second.close())
        self._write_config()
        if self.options.agent:
            self.agent = Experiment(self.address("agent"), f"chaos-{time.time_ns():x}")
            stack.callback(self.agent.join, 10)
            stack.callback(self.agent.stopping.set)
            self.agent.start()
        self.detector.start()
        self.listener.start()

    def start(self) -> None:
        """Start the system and wait until it is ready."""
        self.starts += 1
        prefix = self.mounts.prefix if self.mounts is not None else []
        line = [*prefix, *self.options.system, "-c", str(self.folder / "edge.toml"), "--json"]
        with (self.folder / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env={**os.environ, **self.clock.environment, "XDG_CACHE_HOME": str(self.run_folder / "cache")},
            )
        threading.Thread(target=self._read, args=(self._process, self.starts), name="up", daemon=True).start()
        deadline = time.monotonic() + READY_S
        while self.not_ready() or not (self.listener.subscribed.is_set() and self.second.subscribed.is_set()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ChildError(f"the system was not ready within {READY_S:g} s: {self.last_words()}")
            time.sleep(POLL_S)

    def stop(self) -> float:
        """End it in order, and by force where that takes too long; the seconds that it took."""
        process, began = self._process, time.monotonic()
        if process is None:
            return 0.0
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if process.stdin is not None:
            process.stdin.close()
        self._process = None
        return time.monotonic() - began

    def kill(self) -> None:
        """End all of it by force."""
        if self._process is not None:
            processes.end_family(self._process.pid)
            self._process.wait(10)
            if self._process.stdin is not None:
                self._process.stdin.close()

    def restart(self) -> None:
        """What somebody has to do by hand where it does not recover."""
        self.kill()
        self.start()

    @property
    def pid(self) -> int:
        """Of `edge up`."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether `edge up` is."""
        return self._process is not None and self._process.poll() is None

    def having(self, role: Role) -> list[Process]:
        """Processes of the system."""
        return processes.with_role(self.pid, role)

    def seen(self, path: Path) -> Path:
        """Where we see a path of the system's."""
        return self.mounts.seen(path) if self.mounts is not None else path

    def address(self, what: str) -> str:
        """The system's own, not through a proxy."""
        return f"tcp://127.0.0.1:{self.ports[what]}"

    def not_ready(self) -> str:
        """Why the data plane cannot take the first frame of a series, as it says; empty where it can."""
        with Controller(self.ctx, self.address("handshake"), timeout_s=0.5) as controller:
            try:
                problems = controller.ready(SOURCE).problems
            except NoAnswer:
                return "the data plane to answer"
        return "; ".join(f"{one.what}: {one.why}" for one in problems)

    def metrics(self) -> dict[str, float]:
        """Counters of the data plane now, by their name with labels; empty where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics']}/metrics", timeout=2.0) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def memory_by_role(self) -> dict[str, int]:
        """Bytes of all processes by what they are, and "shm": what lies in `/dev/shm`."""
        shm = {"shm": processes.folder_bytes(self.seen(SHM))} if self.mounts is not None else {}
        return processes.memory_by_role(self.pid) | shm

    def memory_bytes(self) -> int:
        """All of that."""
        return sum(self.memory_by_role().values())

    def another_second(self) -> None:
        """A new subscriber in place of the second one."""
        self.second.close()
        self.second = SecondSubscriber(self._ask, self.folder / "second.log")

    def second_seen_after(self, moment_s: float) -> bool:
        """Whether the second subscriber has handed out, on every route, a result of an image sent after `moment_s`."""
        for route in self.routes:
            number, image = self.second.newest.get(route, (0, 0))
            one = self.detector.series.get(number)
            if one is None or image >= one.images or one.sent_s[image] <= moment_s:
                return False
        return True

    def last_words(self) -> str:
        """Of the system, for an error."""
        said = [event["reason"] for event in self.events if event.get("event") in ("said", "end")]
        log = (self.folder / "up.log").read_text(errors="replace").splitlines()
        return " | ".join([*said[-3:], *log[-3:]]) + f" (see {self.folder / 'up.log'} and {self.run_folder})"

    def _read(self, process: "subprocess.Popen[str]", life: int) -> None:
        assert process.stdout is not None
        with process.stdout as said:
            for line in said:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                self.events.append({"life": life, "heard_s": time.monotonic(), **event})
                del self.events[:-2000]

    def _write_config(self) -> None:
        folders = {"data": str(self.data), "run": str(self.run_folder)}
        ports = {**self.ports, "frames": self.frames_proxy.port}
        (self.folder / "edge.toml").write_text(text(self.options, ports, folders))
