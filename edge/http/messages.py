"""What callers see of HTTP: a request, and the answer to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """One whole request. `target` is the path with its query, as sent; names of headers are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Answer:
    """`document` is sent as JSON, bytes as they are. `silent`: the client is to wait for it in vain."""

    document: Any
    status: HTTPStatus = HTTPStatus.OK
    silent: bool = False
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def content(self) -> bytes:
        return self.document if isinstance(self.document, bytes) else msgspec.json.encode(self.document)


Respond: TypeAlias = Callable[[Request], Answer]
"""Called from any thread. Never raises for what a client sent."""
