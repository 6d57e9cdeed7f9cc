"""Our end of the process that sends."""

import subprocess
import sys
from types import TracebackType
from typing import Self

import msgspec

from edge.bench.sizing.feeding import Order, Sent
from edge.demo.children import ChildError

END_S = 10.0


class Feeder:
    """A process that sends series, one order after the other. It ends with this one.

    Args:
        nice: by how much others go first: with a sender that takes what it can, a subscriber may be too slow on few
            cores.

    Raises:
        ChildError: it ended; the text is the last that it said.
    """

    def __init__(self, nice: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge.bench.sizing.feeding", str(nice)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def order(self, order: Order) -> None:
        """Begin; `sent` tells the end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error

    def sent(self) -> Sent:
        """Wait for the end of the oldest order."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._gone()
        return msgspec.json.decode(line, type=Sent)

    def prepare(self, order: Order) -> None:
        """Make what `order` sends, before it does."""
        self.order(msgspec.structs.replace(order, address=""))
        self.sent()

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait(END_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def _gone(self) -> ChildError:
        assert self._process.stderr is not None
        self._process.wait(END_S)
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return ChildError(f"the sender ended: {said[-1] if said else 'it said nothing'}")
