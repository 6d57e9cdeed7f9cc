"""A demo as a user runs it, watched from outside."""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.system.serving import alive, descendants, shared_memory, wait_until


class Demo:
    """One run of `edge demo NAME`."""

    def __init__(self, folder: Path, *options: str, name: str = "ptycho") -> None:
        self.folder = folder
        self.json = folder / "numbers.json"
        command = [sys.executable, "-m", "edge", "demo", name, "--output", str(folder), "--json", str(self.json)]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.family: dict[int, str] = {}

    def server(self) -> int:
        """The process id of its Triton, once it has one."""
        found: list[int] = []

        def look() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            self.family |= descendants(self.process.pid)
            found[:] = [pid for pid, name in descendants(self.process.pid).items() if name == "tritonserver"]
            return bool(found)

        wait_until(look, "the start of Triton", 60)
        return found[0]

    def log(self) -> str:
        """What `edge serve` logged so far."""
        found = next(self.folder.rglob("serve.log"), None)
        return found.read_text() if found else ""

    def frames_flow(self) -> None:
        """Return when frames are being inferred."""
        wait_until(lambda: "expecting" in self.log(), "the start of the series", 90)
        self.family |= descendants(self.process.pid)

    def published(self) -> float:
        """Results published so far, as /metrics tells."""
        address = re.search(r"metrics (http://\S+)", self.log())
        assert address is not None
        text = urllib.request.urlopen(address[1], timeout=5).read().decode()
        found = re.search(r'edge_frames_settled_total{outcome="published".*} (\S+)', text)
        return float(found[1]) if found else 0.0

    def finish(self) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        out, err = self.process.communicate(timeout=180)
        return self.process.returncode, out, err

    def nothing_is_left(self) -> None:
        wait_until(lambda: not any(map(alive, self.family)), f"the end of {self.family}")
        for pid in (self.process.pid, *self.family):
            wait_until(lambda pid=pid: not shared_memory(pid), "the removal of shared memory")


def listening() -> set[int]:
    """TCP ports on which this machine listens."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
