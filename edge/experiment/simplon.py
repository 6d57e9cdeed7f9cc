"""The detector's control interface: DECTRIS SIMPLON, the part that a triggered scan needs."""

from typing import Any

import httpx

from edge.experiment.errors import DetectorError
from edge.experiment.http import JsonClient

__all__ = ["DetectorError", "SimplonClient"]


class SimplonClient:
    """Configures and commands one detector. May be used from several threads. No I/O before the first call.

    Args:
        base_url: the detector control unit, e.g. "http://10.42.41.10".
        version: of the interface, a part of every path.
        timeout_s: for each step of an exchange, unless a call says otherwise (see JsonClient).
        transport: stands in for the network in tests.

    All calls raise DetectorError where the detector does not answer, answers no JSON, or refuses (CommandRefused).
    """

    def __init__(
        self,
        base_url: str,
        *,
        version: str = "1.8.0",
        timeout_s: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = JsonClient(base_url, timeout_s, transport)
        self._version = version

    @property
    def url(self) -> str:
        return self._http.base_url

    @property
    def version(self) -> str:
        return self._version

    def close(self) -> None:
        self._http.close()

    def get(self, name: str, module: str = "detector", kind: str = "config") -> Any:
        """The value of a parameter, e.g. get("frame_time"), get("mode", "stream"), get("state", kind="status")."""
        path = self._path(module, kind, name)
        return self._field(self._http.get(path), "value", path)

    def put(self, name: str, value: Any, module: str = "detector") -> None:
        """Set a parameter."""
        self._http.put(self._path(module, "config", name), value)

    def state(self) -> str:
        """The detector's state: "na", "idle", "ready", "acquire", "configure", "error" and the like."""
        return str(self.get("state", kind="status"))

    def command(self, name: str, timeout_s: float | None = None) -> None:
        """Have it do something; returns when it is done (`trigger` in mode "ints": when the images are exposed)."""
        self._http.put(self._path("detector", "command", name), timeout_s=timeout_s)

    def arm(self, timeout_s: float | None = None) -> int:
        """Arm, and return the number of the series ("sequence id")."""
        path = self._path("detector", "command", "arm")
        number = self._field(self._http.put(path, timeout_s=timeout_s), "sequence id", path)
        if type(number) is not int:
            raise DetectorError(f"PUT {self.url}/{path}: the sequence id is {str(number)[:50]!r}, not a whole number")
        return number

    def _path(self, module: str, kind: str, name: str) -> str:
        return f"{module}/api/{self._version}/{kind}/{name}"

    def _field(self, document: Any, field: str, path: str) -> Any:
        if not isinstance(document, dict) or field not in document:
            raise DetectorError(
                f"{self.url}/{path}: no {field!r} in the answer {str(document)[:100]!r}; is this a SIMPLON detector "
                f"of version {self._version}?"
            )
        return document[field]
