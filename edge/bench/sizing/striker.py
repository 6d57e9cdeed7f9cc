"""What happens to Triton while it works: a model is unloaded, the server is killed, in turns."""

import contextlib
import os
import signal
import time
from pathlib import Path

from edge.inference import announcement
from edge.inference.announcement import Announcement
from edge.inference.client import InferenceClient
from edge.inference.requests import InferenceError
from edge.models import identity

ANNOUNCED_S = 60.0
TURN_S = 0.05


class Striker:
    """Strikes so often, spread over `frames`.

    Args:
        file: where `edge triton` announces its server.
    """

    def __init__(self, file: Path, frames: int, strikes: int) -> None:
        self._file = file
        self._due = [frames * (number + 1) // (strikes + 1) for number in range(strikes)]
        self.struck: list[str] = []

    def strike(self, sent: int) -> None:
        """Do what is due after so many frames, once, where a server is there to be struck."""
        if not self._due or sent < self._due[0]:
            return
        while self._due and sent >= self._due[0]:
            self._due.pop(0)
        found = self._announced()
        if found is None:
            self.struck.append("no server was announced")
        elif len(self.struck) % 2 == 0:
            self.struck.append(_unload(found))
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGKILL)
            self.struck.append("tritonserver killed")

    def _announced(self) -> Announcement | None:
        deadline = time.monotonic() + ANNOUNCED_S
        while (found := announcement.read(self._file)) is None and time.monotonic() < deadline:
            time.sleep(TURN_S)
        return found


def _unload(found: Announcement) -> str:
    model = identity.SPEC.variant(1)
    with InferenceClient(found.url, token=found.token) as client:
        try:
            client.unload(model)
        except InferenceError as error:
            return f"{model} could not be unloaded: {error}"
    return f"{model} unloaded"
