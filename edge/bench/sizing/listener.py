"""Our end of the process that subscribes."""

import queue
import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

import msgspec

from edge.bench.sizing.listening import Heard, Watch
from edge.demo.children import ChildError

END_S = 10.0


class Listener:
    """A process that takes all results; what it tells is had one series after the other. It ends with this one.

    Raises:
        ChildError: it ended; the text is the last that it said.
    """

    def __init__(self, watch: Watch) -> None:
        line = [sys.executable, "-P", "-m", "edge.bench.sizing.listening", msgspec.json.encode(watch).decode()]
        self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._heard: queue.SimpleQueue[Heard | None] = queue.SimpleQueue()  # None: it has ended
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise self._gone()
        self._reader = threading.Thread(target=self._read, name="listener", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def heard(self, timeout_s: float) -> Heard:
        """The next series that ended on a route."""
        try:
            heard = self._heard.get(timeout=timeout_s)
        except queue.Empty as error:
            raise ChildError(f"no series ended within {timeout_s:g} s") from error
        if heard is None:
            raise self._gone()
        return heard

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None and self._process.stderr is not None
        self._process.kill()
        self._process.wait(END_S)
        self._reader.join(END_S)
        self._process.stdin.close()
        self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                self._heard.put(msgspec.json.decode(line, type=Heard))
        self._heard.put(None)

    def _gone(self) -> ChildError:
        assert self._process.stderr is not None
        self._process.wait(END_S)
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return ChildError(f"the subscriber ended: {said[-1] if said else 'it said nothing'}")
