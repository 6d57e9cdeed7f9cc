"""The HTTP server: connections and bytes, nothing else. One thread a connection, a bounded number of them."""

import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import msgspec

from edge.simulate.api import Answer
from streams.sockets import SocketError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
MAX_CONNECTIONS = 64
IDLE_S = 60.0
"""A connection that sends nothing for so long is closed."""

POLL_S = 0.2

Respond = Callable[[str, str, bytes], Answer]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "edge-simulate"
    timeout = IDLE_S
    disable_nagle_algorithm = True  # or each answer waits for the acknowledgement of the one before
    wbufsize = -1  # head and body leave together
    server: "_Server"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._serve()

    do_PUT = do_POST = do_DELETE = do_GET  # what is not allowed is for the interface to say

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.server.closing.is_set():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "the simulator is stopping")
            return
        answer = self.server.respond(self.command, self.path, body)
        if answer.silent:
            self._wait_for_hangup()
        else:
            self._send(answer.status, answer.document)

    def _body(self) -> bytes | None:
        """The request's body; None where it is refused, and the connection is closed, for what follows is unread."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
        elif not (length.isascii() and length.isdigit()):
            self.send_error(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
        elif len(length) > 18 or int(length) > MAX_BODY_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True
        return None

    def _send(self, status: HTTPStatus, document: Any) -> None:
        body = msgspec.json.encode(document)
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def handle_expect_100(self) -> bool:
        """A client that asks whether to send its body waits for this."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library or `_body` refuses, as JSON like all else."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(status, {"error": message or status.phrase})

    def _wait_for_hangup(self) -> None:
        self.close_connection = True
        self.connection.settimeout(POLL_S)
        while not self.server.closing.is_set():
            with suppress(TimeoutError):
                if not self.connection.recv(4096):
                    return

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s %s", self.address_string(), format % args)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], respond: Respond, closing: threading.Event) -> None:
        self.respond, self.closing = respond, closing
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without the library's look-up of our own name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_port = int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """A connection too many is closed at once."""
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, OSError):  # the client hung up, or was too slow
            log.debug("connection lost: %s", error)
        else:
            log.critical("unexpected error while answering", exc_info=error)


@contextmanager
def serving(host: str, port: int, respond: Respond, closing: threading.Event) -> Iterator[str]:
    """Answer requests in threads; yields the address as `http://HOST:PORT`. Leaving sets `closing`.

    Raises:
        SocketError: the address cannot be used.
    """
    try:
        server = _Server((host, port), respond, closing)
    except OSError as error:
        reason = "the port is in use; choose another" if error.errno == errno.EADDRINUSE else error.strerror
        raise SocketError(f"cannot listen on {host}:{port}: {reason}") from error
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), name="http", daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_address[1]}"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
