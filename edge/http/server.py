"""The HTTP server: a bounded number of connections, a thread for each, and a deadline for all that a client does."""

import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from edge.http.access import Access
from edge.http.connection import Connection
from edge.http.conversation import Conversation, Malformed
from edge.http.gate import Gate
from edge.http.limits import USUAL, Limits
from edge.http.messages import Answer, Request, Respond
from edge.http.places import Places
from edge.http.refusals import Refusals
from edge.http.tls import server_context
from streams.sockets import SocketError

log = logging.getLogger(__name__)

POLL_S = 0.2
BACKLOG = 128

STOPPING = Answer({"error": "the server is stopping"}, HTTPStatus.SERVICE_UNAVAILABLE)
TOO_SLOW = Answer({"error": "the request took too long"}, HTTPStatus.REQUEST_TIMEOUT)


class _Server:
    def __init__(self, respond: Respond, access: Access, refusals: Refusals, limits: Limits) -> None:
        self._respond, self._refusals, self._limits = respond, refusals, limits
        self._tls = _context(access)
        self._gate = Gate(access.tokens, refusals)
        self._places = Places(limits.connections)
        self.closing = threading.Event()

    def accept(self, listener: socket.socket) -> None:
        """Until `closing`. Nothing that a client does ends it, nor the end of descriptors or threads."""
        listener.settimeout(POLL_S)
        while not self.closing.is_set():
            try:
                sock, address = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    self._refusals.add("too_many_connections", "whoever connects", f"{error.strerror}")
                    self.closing.wait(POLL_S)
                continue
            self._admit(Connection(sock, str(address[0])))
        self._places.deafen()

    def _admit(self, connection: Connection) -> None:
        admitted, gone = self._places.take(connection)
        if gone is not None or not admitted:
            text = f"there are {self._limits.connections} connections, and no more are taken"
            self._refusals.add("too_many_connections", (gone or connection).peer, text)
        if not admitted:
            connection.close()
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), name="http-connection", daemon=True).start()
        except RuntimeError as error:  # no more threads on this machine
            self._refusals.add("too_many_connections", connection.peer, str(error))
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        connection.close()
        self._places.leave(connection)

    def _serve(self, connection: Connection) -> None:
        try:
            deadline = time.monotonic() + self._limits.request_s
            if self._tls is None or self._secured(connection, self._tls, deadline):
                self._converse(connection, deadline)
        except OSError as error:  # the client hung up, or does not take its answer
            if isinstance(error, TimeoutError):
                self._refusals.add("too_slow", connection.peer, "an answer was not taken in time")
            log.debug("%s: connection lost: %s", connection.peer, error)
        finally:
            self._end(connection)

    def _secured(self, connection: Connection, context: ssl.SSLContext, deadline: float) -> bool:
        try:
            connection.secure(context, deadline)
        except OSError as error:
            if not connection.interrupted:
                self._refusals.add("tls", connection.peer, f"no TLS handshake: {error}")
            return False
        return True

    def _converse(self, connection: Connection, deadline: float) -> None:
        conversation = Conversation(self._limits)
        while (request := self._request(connection, conversation, deadline)) is not None:
            self._places.answering(connection)
            refused = self._gate.refused(request, connection.peer)
            answer = refused or self._answer(request)
            self._places.waiting(connection)
            if answer.silent:
                self._wait_for_hangup(connection)
                return
            last = refused is not None or self.closing.is_set()
            self._say(connection, conversation, answer, last)
            if last or conversation.over:
                return
            deadline = time.monotonic() + self._limits.idle_s

    def _request(self, connection: Connection, conversation: Conversation, deadline: float) -> Request | None:
        """The next one; None where there is none to answer: the client has gone, or was refused and told so."""
        try:
            while (request := conversation.next()) is None:
                connection.send(conversation.go_ahead(), deadline)
                idle = conversation.idle
                received = connection.receive(deadline)
                if not received:
                    return None
                if idle:
                    deadline = min(deadline, time.monotonic() + self._limits.request_s)
                conversation.receive(received)
            return request
        except Malformed as error:
            self._refusals.add(error.reason, connection.peer, str(error))
            self._say(connection, conversation, error.answer, last=True)
        except TimeoutError:
            if not conversation.idle:
                self._refusals.add("too_slow", connection.peer, "a request took too long to come")
                self._say(connection, conversation, TOO_SLOW, last=True)
        return None

    def _answer(self, request: Request) -> Answer:
        if self.closing.is_set():
            return STOPPING
        try:
            return self._respond(request)
        except OSError as error:  # not to be taken for one of the connection
            raise RuntimeError(f"{request.method} {request.path[:100]!r} could not be answered") from error

    def _say(self, connection: Connection, conversation: Conversation, answer: Answer, last: bool) -> None:
        content = conversation.answer(answer, time.time(), close=last)
        connection.send(content, time.monotonic() + self._limits.send_s)
        if last:
            connection.linger()

    def _wait_for_hangup(self, connection: Connection) -> None:
        while not self.closing.is_set():
            with suppress(TimeoutError):
                if not connection.receive(time.monotonic() + POLL_S):
                    return


@contextmanager
def serving(
    address: tuple[str, int], respond: Respond, access: Access, refusals: Refusals, limits: Limits = USUAL
) -> Iterator[str]:
    """Answer requests in threads; yields `http://HOST:PORT` or `https://HOST:PORT`. Port 0 takes any that is free.

    Whoever waits for an answer when the context is left still gets it, in a daemon thread; others are hung up on.

    Raises:
        SocketError: the address, or a file that `access` names, cannot be used.
    """
    server = _Server(respond, access, refusals, limits)
    with _listening(address) as listener:
        thread = threading.Thread(target=server.accept, args=(listener,), name="http", daemon=True)
        thread.start()
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        try:
            yield f"{'http' if access.tls_certificate is None else 'https'}://{host}:{listener.getsockname()[1]}"
        finally:
            server.closing.set()
            thread.join()


def _context(access: Access) -> ssl.SSLContext | None:
    if access.tls_certificate is None or access.tls_key is None:
        return None
    return server_context(access.tls_certificate, access.tls_key)


def _listening(address: tuple[str, int]) -> socket.socket:
    host, port = address
    both = host == "::" and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = "the port is in use; choose another" if error.errno == errno.EADDRINUSE else error.strerror
        raise SocketError(f"cannot listen on {host}:{port}: {reason}") from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # of its connections too: answers leave at once
    return listener
