"""What a client can make the server hold: connections, bytes, and time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one server."""

    connections: int = 64  # a thread each; one more takes the place of the one that was waited for the longest
    head_bytes: int = 16 * 1024  # request line and headers
    body_bytes: int = 256 * 1024
    request_s: float = 10.0  # from the first byte of a request to its last; from connecting, for TLS and the first
    idle_s: float = 60.0  # between two requests of a connection
    send_s: float = 10.0  # for the client to take an answer


USUAL = Limits()
